/*
 * What a caller reads when a call fails: application/problem+json (RFC 9457), and the one table
 * from SQLSTATE to HTTP status.
 *
 * A database's own message is never put here, unless the statement says expose_errors, and then in
 * `message` alone.
 *
 * Pure.  Any thread.
 */
#ifndef SALLYPORT_GATEWAY_PROBLEM_H
#define SALLYPORT_GATEWAY_PROBLEM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/view.h"

#define PROBLEM_CONTENT_TYPE "application/problem+json"

/* Absent views are left out of the body. */
struct problem {
    int status;
    struct view reason; /* a fault's name: `type` becomes urn:sallyport:problem:REASON; absent:
                         * about:blank, the status alone says it (RFC 9457 section 4.2.1) */
    struct view detail; /* for this caller to read */
    struct view request_id;
    struct view parameter; /* the name of the parameter that is at fault */
    struct view sqlstate;
    struct view message; /* the database's own: only with expose_errors */
    struct view hint;    /* the same */
    int64_t retry_after_s; /* 0: none; the header is the door's */
};

/* What a fault says to a caller: its status and, when it has a client_text, that and its name. */
struct problem problem_of(const struct fault *fault, struct view request_id);

/* Appends the JSON object; the title is the status's phrase.  Ask buf_failed. */
void problem_write(struct buf *out, const struct problem *problem);

struct sqlstate_answer {
    int status;
    int64_t retry_after_s; /* 0: none */
    const char *detail;    /* what the caller may read; static; NULL: the status's phrase alone */
};

/*
 * The answer for a SQLSTATE (PostgreSQL 15, appendix A): the longest prefix in the table, else 500.
 * sqlstate: five characters; a NULL or ill-formed one is a 500.  authenticated: whether the caller
 * proved who they are; a right that is missing is then 403, else 401.
 */
struct sqlstate_answer sqlstate_answer(const char *sqlstate, bool authenticated);
int sqlstate_status(const char *sqlstate, bool authenticated);

#endif
