/*
 * What an operator is told of a login that failed: where it went, what the system, the certificate
 * or the server said, and what to look at.  For the log, /status and the audit; it
 * names hosts and files, so no caller sees it.
 *
 * Each function appends to the text, after "; " when there is one already, and cuts what does not
 * fit.
 */
#ifndef SALLYPORT_DATABASE_LOGIN_DETAIL_H
#define SALLYPORT_DATABASE_LOGIN_DETAIL_H

#include <stddef.h>

#include "model/entities.h"

struct sockaddr;
struct ssl_st;

enum { LOGIN_DETAIL_BYTES = 1024 };

/* "db.example.com:5432: WHAT" */
void login_detail_place(char text[LOGIN_DETAIL_BYTES], const struct endpoint *e, const char *what);

/* "db.example.com:5432 (10.0.0.7): Connection refused"; address may be NULL. */
void login_detail_connect(char text[LOGIN_DETAIL_BYTES], const struct endpoint *e,
                          const struct sockaddr *address, int system_error);

/* What the check of the server's certificate found. */
void login_detail_tls(char text[LOGIN_DETAIL_BYTES], const struct endpoint *e,
                      const struct ssl_st *session);

/* A proof that was refused: what the server said (absent: nothing), and, where the kind of proof
 * that it asked for (as pg_login_method; NULL: none) tells, whether the user's membership in
 * rds_iam and the configuration differ. */
void login_detail_refused(char text[LOGIN_DETAIL_BYTES], const struct endpoint *e,
                          const char *method, struct view user, struct view said);

#endif
