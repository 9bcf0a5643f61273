/* sallyport.yaml: refused with a reason, or accepted; and what was accepted can be read whole. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *variable(const struct config_host *host, const char *name)
{
    (void)host;
    return strcmp(name, "NONE") == 0 ? NULL : "value";
}

static const char *file(const struct config_host *host, const char *path, struct buf *out,
                        bool *open_to_all)
{
    (void)host;
    *open_to_all = strstr(path, "open") != NULL;
    buf_add_str(out, "text\n");
    return strstr(path, "none") != NULL ? "No such file or directory" : NULL;
}

static bool secret(const struct config_host *host, const struct vault *vault,
                   const struct secret_reference *reference, struct view *out, bool *pending,
                   char *why, size_t why_size)
{
    (void)host;
    (void)vault;
    *pending = view_starts_with(reference->name, VIEW("w"));
    *out = VIEW("secret");
    snprintf(why, why_size, "none");
    return !*pending && !view_starts_with(reference->name, VIEW("n"));
}

static void require(int condition)
{
    if (!condition)
        abort();
}

static void read_whole(const struct entities *e)
{
    for (size_t i = 0; i < e->service_count; i++) {
        const struct service *s = &e->services[i];
        require(s->name.len > 0 && s->primary.host.len > 0 && s->primary.user.len > 0);
        require(s->primary.port > 0 && s->meta.id.len == 36);
        require(s->primary.rotation.every_s == 0 || s->primary.secret.len > 0);
        require(s->primary.iam_auth.tag_count <= 50 && s->primary.iam_auth.policy_arns.count <= 10);
        require(!s->primary.iam_auth.per_caller || s->primary.iam_auth.assume_role_arn.count > 0);
        require(!s->primary.iam_auth.enabled || s->primary.sslmode == SSLMODE_VERIFY_FULL);
        for (size_t k = 0; k < s->route_count; k++) {
            require(s->routes[k].service == s && s->routes[k].statement.sql.len > 0);
            require(s->routes[k].paths.count > 0 && s->routes[k].methods.count > 0);
        }
    }
    for (size_t i = 0; i < e->vault_count; i++)
        require(e->vaults[i].prefix.len > 1 && e->vaults[i].meta.id.len == 36);
    for (size_t i = 0; i < e->role_count; i++) {
        require(e->roles[i].database_role.len > 0 && e->roles[i].allow_count > 0);
        require(i == 0 || e->roles[i - 1].priority >= e->roles[i].priority);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct config_host host = {.variable = variable, .file = file, .secret = secret};
    struct arena arena;
    struct entities e;

    arena_init(&arena, 4096, 1 << 24);
    struct diagnostics d = {.arena = &arena};
    err outcome = entities_parse(&arena, "f.yaml", view_of(data, size), &host, &e, &d);
    bool waits = is_fault(outcome, &config_awaits_secrets);
    require(!waits || d.first == NULL);
    require(failed(outcome) == (d.errors > 0 || waits) || is_fault(outcome, &fault_out_of_memory));
    if (!failed(outcome))
        read_whole(&e);
    arena_clear(&arena);
    return 0;
}
