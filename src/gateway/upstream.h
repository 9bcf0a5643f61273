/*
 * The control thread's side of one broker: what it is connected with, and its logins, paced.
 */
#ifndef SALLYPORT_GATEWAY_UPSTREAM_H
#define SALLYPORT_GATEWAY_UPSTREAM_H

#include "base/list.h"
#include "database/broker.h"
#include "database/login.h"
#include "gateway/control.h"
#include "limit/login_pace.h"

enum { LOGINS_AT_ONCE = 16, UPSTREAM_ERROR_BYTES = 1200 };

struct upstream {
    struct list link;
    struct control *control;
    struct broker *broker; /* one reference */
    bool retired;
    struct list wishes; /* struct db_session that wished for logins, first come first */
    int64_t next_ns;    /* of login_rate */
    const struct broker_login *paced_by; /* the login that `instance` is of */
    struct login_instance *instance; /* whose pace holds besides; NULL: not by IAM */
    bool paced;         /* the latest wish waits for that pace */
    int64_t taken_ns;    /* of the pace, for the login that is about to begin */
    int64_t paced_in_ns; /* when the latest login was let in */
    struct login_meter meter;
    struct list logins;    /* struct upstream_login, under way */
    struct list refused;   /* struct upstream_login, to be tried again with another secret */
    struct list cancels; /* struct cancel_job, under way */
    unsigned login_count;
    unsigned proved; /* the number of the broker's latest login that succeeded; 0: none did */
    char last_error[UPSTREAM_ERROR_BYTES]; /* "" after a success */
    char roots_sha256[65]; /* of the file of trusted certificates; "": none, or not readable */
    struct metric_set *login_results;
    struct metric login_seconds;
};

/* A broker for the endpoint: one that is there already, or a new one; a reference for the caller.
 * NULL with a diagnostic. */
struct broker *upstream_broker_for(void *control, const struct service *service,
                                   const struct endpoint *endpoint, const char *access,
                                   const struct strings *database_roles, struct diagnostics *d);
/* Before any broker.  With database = off the node is alone and has all of pg_iam_auth_max_rate;
 * else it has nothing of it before it is told its share.  False: no memory. */
bool upstream_pace_open(struct control *c);
/* Starts the logins that may start now; sets the control's timer for the others. */
void upstreams_pump(struct control *c);
/* Retires those that the snapshot does not use. */
void upstreams_sweep(struct control *c);
/* After the snapshot was taken: has brokers log in as it says now.  What a reload changes of a
 * login is no other broker: its connections serve until the new login has succeeded. */
void upstreams_adopt_logins(struct control *c);
/* Frees those retired that nothing refers to any more. */
void upstreams_reap(struct control *c);
/* Ends every login under way. */
void upstreams_abort(struct control *c);
/* With the pace. */
void upstreams_free(struct control *c);

#endif
