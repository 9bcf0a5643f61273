#include "base/log.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/time.h"

enum { LOG_LINE_MAX = 16 * 1024 };

static const char *const level_names[] = {"debug", "info", "notice", "warn", "error"};
static atomic_int current_level = LOG_NOTICE;
static enum log_format current_format = LOG_FORMAT_AUTO;

void log_set_format(enum log_format format)
{
    current_format = format;
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&current_level, (int)level, memory_order_relaxed);
}

bool log_level_by_name(struct view name, enum log_level *out)
{
    for (size_t i = 0; i < COUNT_OF(level_names); i++) {
        if (view_is(name, level_names[i])) {
            *out = (enum log_level)i;
            return true;
        }
    }
    return false;
}

/* A JSON string; what is not printable ASCII is escaped byte by byte, so that a line of the log
 * stays one line of valid JSON whatever the bytes were. */
static void add_quoted(struct buf *b, struct view v)
{
    buf_add_char(b, '"');
    for (size_t i = 0; i < v.len; i++) {
        unsigned char c = (unsigned char)v.data[i];
        if (c == '"' || c == '\\') {
            buf_add_char(b, '\\');
            buf_add_char(b, (char)c);
        } else if (c < 0x20 || c >= 0x7f) {
            buf_printf(b, "\\u%04x", c);
        } else {
            buf_add_char(b, (char)c);
        }
    }
    buf_add_char(b, '"');
}

static void add_json(struct buf *b, const char *level, const char *event, const char *message,
                     const struct log_field *fields, size_t count)
{
    char when[TIME_TEXT_BYTES];

    time_format(time_wall_us(), when);
    buf_printf(b, "{\"time\":\"%s\",\"level\":\"%s\",\"event\":\"%s\",\"message\":", when, level,
               event);
    add_quoted(b, view_str(message));
    for (size_t i = 0; i < count; i++) {
        buf_printf(b, ",\"%s\":", fields[i].name);
        if (fields[i].is_number)
            buf_add_i64(b, fields[i].number);
        else
            add_quoted(b, fields[i].text);
    }
    buf_add_char(b, '}');
}

static void add_text(struct buf *b, const char *level, const char *event, const char *message,
                     const struct log_field *fields, size_t count)
{
    char when[TIME_TEXT_BYTES];

    time_format(time_wall_us(), when);
    buf_printf(b, "%.19s %-6s %s", when, level, message);
    for (size_t i = 0; i < count; i++) {
        buf_printf(b, " %s=", fields[i].name);
        if (fields[i].is_number)
            buf_add_i64(b, fields[i].number);
        else
            add_quoted(b, fields[i].text);
    }
    buf_printf(b, " (%s)", event);
}

void log_write(enum log_level level, const char *event, const char *message,
               const struct log_field *fields, size_t count)
{
    struct buf b;

    if ((int)level < atomic_load_explicit(&current_level, memory_order_relaxed))
        return;
    bool text = current_format == LOG_FORMAT_TEXT ||
                (current_format == LOG_FORMAT_AUTO && isatty(STDERR_FILENO));
    buf_init(&b, LOG_LINE_MAX);
    (text ? add_text : add_json)(&b, level_names[level], event, message, fields, count);
    if (buf_failed(&b)) {
        buf_reset(&b);
        (text ? add_text : add_json)(&b, level_names[level], event, message, NULL, 0);
    }
    buf_add_char(&b, '\n');
    /* A log that cannot be written must not stop the gateway; the audit is what must. */
    for (size_t at = 0; at < b.len;) {
        ssize_t n = write(STDERR_FILENO, b.data + at, b.len - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        at += (size_t)n;
    }
    buf_clear(&b);
}

void panic_at(const char *file, int line, const char *what)
{
    fprintf(stderr, "sallyport: internal error at %s:%d: %s\n", file, line, what);
    abort();
}
