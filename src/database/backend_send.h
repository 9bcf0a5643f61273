/* What a backend writes for a call (backend.h shows the order), apart from what it reads. */
#ifndef SALLYPORT_DATABASE_BACKEND_SEND_H
#define SALLYPORT_DATABASE_BACKEND_SEND_H

#include "database/backend.h"

/* The prepared statement of the identity. */
extern const struct view backend_prelude_name;

/* Whether the call is framed by begin and commit of its own; what is only prepared runs nothing
 * that could commit. */
static inline bool call_in_transaction(const struct db_call *call)
{
    return call->statement->explicit_transaction && !call->prepare_only;
}

/* Queues the whole of a call, up to its Sync; fills call->prepared.  Without memory the stream's
 * output is marked failed, and the connection ends at the next flush. */
void backend_send(struct backend *b, struct db_call *call);

#endif
