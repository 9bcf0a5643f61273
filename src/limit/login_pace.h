/*
 * How fast this process logs in to database instances by IAM, and how fast it does.
 *
 * RDS takes fewer than 200 new logins by IAM a second on an instance ("IAM database authentication"
 * of the RDS user guide), whoever makes them: services of this node, its connections to the
 * configuration's database, other nodes.  This is the node's part: logins to one instance (a host
 * and a port) are at least period / share apart, so that no second sees more than the share.  The
 * share is given from outside (limit/login_share.h) and holds for each instance by itself.
 *
 * The period is a little longer than the second that the limit speaks of, for logins that take
 * longer on their way than others, and for clocks that run at other speeds.
 *
 * Any thread: one lock.  Times are monotonic and come in as arguments.
 */
#ifndef SALLYPORT_LIMIT_LOGIN_PACE_H
#define SALLYPORT_LIMIT_LOGIN_PACE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/view.h"

enum {
    LOGIN_PERIOD_MS = 1100,
    LOGIN_METER_S = 10,
    LOGIN_HOST_BYTES = 256, /* a longer name is cut: names that are alike so far share the pace */
};

/* Logins a second of late, over LOGIN_METER_S.  Zero-initialise.  One thread, or under a lock. */
struct login_meter {
    int64_t second; /* of the latest */
    uint32_t counts[LOGIN_METER_S];
};

void login_meter_note(struct login_meter *m, int64_t now_ns);
double login_meter_rate(const struct login_meter *m, int64_t now_ns);

struct login_pace;
struct login_instance;

/* With a share of nothing.  NULL: no memory. */
struct login_pace *login_pace_new(void) MUST_USE;
void login_pace_free(struct login_pace *p);

/* The instance of that name and port, which lives as long as p.  NULL: no memory. */
struct login_instance *login_pace_instance(struct login_pace *p, struct view host,
                                           uint16_t port) MUST_USE;

/* From now on `logins` in period_ms, to each instance; 0 logins: none. */
void login_pace_set(struct login_pace *p, int64_t logins, int64_t period_ms);
/* No login of a service before that time. */
void login_pace_hold(struct login_pace *p, int64_t until_ns);

/*
 * Whether a service may begin a login now.  0: it may, and that is counted.  Else when to ask
 * again; somebody else may have been let in by then.
 */
int64_t login_pace_take(struct login_pace *p, struct login_instance *i, int64_t now_ns) MUST_USE;
/* The login that was let in at now_ns was not begun after all. */
void login_pace_give_back(struct login_pace *p, struct login_instance *i, int64_t now_ns);

/*
 * The same for a connection to the configuration's database.  It goes before services that wait,
 * and one in a period is let in though the share is nothing: shares are had from that database.
 */
int64_t login_pace_take_store(struct login_pace *p, struct login_instance *i,
                              int64_t now_ns) MUST_USE;
void login_pace_give_back_store(struct login_pace *p, struct login_instance *i, int64_t now_ns);

/* Of late: of the connections to the configuration's database; of these and the services'. */
double login_pace_store_rate(struct login_pace *p, int64_t now_ns);
double login_pace_rate(struct login_pace *p, int64_t now_ns);
/* When the latest login began, to whatever instance; INT64_MIN: none did. */
int64_t login_pace_latest_ns(struct login_pace *p);

#endif
