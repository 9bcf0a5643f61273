/* From what the database gave to the answer: rows as JSON, errors as problems. */
#ifndef SALLYPORT_GATEWAY_RESULT_H
#define SALLYPORT_GATEWAY_RESULT_H

#include "gateway/call.h"

/* For call->sink: writes the rows to the answer's body, in the shape that the statement says. */
extern const struct result_sink_ops result_as_json;

/* The answer of a statement that ran to its end. */
void result_answer(struct call *call, const struct db_outcome *outcome);
/* The answer to a database's error: a status for its SQLSTATE; its words only if the statement
 * exposes them.  What is not the caller's fault is logged. */
void result_answer_error(struct call *call, const struct db_outcome *outcome);

#endif
