/*
 * What went wrong, by value: a pointer to one row of a room's fault table, or NULL for success.
 *
 * Each room keeps one table of `struct fault`, so that the faces of one refusal (the HTTP status,
 * what the caller may read, what the audit says, what the log says) stand in one line and cannot
 * drift apart.  Compare an error with a row by its address: err.fault == &jwt_expired.
 * The peer's faults travel as errors; our own broken promises end the process (panic, base/log.h).
 */
#ifndef SALLYPORT_BASE_ERR_H
#define SALLYPORT_BASE_ERR_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"

struct fault {
    const char *name;        /* stable, snake_case: the audit's `reason`, the metrics' label */
    const char *text;        /* for the operator: the log, `check`, `audit explain` */
    const char *client_text; /* all that a caller may learn; NULL: only the status's own phrase */
    int http_status;         /* 0: never the answer to a request */
};

typedef struct err {
    const struct fault *fault;
} err;

#define OK ((err){NULL})

static inline bool failed(err e)
{
    return e.fault != NULL;
}

static inline MUST_USE err fail(const struct fault *fault)
{
    return (err){fault};
}

static inline bool is_fault(err e, const struct fault *fault)
{
    return e.fault == fault;
}

/* Leaves the calling function with the error when the expression failed. */
#define TRY(expression)                                                                            \
    do {                                                                                           \
        err try_err = (expression);                                                                \
        if (failed(try_err))                                                                       \
            return try_err;                                                                        \
    } while (0)

/* Faults that every room may meet. */
extern const struct fault fault_out_of_memory;
extern const struct fault fault_too_large; /* a bounded buffer or arena met its maximum */

#endif
