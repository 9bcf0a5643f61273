/*
 * The control thread's side of the AWS credentials: the chain is made when the first service that
 * logs in by IAM is served, ticked from then on, and its news let the logins go on that waited.
 *
 * Thread rule: everything on the control thread.
 */
#ifndef SALLYPORT_GATEWAY_AWS_IDENTITY_H
#define SALLYPORT_GATEWAY_AWS_IDENTITY_H

#include "gateway/control.h"

void aws_identity_init(struct control *c);
/* After a configuration was taken: begins when it has a service with iam_auth. */
void aws_identity_wanted(struct control *c);
/* True while the first attempt is under way: a login by IAM could only fail, so it waits.  Once it
 * has failed, logins go on and fail with its reason. */
bool aws_identity_is_awaited(const struct control *c);
void aws_identity_close_handles(struct control *c);
/* After the fetcher was closed. */
void aws_identity_free(struct control *c);

#endif
