#include "gateway/secret_host.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/attr.h"
#include "base/time.h"
#include "gateway/config_host.h"

enum { ARENA_MAX_BYTES = 4 * 1024 * 1024, ENDPOINT_MAX_BYTES = 16 * 1024 };

/* Kong counts 1 AWSCURRENT, 2 AWSPREVIOUS; AWSPENDING has no number there. */
static enum secret_stage stage_of(unsigned version)
{
    switch (version) {
    case 2:
        return SECRET_PREVIOUS;
    case 3:
        return SECRET_PENDING;
    default:
        return SECRET_CURRENT;
    }
}

void secret_host_id(const struct node_config *node, const struct vault *vault,
                    const struct secret_reference *reference, struct secret_origin *origin,
                    struct secret_id *id)
{
    *origin = (struct secret_origin){
        .prefix = vault->prefix,
        .region = vault->aws.region,
        .endpoint_url = vault->aws.endpoint_url,
        .role_arn = vault->aws.assume_role_arn,
        .role_session_name = vault->aws.role_session_name,
        .sts_endpoint_url = vault->aws.sts_endpoint_url,
        .base64 = vault->aws.base64_decode,
        .ttl_s = vault->ttl_s,
        .neg_ttl_s = vault->neg_ttl_s,
        .resurrect_ttl_s = vault->resurrect_ttl_s,
    };
    if (origin->sts_endpoint_url.len == 0 && node != NULL)
        origin->sts_endpoint_url = node->vault_aws.aws.sts_endpoint_url;
    *id = (struct secret_id){origin, reference->name, stage_of(reference->version)};
}

/* ---- Answers ---- */

PRINTF_LIKE(3, 4)
static bool refuse(char *why, size_t size, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(why, size, format, args);
    va_end(args);
    return false;
}

static bool refuse_secret(char *why, size_t size, const struct secret_id *id, err e,
                          const char *detail)
{
    return refuse(why, size, "the secret '%.*s' of AWS: %s%s%s",
                  VIEW_ARG(view_upto(id->name, 100)), e.fault->text,
                  detail[0] != '\0' ? ": " : "", detail);
}

static bool take(struct secret_host *h, const struct secret_id *id, struct view key,
                 struct view text, struct view *out, char *why, size_t why_size)
{
    err e = secret_member(text, key, &h->arena, out);

    if (!failed(e))
        return true;
    secret_cache_note_unusable(h->cache, id);
    if (is_fault(e, &secret_no_member))
        return refuse(why, why_size, "the secret '%.*s' of AWS has no member '%.*s'",
                      VIEW_ARG(view_upto(id->name, 100)), VIEW_ARG(view_upto(key, 64)));
    return refuse_secret(why, why_size, id, e, "");
}

/* The version asked for if the cache still has it, else what serves. */
static bool find_version(const struct secret_host *h, const struct secret_id *id,
                         struct view *text)
{
    struct secret_value versions[SECRET_VERSIONS_MAX];
    size_t n = secret_cache_versions(h->cache, id, versions), found = 0;

    for (size_t i = 0; i < n && h->version_id != NULL; i++) {
        if (strcmp(versions[i].version_id, h->version_id) == 0)
            found = i;
    }
    *text = n > 0 ? versions[found].text : (struct view){NULL, 0};
    return n > 0;
}

static bool secret(const struct config_host *host, const struct vault *vault,
                   const struct secret_reference *reference, struct view *out, bool *pending,
                   char *why, size_t why_size)
{
    struct secret_host *h = CONTAINER_OF((struct config_host *)(uintptr_t)host,
                                         struct secret_host, host);
    struct secret_origin origin;
    struct secret_value value;
    struct secret_id id;
    const char *detail;
    struct view text;
    err e;

    *pending = false;
    arena_reset(&h->arena);
    secret_host_id(h->host.node, vault, reference, &origin, &id);
    if (h->for_login && find_version(h, &id, &text))
        return take(h, &id, reference->key, text, out, why, why_size);
    switch (secret_cache_get(h->cache, &id, &value, &e, &detail)) {
    case AWS_READY:
        return take(h, &id, reference->key, value.text, out, why, why_size);
    case AWS_FAILED:
        return refuse_secret(why, why_size, &id, e, detail);
    case AWS_WAIT: /* for a value anew: the one held does, before a load is refused for it */
        if (h->impatient && find_version(h, &id, &text))
            return take(h, &id, reference->key, text, out, why, why_size);
        break;
    }
    *pending = !h->impatient;
    return refuse(why, why_size, "the secret '%.*s' of AWS could not be read in time",
                  VIEW_ARG(view_upto(id.name, 100)));
}

void secret_host_init(struct secret_host *h, const struct node_config *node,
                      struct secret_cache *cache)
{
    *h = (struct secret_host){.host = config_host_offline, .cache = cache};
    h->host.leave_aws = false;
    h->host.secret = secret;
    h->host.node = node;
    arena_init(&h->arena, 4 * 1024, ARENA_MAX_BYTES);
}

void secret_host_clear(struct secret_host *h)
{
    arena_clear(&h->arena);
}

/* ---- Who signs ---- */

static enum aws_ready by_role(const struct aws_plan *plan, struct aws_sessions *sessions,
                              const struct secret_origin *origin,
                              const struct aws_credentials **out, err *why, const char **detail)
{
    struct sts_endpoint endpoint;
    struct arena arena;

    arena_init(&arena, 1024, ENDPOINT_MAX_BYTES);
    *why = sts_endpoint_choose(&origin->sts_endpoint_url, 1, origin->region, &plan->sts_place,
                               &arena, &endpoint);
    enum aws_ready ready = AWS_FAILED;
    if (!failed(*why)) {
        const struct aws_session_request request = {
            .roles = &origin->role_arn,
            .role_count = 1,
            .session_name = origin->role_session_name,
            .endpoint = &endpoint,
            .ca_file = plan->ca_file,
        };
        ready = aws_sessions_get(sessions, &request, out, why, detail);
    }
    arena_clear(&arena);
    return ready;
}

enum aws_ready secret_signer_for(struct credential_chain *chain, struct aws_sessions *sessions,
                                 const struct secret_origin *origin, struct secret_signer *out,
                                 err *why, const char **detail)
{
    const struct aws_plan *plan = chain_plan(chain);
    struct chain_status status;

    *out = (struct secret_signer){
        .place = {.custom_url = plan->endpoint_urls[AWS_SERVICE_SECRETS_MANAGER],
                  .region = view_str(chain_region(chain)),
                  .fips = plan->fips,
                  .dual_stack = plan->dual_stack},
        .ca_file = plan->ca_file,
    };
    *detail = "";
    chain_status(chain, &status);
    if (status.state == CHAIN_WAITING ||
        (origin->region.len == 0 && chain_region_awaited(chain)))
        return AWS_WAIT;
    *detail = status.detail;
    if (origin->role_arn.len > 0)
        return by_role(plan, sessions, origin, &out->credentials, why, detail);
    *why = credentials_current(chain_provider(chain), time_wall_us(), &out->credentials);
    return failed(*why) ? AWS_FAILED : AWS_READY;
}
