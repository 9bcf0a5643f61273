/* What makes a login unfit to be the one that every caller's role is taken on from. */
#ifndef SALLYPORT_DATABASE_LOGIN_CHECK_H
#define SALLYPORT_DATABASE_LOGIN_CHECK_H

#include "base/buf.h"
#include "base/view.h"
#include "model/principal.h"

/* Appends Parse, Bind, Execute, Sync of the check.  The answer has one row of one column for each
 * thing that is wrong, none for a fit login.  `roles`: those that the login may be a member of. */
void login_check_add(struct buf *out, struct strings roles);

#endif
