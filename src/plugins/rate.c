#include "plugins/rate.h"

/* ---- Whose calls ---- */

/* Each with its length: no two callers may share a key, whatever stands in their names. */
static struct view caller_key(struct arena *arena, const struct principal *p)
{
    return arena_printf(arena, "caller %zu:%.*s%zu:%.*s%zu:%.*s", p->issuer_name.len,
                        VIEW_ARG(p->issuer_name), p->client.len, VIEW_ARG(p->client),
                        p->subject.len, VIEW_ARG(p->subject));
}

/* Absent: by the address, as Kong does where the rest says nothing. */
static struct view identifier(struct arena *arena, const struct rate_limiting *r,
                              const struct plugin_request *q, enum window_keys *of)
{
    const struct consumer *c = q->principal->consumer;
    struct view value;

    *of = WINDOW_CALLERS;
    switch (r->limit_by) {
    case LIMIT_BY_CONSUMER:
        return c != NULL ? arena_printf(arena, "consumer %.*s", VIEW_ARG(c->meta.id))
                         : caller_key(arena, q->principal);
    case LIMIT_BY_CREDENTIAL:
        return caller_key(arena, q->principal);
    case LIMIT_BY_SERVICE:
        return arena_printf(arena, "service %.*s", VIEW_ARG(q->service->meta.id));
    case LIMIT_BY_HEADER:
        *of = WINDOW_HEADERS;
        if (q->header(q->arg, r->header_name, &value))
            return arena_printf(arena, "header %.*s", VIEW_ARG(value));
        break;
    case LIMIT_BY_PATH:
        if (view_eq(q->path, r->path))
            return VIEW("path");
        break;
    case LIMIT_BY_IP:
        break;
    }
    *of = WINDOW_ADDRESSES;
    return (struct view){NULL, 0};
}

/* The address's bytes may hold a NUL, at which a text would end. */
static struct view key_of(struct arena *arena, const struct plugin *p,
                          const struct plugin_request *q, enum window_keys *of)
{
    struct view who = identifier(arena, &p->config.rate_limiting, q, of);
    size_t len = p->meta.id.len + 1 + (who.data != NULL ? who.len : ADDRESS_BYTES);
    char *at = arena_alloc(arena, len);

    if (at == NULL)
        return (struct view){NULL, 0};
    memcpy(at, p->meta.id.data, p->meta.id.len);
    at[p->meta.id.len] = ' ';
    if (who.data != NULL)
        memcpy(at + p->meta.id.len + 1, who.data, who.len);
    else
        memcpy(at + p->meta.id.len + 1, q->peer->bytes, ADDRESS_BYTES);
    return view_of(at, len);
}

/* ---- What the answer tells ---- */

static void add_header(struct arena *arena, struct plugin_verdict *out, struct view name,
                       int64_t value)
{
    struct view text = arena_printf(arena, "%lld", (long long)value);

    if (text.data == NULL)
        return;
    out->headers[out->header_count].name = name;
    out->headers[out->header_count++].value = text;
}

/* The window with the least left, of two the longer one. */
static int tightest(const int64_t limits[PERIODS], const struct window_use use[PERIODS])
{
    int found = -1;

    for (int i = 0; i < PERIODS; i++) {
        if (limits[i] > 0 && (found < 0 || use[i].remaining <= use[found].remaining))
            found = i;
    }
    return found;
}

static void add_headers(struct arena *arena, const int64_t limits[PERIODS],
                        const struct window_use use[PERIODS], struct plugin_verdict *out)
{
    static const struct view names[PERIODS][2] = {
        {VIEW("X-RateLimit-Limit-Second"), VIEW("X-RateLimit-Remaining-Second")},
        {VIEW("X-RateLimit-Limit-Minute"), VIEW("X-RateLimit-Remaining-Minute")},
        {VIEW("X-RateLimit-Limit-Hour"), VIEW("X-RateLimit-Remaining-Hour")},
        {VIEW("X-RateLimit-Limit-Day"), VIEW("X-RateLimit-Remaining-Day")},
        {VIEW("X-RateLimit-Limit-Month"), VIEW("X-RateLimit-Remaining-Month")},
        {VIEW("X-RateLimit-Limit-Year"), VIEW("X-RateLimit-Remaining-Year")},
    };
    int at = tightest(limits, use);

    for (int i = 0; i < PERIODS; i++) {
        if (limits[i] <= 0)
            continue;
        add_header(arena, out, names[i][0], limits[i]);
        add_header(arena, out, names[i][1], use[i].remaining);
    }
    add_header(arena, out, VIEW("RateLimit-Limit"), limits[at]);
    add_header(arena, out, VIEW("RateLimit-Remaining"), use[at].remaining);
    add_header(arena, out, VIEW("RateLimit-Reset"), use[at].reset_s);
}

bool rate_limit(struct arena *arena, const struct plugin *p, const struct plugin_request *request,
                struct plugin_verdict *out)
{
    const struct rate_limiting *r = &p->config.rate_limiting;
    enum window_keys of;
    struct view key = key_of(arena, p, request, &of);
    struct window_use use[PERIODS] = {{0, 0}};

    enum window_verdict verdict =
        key.data != NULL ? window_take(request->windows, of, key, r->limits, request->now_s, use)
                         : WINDOW_UNCOUNTED;
    if (verdict == WINDOW_UNCOUNTED)
        return r->fault_tolerant;
    if (!r->hide_client_headers) {
        add_headers(arena, r->limits, use, out);
        out->retry_after_s = verdict == WINDOW_FULL ? use[tightest(r->limits, use)].reset_s : 0;
    }
    return verdict == WINDOW_TAKEN;
}
