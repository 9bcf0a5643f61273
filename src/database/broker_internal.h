/* What the broker's files share: the calls and connections (broker.c), the sessions and their
 * logins (broker_session.c), the upkeep (broker_upkeep.c). */
#ifndef SALLYPORT_DATABASE_BROKER_INTERNAL_H
#define SALLYPORT_DATABASE_BROKER_INTERNAL_H

#include "base/arena.h"
#include "database/broker.h"

enum { NS_PER_MS = 1000000 };

/* What is known of a caller's session, copied; immutable, counted under the broker's lock. */
struct session_identity {
    unsigned references;
    struct arena arena;
    struct db_session_identity of;
};

/* ---- broker_session.c; all under the lock ---- */

void broker_session_init(struct db_session *s, bool common);
/* The session of the call, made when it is new, its identity brought up to date; NULL without
 * memory.  What has no use after all goes with broker_session_settle. */
struct db_session *broker_session_of(struct broker *b, const struct db_call *call);
/* After anything of the session became less: frees it when nothing is left. */
void broker_session_settle(struct broker *b, struct db_session *s);
void broker_sessions_free(struct broker *b);
/* Whether the session is a caller's whose web identity token has ended. */
bool broker_session_ended(const struct db_session *s);

/* Wishes for one login more, when the session's waiters can do with it. */
void broker_wish(struct broker *b, struct db_session *s, int64_t now_ns);
/* The same, but for a call that is served already: only where there is room. */
void broker_wish_beyond(struct broker *b, struct db_session *s, int64_t now_ns);
/* For every session with waiters, the longest waiting first. */
void broker_wish_for_waiters(struct broker *b, int64_t now_ns);
/* Whether a connection of the session that is free now, and would serve this call (NULL: none),
 * is owed to the hungry. */
bool broker_owes(const struct broker *b, const struct db_session *s, const struct db_call *call,
                 int64_t now_ns);
/* A connection or a login is no more: its place is free. */
void broker_note_less(struct broker *b);
void broker_refuse_waiters(struct broker *b, struct db_session *s, err why);

/* ---- broker.c ---- */

/* Sends a connection that is on no loop to a worker, there to run the call (NULL: none). */
void broker_send(struct backend *backend, struct db_worker *worker, struct db_call *call);
/* Lets go of the lock, and tells the control thread what it has to know. */
void broker_unlock_and_tell(struct broker *b);
/* Under the lock: off the idle list. */
void broker_leave_idle(struct backend *backend);
/* Under the lock: the home of an idle connection, which is off its list, is asked for it: for a
 * waiter, or to close it. */
void broker_ask_home(struct broker *b, struct backend *backend, bool leaving);
/* Under the lock: out of the queue. */
void broker_take_waiter(struct broker *b, struct db_call *call);
/* Refuses later, on the call's own worker: never from within db_call_start. */
void broker_refuse(struct db_call *call, err why);
/* Under the lock, on its worker: whether the connection has served its time. */
bool broker_is_spent(const struct broker *b, const struct backend *backend, int64_t now_ns);
/* A connection that can't be used, in no list: gone, and perhaps replaced for those who wait. */
void broker_lose(struct broker *b, struct backend *backend);

#endif
