/*
 * The control thread's side of secrets: the cache, its clock, and loads of the configuration that
 * wait for secrets.
 *
 *   load ─► config_awaits_secrets ─► (news from the cache) ─► load … ─► taken or refused
 *                └ after SECRETS_PATIENCE_MS: the last try, for which what is missing is a mistake
 *
 * Meanwhile the configuration before goes on being served.
 *
 * Thread rule: everything on the control thread.
 */
#ifndef SALLYPORT_GATEWAY_SECRETS_H
#define SALLYPORT_GATEWAY_SECRETS_H

#include <uv.h>

#include "aws/secret_cache.h"
#include "gateway/secret_host.h"

struct control;

enum { SECRETS_PATIENCE_MS = 20 * 1000 };

struct secrets {
    struct secret_cache *cache;
    struct secret_host host;
    uv_timer_t timer;    /* the cache's next tick */
    uv_timer_t patience; /* of a load */
    /* Tries the load again; called from the loop, after news.  NULL: no load waits. */
    void (*again)(struct control *c);
    struct keyring_settings keyring; /* once it was set; until then the host's node says it */
    struct arena keys;               /* its own */
    bool due; /* news came, and nobody has looked yet */
};

void secrets_init_handles(struct control *c);
/* With the fetcher.  False: no memory. */
bool secrets_init(struct control *c) MUST_USE;

/* With what loads from now on open sealed secrets; copied.  False: no memory, nothing changed. */
bool secrets_set_keyring(struct control *c, const struct keyring_settings *settings) MUST_USE;

/* A load begins: what failed before is asked anew. */
void secrets_begin_load(struct control *c);
/* It waits: again is called when there is news, or when the patience ends. */
void secrets_await(struct control *c, void (*again)(struct control *c));
/* It has ended, and its configuration was taken, or not. */
void secrets_end_load(struct control *c, bool taken);

/* Does what is due; after asking the cache for something that was not there. */
void secrets_tick(struct control *c);
/* The AWS credentials or sessions have news. */
void secrets_wake(struct control *c);

/* Closes the handles and forgets all secrets; before the fetcher is closed. */
void secrets_close(struct control *c);

#endif
