#include "cli/check_secrets.h"

#include "aws/rotation.h"
#include "base/arena.h"
#include "config/config.h"

enum { ARENA_BLOCK_BYTES = 64 << 10, ARENA_MAX_BYTES = 4 << 20 };

struct search {
    struct diagnostics *d;
    struct view yaml;
    const struct entities *all;
    struct cli_secrets *secrets;
    const struct service *service;
    struct arena arena; /* of one secret */
};

static void say(const struct search *x, const char *which, struct view text, const char *why)
{
    diag_add(x->d, SEVERITY_ERROR, x->yaml, x->service->meta.line, 0,
             "service %.*s: the %s %.*s cannot be rotated with: %s", VIEW_ARG(x->service->name),
             which, VIEW_ARG(view_upto(text, 256)), why);
}

/* The whole secret, whatever member the reference names. */
static bool read_whole(struct search *x, struct view text, struct secret_answer *out)
{
    const struct config_host *host = cli_secrets_host(x->secrets);
    struct secret_reference reference;
    const struct vault *vault;

    if (!secret_reference_find(&x->arena, x->all->vaults, x->all->vault_count, text, &reference,
                               &vault, out->why))
        return false;
    reference.key = (struct view){NULL, 0};
    while (!secret_read(&x->arena, host, vault, &reference, out)) {
        if (!out->pending)
            return false;
        cli_secrets_wait(x->secrets);
    }
    return true;
}

static void look_at(struct search *x, const struct endpoint *e, const char *which,
                    struct view text)
{
    struct rotation_login login;
    struct secret_answer answer;

    arena_init(&x->arena, ARENA_BLOCK_BYTES, ARENA_MAX_BYTES);
    if (!read_whole(x, text, &answer)) {
        say(x, which, text, answer.why);
    } else {
        err wrong = rotation_login_read(answer.value, &x->arena, &login);
        if (failed(wrong))
            say(x, which, text, wrong.fault->text);
        else if (!view_eq_nocase(login.host, e->host) || login.port != e->port)
            say(x, which, text, "it is for another host or port than the service");
    }
    arena_clear_secure(&x->arena);
}

static void look_at_endpoint(struct search *x, const struct endpoint *e)
{
    if (e->rotation.every_s == 0 || e->secret.len == 0)
        return;
    look_at(x, e, "secret", e->secret);
    if (e->rotation.alternating && e->rotation.master.len > 0)
        look_at(x, e, "master", e->rotation.master);
}

void check_rotated_secrets(struct diagnostics *d, struct view yaml, const struct entities *all,
                           struct cli_secrets *secrets)
{
    struct search x = {.d = d, .yaml = yaml, .all = all, .secrets = secrets};

    for (size_t i = 0; i < all->service_count; i++) {
        const struct service *s = x.service = &all->services[i];
        look_at_endpoint(&x, &s->primary);
        if (s->has_read && !view_eq(s->read.secret, s->primary.secret))
            look_at_endpoint(&x, &s->read);
    }
}
