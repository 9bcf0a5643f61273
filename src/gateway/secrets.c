#include "gateway/secrets.h"

#include "base/log.h"
#include "base/time.h"
#include "config/reference.h"
#include "gateway/aws_identity.h"
#include "gateway/control.h"
#include "gateway/upstream.h"

enum { NS_PER_MS = 1000000, KEYS_BLOCK_BYTES = 4096, KEYS_MAX_BYTES = 64 * 1024 };

static void on_timer(uv_timer_t *timer)
{
    struct control *c = timer->data;
    void (*again)(struct control *c) = c->secrets.again;

    secrets_tick(c);
    if (!c->secrets.due)
        return;
    c->secrets.due = false;
    if (again != NULL)
        again(c);
    upstreams_pump(c);
}

void secrets_tick(struct control *c)
{
    if (c->stopping)
        return;
    int64_t next_ms = secret_cache_tick(c->secrets.cache);
    int64_t now_ms = time_monotonic_ns() / NS_PER_MS;
    if (next_ms == INT64_MAX && !c->secrets.due)
        return;
    uv_update_time(&c->loop);
    uv_timer_start(&c->secrets.timer, on_timer,
                   c->secrets.due        ? 0
                   : next_ms > now_ms ? (uint64_t)(next_ms - now_ms)
                                      : 1,
                   0);
}

/* From the loop's next turn, for the cache may be in the middle of its own work. */
void secrets_wake(struct control *c)
{
    if (c->stopping)
        return;
    c->secrets.due = true;
    uv_timer_start(&c->secrets.timer, on_timer, 0, 0);
}

static void on_news(void *arg)
{
    secrets_wake(arg);
}

static enum aws_ready signer(void *arg, const struct secret_origin *origin,
                             struct secret_signer *out, err *why, const char **detail)
{
    struct control *c = arg;

    *detail = "";
    *why = aws_identity_need(c);
    if (failed(*why))
        return AWS_FAILED;
    enum aws_ready ready = secret_signer_for(c->chain, c->sessions, origin, out, why, detail);
    if (ready == AWS_WAIT)
        aws_identity_asked(c);
    return ready;
}

void secrets_init_handles(struct control *c)
{
    ENSURE(uv_timer_init(&c->loop, &c->secrets.timer) == 0);
    ENSURE(uv_timer_init(&c->loop, &c->secrets.patience) == 0);
    c->secrets.timer.data = c->secrets.patience.data = c;
}

bool secrets_init(struct control *c)
{
    const struct secret_cache_options options = {
        .fetcher = net_fetcher_base(c->fetcher),
        .clock = &system_clock,
        .signer = signer,
        .signer_arg = c,
        .wake = on_news,
        .wake_arg = c,
    };
    if (failed(secret_cache_new(&options, &c->secrets.cache)))
        return false;
    secret_host_init(&c->secrets.host, c->node, c->secrets.cache);
    return true;
}

bool secrets_set_keyring(struct control *c, const struct keyring_settings *settings)
{
    struct arena arena;

    arena_init(&arena, KEYS_BLOCK_BYTES, KEYS_MAX_BYTES);
    struct keyring_settings copy = *settings;
    size_t count = settings->previous_keys.count;
    struct view *keys = ARENA_ARRAY(&arena, count + 1, struct view);
    bool good = keys != NULL;
    for (size_t i = 0; good && i < count; i++) {
        keys[i] = reference_copy_secret(&arena, settings->previous_keys.items[i]);
        good = keys[i].data != NULL;
    }
    copy.previous_keys = (struct strings){keys, count};
    copy.key = reference_copy_secret(&arena, settings->key);
    if (!good || copy.key.data == NULL) {
        arena_clear(&arena);
        return false;
    }
    arena_clear(&c->secrets.keys);
    c->secrets.keys = arena;
    c->secrets.keyring = copy;
    c->secrets.host.host.keyring = &c->secrets.keyring;
    return true;
}

/* ---- Loads ---- */

static void on_patience_over(uv_timer_t *timer)
{
    struct control *c = timer->data;

    c->secrets.host.impatient = true;
    secrets_wake(c);
}

void secrets_begin_load(struct control *c)
{
    if (c->secrets.again != NULL)
        secret_cache_end_load(c->secrets.cache, false); /* a newer load overtakes it */
    c->secrets.again = NULL;
    c->secrets.host.impatient = false;
    uv_timer_stop(&c->secrets.patience);
    secret_cache_begin_load(c->secrets.cache);
}

void secrets_await(struct control *c, void (*again)(struct control *c))
{
    if (c->secrets.again == NULL) {
        uv_update_time(&c->loop);
        uv_timer_start(&c->secrets.patience, on_patience_over, SECRETS_PATIENCE_MS, 0);
    }
    c->secrets.again = again;
    secrets_tick(c);
}

void secrets_end_load(struct control *c, bool taken)
{
    c->secrets.again = NULL;
    c->secrets.host.impatient = false;
    uv_timer_stop(&c->secrets.patience);
    secret_cache_end_load(c->secrets.cache, taken);
    secrets_tick(c);
    secrets_wake(c); /* for logins that waited for a secret which is left now */
}

/* ---- The end ---- */

void secrets_close(struct control *c)
{
    uv_close((uv_handle_t *)&c->secrets.timer, NULL);
    uv_close((uv_handle_t *)&c->secrets.patience, NULL);
    secret_cache_free(c->secrets.cache);
    c->secrets.cache = NULL;
    secret_host_clear(&c->secrets.host);
    arena_clear(&c->secrets.keys);
}
