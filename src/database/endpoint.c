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

void endpoint_copy(struct arena *a, struct endpoint *to, const struct endpoint *from)
{
    *to = *from;
    to->url = copy_optional(a, from->url);
    to->host = copy_optional(a, from->host);
    to->user = copy_optional(a, from->user);
    to->database = copy_optional(a, from->database);
    to->password = copy_optional(a, from->password);
    to->sslrootcert = copy_optional(a, from->sslrootcert);
    to->iam_auth.region = copy_optional(a, from->iam_auth.region);
    to->iam_auth.hostname = copy_optional(a, from->iam_auth.hostname);
    to->iam_auth.assume_role_arn = endpoint_copy_strings(a, from->iam_auth.assume_role_arn);
    to->iam_auth.role_session_name = copy_optional(a, from->iam_auth.role_session_name);
    to->iam_auth.sts_endpoint_url = copy_optional(a, from->iam_auth.sts_endpoint_url);
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

static bool same_endpoint(const struct endpoint *a, const struct endpoint *b)
{
    return view_eq(a->host, b->host) && a->port == b->port && view_eq(a->user, b->user) &&
           view_eq(a->database, b->database) && secret_eq(a->password, b->password) &&
           a->sslmode == b->sslmode && view_eq(a->sslrootcert, b->sslrootcert) &&
           a->iam_auth.enabled == b->iam_auth.enabled &&
           view_eq(a->iam_auth.region, b->iam_auth.region) &&
           view_eq(a->iam_auth.hostname, b->iam_auth.hostname) &&
           same_strings(a->iam_auth.assume_role_arn, b->iam_auth.assume_role_arn) &&
           view_eq(a->iam_auth.role_session_name, b->iam_auth.role_session_name) &&
           view_eq(a->iam_auth.sts_endpoint_url, b->iam_auth.sts_endpoint_url);
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

bool broker_matches(const struct broker *b, const struct service *service,
                    const struct endpoint *endpoint, const struct strings *database_roles)
{
    return view_eq(b->name, service->name) && same_endpoint(&b->endpoint, endpoint) &&
           same_pool(&b->service, service) &&
           b->service.connect_timeout_ms == service->connect_timeout_ms &&
           b->service.max_response_bytes == service->max_response_bytes &&
           same_strings(b->database_roles, *database_roles);
}
