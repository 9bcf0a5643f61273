#include "gateway/authorize.h"

#include "audit/event.h"
#include "base/buf.h"
#include "base/map.h"
#include "gateway/router.h"
#include "gateway/session_name.h"
#include "json/json.h"
#include "policy/policy.h"

const struct fault authorize_no_token = {"no_token", "the request has no Authorization header",
                                         "a bearer token is required", 401};
const struct fault authorize_malformed = {"authorization_malformed",
                                          "Authorization is not one Bearer token",
                                          "Authorization must be one Bearer token", 401};
const struct fault authorize_no_consumer = {"no_consumer",
                                           "the token names no consumer, and its issuer wants one",
                                           "your token names no known client", 403};
const struct fault authorize_role_twice = {"role_twice", "Sallyport-Role was given more than once",
                                           "Sallyport-Role may be given once", 400};
const struct fault authorize_no_route = {"no_route", "no route that this caller may see",
                                         "no such resource", 404};
const struct fault authorize_no_method = {"method_not_allowed",
                                          "the path has routes, none for this method",
                                          "the method is not allowed here", 405};
const struct fault authorize_denied = {"denied", "no role of the caller covers the call",
                                       "no role of yours allows this", 403};

enum {
    FRAGMENT_MAX_BYTES = 128 * 1024,
    DECISIONS_MAX = 64, /* kept with one token; further routes are decided anew each time */
};

/* ---- Headers ---- */

err bearer_token(struct view authorization, bool twice, struct view *token)
{
    struct view scheme;

    if (authorization.data == NULL)
        return fail(&authorize_no_token);
    struct view rest = view_cut(authorization, ' ', &scheme);
    if (twice || !view_eq_nocase(scheme, VIEW("Bearer")))
        return fail(&authorize_malformed);
    *token = view_trim(rest);
    return token->len > 0 ? OK : fail(&authorize_malformed);
}

static bool is_hex(struct view v)
{
    for (size_t i = 0; i < v.len; i++) {
        char c = v.data[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
    }
    return true;
}

/* version "-" trace-id "-" parent-id "-" flags */
static struct view w3c_trace_id(struct view traceparent)
{
    struct view id = view_upto(view_from(traceparent, 3), 32);

    if (traceparent.len != 55 || traceparent.data[2] != '-' || traceparent.data[35] != '-' ||
        traceparent.data[52] != '-' || !is_hex(view_upto(traceparent, 2)) || !is_hex(id) ||
        !is_hex(view_upto(view_from(traceparent, 36), 16)) || !is_hex(view_from(traceparent, 53)) ||
        view_is(view_upto(traceparent, 2), "ff") ||
        view_is(id, "00000000000000000000000000000000"))
        return (struct view){NULL, 0};
    return id;
}

/* Root=1-58406520-a006649127e371903a2de979;… */
static struct view amzn_root(struct view header)
{
    while (header.len > 0) {
        struct view field;
        header = view_cut(header, ';', &field);
        field = view_trim(field);
        if (!view_starts_with(field, VIEW("Root=")))
            continue;
        struct view id = view_from(field, 5);
        if (id.len != 35 || id.data[0] != '1' || id.data[1] != '-' || id.data[10] != '-' ||
            !is_hex(view_upto(view_from(id, 2), 8)) || !is_hex(view_from(id, 11)))
            break;
        return id;
    }
    return (struct view){NULL, 0};
}

struct view trace_id_of(struct view traceparent, struct view amzn_trace_id)
{
    struct view id = w3c_trace_id(traceparent);

    return id.data != NULL ? id : amzn_root(amzn_trace_id);
}

/* ---- The caches of one caller ---- */

struct caller_cache {
    bool lacks_consumer;
    struct view principal;
    struct map decisions; /* by the route's address */
};

static void clear_cache(void *data)
{
    map_clear(&((struct caller_cache *)data)->decisions);
}

static struct view copy_buf(struct arena *arena, struct buf *b)
{
    struct view text = buf_failed(b) ? (struct view){NULL, 0} : arena_copy(arena, buf_view(b));

    buf_clear(b);
    return text;
}

static struct caller_cache *cache_of(const struct snapshot *s, struct known_caller *caller)
{
    struct caller_cache *cache = caller->user;
    struct buf b;

    if (cache != NULL)
        return cache;
    cache = ARENA_NEW(&caller->arena, struct caller_cache);
    if (cache == NULL)
        return NULL;
    map_init(&cache->decisions);
    cache->lacks_consumer = !snapshot_find_consumer(s, &caller->principal);
    buf_init(&b, FRAGMENT_MAX_BYTES);
    audit_render_principal(&b, &caller->principal);
    cache->principal = copy_buf(&caller->arena, &b);
    if (cache->principal.data == NULL ||
        !arena_on_reset(&caller->arena, clear_cache, cache))
        return NULL;
    caller->user = cache;
    return cache;
}

err authorize_caller(const struct snapshot *s, struct known_caller *caller)
{
    const struct caller_cache *cache = cache_of(s, caller);

    if (cache == NULL)
        return fail(&fault_out_of_memory);
    return cache->lacks_consumer ? fail(&authorize_no_consumer) : OK;
}

struct view caller_fragment(const struct known_caller *caller)
{
    const struct caller_cache *cache = caller->user;

    return cache != NULL ? cache->principal : VIEW("");
}

/* ---- Deciding ---- */

/* The claims that the service lists; `role` is the database role, as PostgREST's policies expect. */
static struct view render_claims(struct arena *arena, const struct service *service,
                                 const struct principal *p, const struct role *role)
{
    struct buf b;

    buf_init(&b, FRAGMENT_MAX_BYTES);
    buf_add_char(&b, '{');
    for (size_t i = 0; i < service->claims.count; i++) {
        struct view name = service->claims.items[i];
        bool is_role = view_is(name, "role");
        const struct claim *claim = is_role ? NULL : principal_claim(p, name);
        if (claim == NULL && !is_role)
            continue;
        if (b.len > 1)
            buf_add_char(&b, ',');
        json_add_string(&b, name);
        buf_add_char(&b, ':');
        if (is_role)
            json_add_string(&b, role->database_role);
        else
            buf_add_view(&b, claim->json);
    }
    buf_add_char(&b, '}');
    return copy_buf(arena, &b);
}

/* The IAM session of the caller, where the route's endpoint has one for each. */
static err name_session(struct arena *arena, const struct snapshot *s, const struct principal *p,
                        const struct compiled_route *r, struct cached_decision *d)
{
    const struct iam_auth *iam = r->broker != NULL ? &r->broker->endpoint.iam_auth : NULL;
    const struct session_caller caller = {
        .issuer = p->issuer,
        .issuer_name = p->issuer_name,
        .subject = p->subject,
        .client = p->client,
        .role = d->role != NULL ? d->role->name : (struct view){NULL, 0},
        .only_issuer = s->entities.issuer_count == 1,
        .claims = p->claims,
        .claim_count = p->claim_count,
    };

    if (!d->allowed || iam == NULL || !iam->enabled || !iam->per_caller)
        return OK;
    d->per_caller = true;
    TRY(session_identity_make(arena, iam, &caller, &d->session));
    if (iam->web_identity == WEB_IDENTITY_CALLER)
        d->session.expires_at_s = p->expires_at_s;
    return OK;
}

static err decide(struct arena *arena, const struct snapshot *s, struct known_caller *caller,
                  const struct compiled_route *r, struct view method, struct view named_role,
                  struct cached_decision *out)
{
    const struct entities *all = &s->entities;
    const struct service *service = r->route->service;
    const struct policy_subject subject = {service->name, r->route->name, method, named_role};
    struct decision decision;
    struct buf b;

    TRY(policy_decide(arena, all->roles, all->role_count, &caller->principal, &subject, &decision));
    buf_init(&b, FRAGMENT_MAX_BYTES);
    audit_render_decision(&b, &decision);
    *out = (struct cached_decision){
        .route = r,
        .allowed = decision.allowed,
        .visible = decision.allowed || policy_may_see(all->roles, all->role_count,
                                                      &caller->principal, service->name,
                                                      r->route->name),
        .role = decision.role,
        .role_index = decision.role != NULL ? (size_t)(decision.role - all->roles) : NO_ROLE,
        .reason = decision.reason,
        .fragment = copy_buf(arena, &b),
        .claims = decision.role != NULL
                      ? render_claims(arena, service, &caller->principal, decision.role)
                      : VIEW("{}"),
    };
    if (out->fragment.data == NULL || out->claims.data == NULL)
        return fail(&fault_out_of_memory);
    TRY(snapshot_find_plugins(arena, s, r, caller->principal.consumer, &out->plugins));
    return name_session(arena, s, &caller->principal, r, out);
}

static struct view key_of(const struct cached_decision *d)
{
    return view_of(&d->route, sizeof(struct compiled_route *));
}

/* One route may be called by several methods, and a GET's by HEAD too, which a role's allow may
 * tell apart; the key is the route alone, so only its one method's decision is kept. */
static bool cacheable(const struct compiled_route *r, struct view method, struct view named_role)
{
    return named_role.data == NULL && r->route->methods.count == 1 &&
           view_eq(method, r->route->methods.items[0]);
}

err authorize_call(struct arena *arena, const struct snapshot *s, struct known_caller *caller,
                   const struct compiled_route *r, struct view method, struct view named_role,
                   const struct cached_decision **out)
{
    struct caller_cache *cache = cache_of(s, caller);
    if (cache == NULL)
        return fail(&fault_out_of_memory);
    bool keep = cache->decisions.count < DECISIONS_MAX && cacheable(r, method, named_role);
    struct cached_decision *d =
        keep ? map_get(&cache->decisions, view_of(&r, sizeof(struct compiled_route *))) : NULL;

    if (d == NULL) {
        d = ARENA_NEW(keep ? &caller->arena : arena, struct cached_decision);
        if (d == NULL && keep) {
            /* The caller's arena is full: decided anew each time, in the call's. */
            keep = false;
            d = ARENA_NEW(arena, struct cached_decision);
        }
        if (d == NULL)
            return fail(&fault_out_of_memory);
        err e = decide(keep ? &caller->arena : arena, s, caller, r, method, named_role, d);
        if (failed(e) && keep) {
            keep = false;
            e = decide(arena, s, caller, r, method, named_role, d);
        }
        TRY(e);
        if (keep)
            (void)!map_put(&cache->decisions, key_of(d), d);
    }
    *out = d;
    return OK;
}

struct view visible_methods(struct arena *arena, const struct snapshot *s,
                            const struct known_caller *caller, struct view path,
                            struct view allow)
{
    struct buf b;

    buf_init(&b, 1024);
    while (allow.len > 0) {
        struct router_match match;
        struct view method;
        allow = view_cut(allow, ',', &method);
        method = view_trim(method);
        if (router_match(s->router, method, path, &match) != ROUTER_FOUND ||
            !match.route->statement.present ||
            !policy_may_see(s->entities.roles, s->entities.role_count, &caller->principal,
                            match.route->service->name, match.route->name))
            continue;
        if (b.len > 0)
            buf_add_str(&b, ", ");
        buf_add_view(&b, method);
    }
    struct view text = b.len > 0 ? copy_buf(arena, &b) : VIEW("");
    buf_clear(&b);
    return text;
}
