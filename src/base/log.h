/*
 * The program's own log, on standard error: text when that is a terminal, JSON lines elsewhere.
 *
 *     log_warn("jwks_fetch_failed", "the issuer's keys could not be fetched",
 *              LOG_VIEW("issuer", name), LOG_INT("status", 503));
 *
 * The event is a stable snake_case word, the message a sentence.  One write(2) a line; any thread.
 * Callers never pass a secret, a token, an Authorization header or a bound value.
 */
#ifndef SALLYPORT_BASE_LOG_H
#define SALLYPORT_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/view.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_NOTICE, LOG_WARN, LOG_ERROR };

struct log_field {
    const char *name;
    struct view text; /* when is_number is false */
    int64_t number;
    bool is_number;
};

#define LOG_VIEW(field_name, value) ((struct log_field){.name = (field_name), .text = (value)})
#define LOG_STR(field_name, value) LOG_VIEW(field_name, view_str(value))
#define LOG_INT(field_name, value)                                                                 \
    ((struct log_field){.name = (field_name), .number = (value), .is_number = true})

enum log_format { LOG_FORMAT_AUTO, LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

/* Set once, before threads start (the level may change later). */
void log_set_format(enum log_format format);
void log_set_level(enum log_level level);
bool log_level_by_name(struct view name, enum log_level *out);

void log_write(enum log_level level, const char *event, const char *message,
               const struct log_field *fields, size_t count);

#define LOG_AT(level, event, message, ...)                                                         \
    do {                                                                                           \
        const struct log_field log_fields[] = {{0}, ##__VA_ARGS__};                                \
        log_write((level), (event), (message), log_fields + 1, COUNT_OF(log_fields) - 1);          \
    } while (0)
#define log_debug(event, ...) LOG_AT(LOG_DEBUG, event, __VA_ARGS__)
#define log_info(event, ...) LOG_AT(LOG_INFO, event, __VA_ARGS__)
#define log_notice(event, ...) LOG_AT(LOG_NOTICE, event, __VA_ARGS__)
#define log_warn(event, ...) LOG_AT(LOG_WARN, event, __VA_ARGS__)
#define log_error(event, ...) LOG_AT(LOG_ERROR, event, __VA_ARGS__)

/* Our own broken promise: says where and ends the process. */
NO_RETURN void panic_at(const char *file, int line, const char *what);
#define panic(what) panic_at(__FILE__, __LINE__, (what))
/* Stays on in every build, unlike assert. */
#define ENSURE(condition)                                                                          \
    do {                                                                                           \
        if (!(condition))                                                                          \
            panic(#condition);                                                                     \
    } while (0)

#endif
