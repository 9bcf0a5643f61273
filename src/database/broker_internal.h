/* What the broker's two files share: the calls and connections (broker.c), the upkeep
 * (broker_upkeep.c). */
#ifndef SALLYPORT_DATABASE_BROKER_INTERNAL_H
#define SALLYPORT_DATABASE_BROKER_INTERNAL_H

#include "database/broker.h"

enum { NS_PER_MS = 1000000 };

/* Under the lock: whether one more login may be wanted; wants it; lets go of the lock and tells the
 * control thread what is wanted. */
bool broker_may_grow(const struct broker *b);
void broker_want_login(struct broker *b);
void broker_unlock_and_tell(struct broker *b);
/* Under the lock: out of the queue. */
void broker_take_waiter(struct broker *b, struct db_call *call);
/* Refuses later, on the call's own worker: never from within db_call_start. */
void broker_refuse(struct db_call *call, err why);
/* Under the lock, on its worker: whether the connection has served its time. */
bool broker_is_spent(const struct broker *b, const struct backend *backend, int64_t now_ns);
/* A connection that can't be used, in no list: gone, and perhaps replaced for those who wait. */
void broker_lose(struct broker *b, struct backend *backend);

#endif
