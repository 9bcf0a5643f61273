/*
 * The control thread's side of the AWS credentials: the chain is made when the first service that
 * logs in by IAM is served, ticked from then on, and its news let the logins go on that waited.
 * Roles that services assume, their own or per caller, are sessions (aws/sessions.h) upon it.
 *
 * Thread rule: everything on the control thread.
 */
#ifndef SALLYPORT_GATEWAY_AWS_IDENTITY_H
#define SALLYPORT_GATEWAY_AWS_IDENTITY_H

#include "aws/sessions.h"
#include "database/database.h"
#include "gateway/control.h"

void aws_identity_init(struct control *c);
/* After a configuration was taken: begins when it has a service with iam_auth. */
void aws_identity_wanted(struct control *c);
/* Before it asks c->chain or c->sessions for something of its own (secrets): makes them. */
err aws_identity_need(struct control *c) MUST_USE;
/* After a question to c->sessions. */
void aws_identity_asked(struct control *c);
/* True while the first attempt is under way: a login by IAM could only fail, so it waits.  Once it
 * has failed, logins go on and fail with its reason. */
bool aws_identity_is_awaited(const struct control *c);

/* The region that logins to the endpoint are signed for: its own, else that of the environment,
 * the profile, ECS or the instance; absent while it is not known.  Valid until the chain's next
 * tick. */
struct view aws_identity_region(const struct control *c, const struct endpoint *e);

/*
 * What signs a login to the endpoint (one with iam_auth): the chain's credentials, or those of the
 * session of its assumed role; `session` is the caller's, NULL for the service's own.
 *
 * AWS_READY: *out, good until the control thread returns to its loop.  AWS_WAIT: they are on their
 * way, and upstreams_pump is called when something has settled.  AWS_FAILED: *why and *detail (not
 * a secret, "" when there is no more to say; good until the next call), now and for a while; ask
 * again with the next login.
 */
enum aws_ready aws_identity_for(struct control *c, const struct endpoint *e,
                                const struct db_session_identity *session,
                                const struct aws_credentials **out, err *why, const char **detail);
/*
 * Keeps the session from leaving the cache while a login is under way, so that who found it ready
 * finds it ready again a moment later.  NULL when there is nothing to keep; NULL may be released.
 */
struct aws_session *aws_identity_hold(struct control *c, const struct endpoint *e,
                                      const struct db_session_identity *session);
void aws_identity_release(struct control *c, struct aws_session *held);

void aws_identity_close_handles(struct control *c);
/* After the fetcher was closed. */
void aws_identity_free(struct control *c);

#endif
