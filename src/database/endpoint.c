#include "database/endpoint.h"

#include "base/secret.h"
#include "database/broker.h"

struct view endpoint_tls_name(const struct endpoint *e)
{
    return e->iam_auth.enabled && e->iam_auth.hostname.len > 0 ? e->iam_auth.hostname : e->host;
}

struct strings endpoint_copy_strings(struct arena *a, struct strings s)
{
    struct view *items = ARENA_ARRAY(a, s.count, struct view);

    if (items == NULL)
        return (struct strings){NULL, 0};
    for (size_t i = 0; i < s.count; i++)
        items[i] = arena_copy(a, s.items[i]);
    return (struct strings){items, s.count};
}

static struct view copy_optional(struct arena *a, struct view v)
{
    return v.data == NULL ? v : arena_copy(a, v);
}

static void copy_iam_auth(struct arena *a, struct iam_auth *to, const struct iam_auth *from)
{
    struct session_tag *tags = ARENA_ARRAY(a, from->tag_count, struct session_tag);

    to->region = copy_optional(a, from->region);
    to->hostname = copy_optional(a, from->hostname);
    to->assume_role_arn = endpoint_copy_strings(a, from->assume_role_arn);
    to->role_session_name = copy_optional(a, from->role_session_name);
    to->source_identity = copy_optional(a, from->source_identity);
    to->external_id = copy_optional(a, from->external_id);
    to->policy = copy_optional(a, from->policy);
    to->policy_arns = endpoint_copy_strings(a, from->policy_arns);
    to->sts_endpoint_url = copy_optional(a, from->sts_endpoint_url);
    to->tag_count = tags != NULL ? from->tag_count : 0;
    for (size_t i = 0; i < to->tag_count; i++) {
        tags[i] = from->tags[i];
        tags[i].key = copy_optional(a, from->tags[i].key);
        tags[i].value = copy_optional(a, from->tags[i].value);
    }
    to->tags = tags;
}

void endpoint_copy(struct arena *a, struct endpoint *to, const struct endpoint *from)
{
    *to = *from;
    to->url = copy_optional(a, from->url);
    to->host = copy_optional(a, from->host);
    to->user = copy_optional(a, from->user);
    to->database = copy_optional(a, from->database);
    to->password = copy_optional(a, from->password);
    to->user_reference = copy_optional(a, from->user_reference);
    to->password_reference = copy_optional(a, from->password_reference);
    to->secret = copy_optional(a, from->secret);
    to->rotation.master = copy_optional(a, from->rotation.master);
    to->sslrootcert = copy_optional(a, from->sslrootcert);
    copy_iam_auth(a, &to->iam_auth, &from->iam_auth);
}

static bool same_strings(struct strings a, struct strings b)
{
    if (a.count != b.count)
        return false;
    for (size_t i = 0; i < a.count; i++) {
        if (!view_eq(a.items[i], b.items[i]))
            return false;
    }
    return true;
}

static bool same_tags(const struct iam_auth *a, const struct iam_auth *b)
{
    if (a->tag_count != b->tag_count)
        return false;
    for (size_t i = 0; i < a->tag_count; i++) {
        if (!view_eq(a->tags[i].key, b->tags[i].key) ||
            !view_eq(a->tags[i].value, b->tags[i].value) ||
            a->tags[i].transitive != b->tags[i].transitive)
            return false;
    }
    return true;
}

static bool same_iam_auth(const struct iam_auth *a, const struct iam_auth *b)
{
    return a->enabled == b->enabled && view_eq(a->region, b->region) &&
           view_eq(a->hostname, b->hostname) &&
           same_strings(a->assume_role_arn, b->assume_role_arn) &&
           view_eq(a->role_session_name, b->role_session_name) &&
           view_eq(a->source_identity, b->source_identity) &&
           a->has_source_identity == b->has_source_identity &&
           view_eq(a->external_id, b->external_id) &&
           a->session_duration_s == b->session_duration_s && view_eq(a->policy, b->policy) &&
           same_strings(a->policy_arns, b->policy_arns) && same_tags(a, b) &&
           a->web_identity == b->web_identity &&
           view_eq(a->sts_endpoint_url, b->sts_endpoint_url) &&
           a->max_sessions == b->max_sessions && a->per_caller == b->per_caller;
}

static bool same_secret(const struct endpoint *a, const struct endpoint *b)
{
    return view_eq(a->user_reference, b->user_reference) &&
           view_eq(a->password_reference, b->password_reference) &&
           view_eq(a->secret, b->secret) && a->rotation.every_s == b->rotation.every_s &&
           a->rotation.alternating == b->rotation.alternating &&
           view_eq(a->rotation.master, b->rotation.master);
}

/* What references stand for is asked at each login: a new value of the same secret is no other
 * login, and the connections stay. */
static bool same_login(const struct endpoint *a, const struct endpoint *b)
{
    bool whole = a->secret.len > 0;

    return same_secret(a, b) &&
           (whole || a->user_reference.len > 0 || view_eq(a->user, b->user)) &&
           (whole || a->password_reference.len > 0 || secret_eq(a->password, b->password));
}

static bool same_place(const struct endpoint *a, const struct endpoint *b)
{
    return view_eq(a->host, b->host) && a->port == b->port &&
           view_eq(a->database, b->database) && a->sslmode == b->sslmode &&
           view_eq(a->sslrootcert, b->sslrootcert);
}

static bool same_pool(const struct service *a, const struct service *b)
{
    return a->pool.max_connections == b->pool.max_connections &&
           a->pool.max_waiting == b->pool.max_waiting &&
           a->pool.wait_timeout_ms == b->pool.wait_timeout_ms &&
           a->pool.idle_timeout_ms == b->pool.idle_timeout_ms &&
           a->pool.max_lifetime_ms == b->pool.max_lifetime_ms &&
           a->pool.shared_depth == b->pool.shared_depth &&
           a->pool.statement_cache == b->pool.statement_cache &&
           a->pool.login_rate == b->pool.login_rate;
}

static bool matches(const struct broker *b, const struct service *service,
                    const struct endpoint *endpoint, const struct strings *database_roles)
{
    return view_eq(b->name, service->name) && same_place(&b->endpoint, endpoint) &&
           same_pool(&b->service, service) &&
           b->service.connect_timeout_ms == service->connect_timeout_ms &&
           b->service.max_response_bytes == service->max_response_bytes &&
           same_strings(b->database_roles, *database_roles);
}

bool broker_matches(const struct broker *b, const struct service *service,
                    const struct endpoint *endpoint, const struct strings *database_roles)
{
    const struct endpoint *now = &b->login->endpoint;

    return matches(b, service, endpoint, database_roles) &&
           same_iam_auth(&now->iam_auth, &endpoint->iam_auth) && same_login(now, endpoint);
}

bool broker_matches_but_login(const struct broker *b, const struct service *service,
                              const struct endpoint *endpoint,
                              const struct strings *database_roles)
{
    return matches(b, service, endpoint, database_roles) && !b->endpoint.iam_auth.per_caller &&
           !endpoint->iam_auth.per_caller;
}
