/* What the status server answers: pure, from a report to text. */
#ifndef SALLYPORT_ADMIN_STATUS_PAGE_H
#define SALLYPORT_ADMIN_STATUS_PAGE_H

#include "admin/status.h"
#include "base/buf.h"

struct status_answer {
    int status;
    struct view content_type;
    bool allow_get; /* a 405: say which methods are */
};

/* Appends the body of the answer to one well-formed request. */
struct status_answer status_page(const struct status_source *source, struct arena *arena,
                                 struct view method, struct view path, struct buf *body);

/* Appends the body for a status without more to say (RFC 9457). */
struct status_answer status_problem(int status, struct buf *body);

#endif
