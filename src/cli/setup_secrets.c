#include "cli/setup_secrets.h"

#include <stdio.h>

#include "aws/policy.h"
#include "aws/region.h"
#include "base/arena.h"
#include "config/config.h"

enum { ARENA_BLOCK_BYTES = 1024, ARENA_MAX_BYTES = 64 * 1024, USES_MAX = 8 };

/* What is looked for, and what was found. */
struct search {
    const struct entities *all;
    struct view region, account;
    struct arena arena;
    struct aws_secret_use uses[USES_MAX];
    size_t count;
    struct view role; /* that a vault assumes for them; absent: none */
};

static void add(struct search *x, struct view text, bool rotated)
{
    struct secret_reference r;
    const struct vault *vault;
    char why[SECRET_WHY_BYTES];

    if (text.len == 0 ||
        !secret_reference_find(&x->arena, x->all->vaults, x->all->vault_count, text, &r, &vault,
                               why) ||
        vault->kind != VAULT_AWS)
        return;
    if (vault->aws.assume_role_arn.len > 0)
        x->role = vault->aws.assume_role_arn;
    for (size_t i = 0; i < x->count; i++) {
        if (view_eq(x->uses[i].id, r.name)) {
            x->uses[i].rotated = x->uses[i].rotated || rotated;
            return;
        }
    }
    if (x->count == USES_MAX)
        return; /* an endpoint has four at most */
    x->uses[x->count++] = (struct aws_secret_use){
        .id = r.name,
        .region = x->region.len > 0 ? x->region : vault->aws.region,
        .account = x->account,
        .rotated = rotated,
    };
}

static void add_endpoint(struct search *x, const struct endpoint *e)
{
    bool rotated = e->rotation.every_s > 0;

    add(x, e->secret, rotated);
    add(x, e->user_reference, false);
    add(x, e->password_reference, false);
    if (rotated)
        add(x, e->rotation.master, false);
}

bool setup_add_secrets(struct buf *out, const struct entities *all, const struct service *s,
                       struct view region, struct view account)
{
    struct search x = {.all = all, .region = region, .account = account};

    arena_init(&x.arena, ARENA_BLOCK_BYTES, ARENA_MAX_BYTES);
    add_endpoint(&x, &s->primary);
    if (s->has_read)
        add_endpoint(&x, &s->read);
    if (x.count > 0) {
        aws_policy_add_secrets(out, x.uses, x.count);
        fprintf(stderr,
                "# The %sdocument about secretsmanager is for %s%.*s.  Secrets with a KMS key of "
                "your own\n# need kms:Decrypt on that key, too, and kms:GenerateDataKey where they "
                "are rotated.\n",
                out->len > 0 && s->primary.iam_auth.enabled ? "last " : "",
                x.role.len > 0 ? "the role " : "the identity that sallyport runs as",
                VIEW_ARG(x.role.len > 0 ? x.role : VIEW("")));
    }
    bool found = x.count > 0;
    arena_clear(&x.arena);
    return found;
}
