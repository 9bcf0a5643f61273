#include "config/resolve.h"

#include <string.h>

#include "config/reference.h"

static struct reference_scope scope_of(struct decoder *d, struct arena *arena, bool without_aws)
{
    return (struct reference_scope){.arena = arena,
                                    .host = d->host,
                                    .vaults = d->vaults,
                                    .vault_count = d->vault_count,
                                    .without_aws = without_aws};
}

/* Says of an answer without a value what there is to say; a login's own secrets cannot make other
 * fields seem wrong, all else can. */
static void no_value(struct decoder *d, const struct yaml_node *at, const char *field,
                     const struct secret_answer *answer, bool of_login)
{
    const char *quote = field != NULL ? "'" : "", *after = field != NULL ? "': " : "";

    if (field == NULL)
        field = "";
    if (answer->pending) {
        d->pending = true;
        d->pending_elsewhere |= !of_login;
    } else if (answer->unread) {
        decode_warning(d, at, "%s%s%sthe secret of AWS was not read; check --secrets reads it",
                       quote, field, after);
    } else {
        decode_error(d, at, "%s%s%s%s", quote, field, after, answer->why);
    }
}

static void warn_of_mode(struct decoder *d, const struct yaml_node *at,
                         const struct secret_answer *answer)
{
    if (answer->open_to_all)
        decode_warning(d, at, "every user of this machine may read the secret's file: chmod o= it");
}

/* user and password stand in the way of nothing else, wherever they are. */
static bool is_of_login(const struct yaml_node *node)
{
    return view_is(node->key, "user") || view_is(node->key, "password");
}

static void resolve_scalar(struct decoder *d, struct yaml_node *node, bool without_aws)
{
    struct reference_scope scope = scope_of(d, d->scratch, without_aws);
    struct secret_answer answer;

    if (reference_resolve(&scope, node->reference, &answer)) {
        node->text = answer.value;
        warn_of_mode(d, node, &answer);
        return;
    }
    node->broken = true;
    node->text = (struct view){"", 0};
    no_value(d, node, NULL, &answer, is_of_login(node));
}

void resolve_tree(struct decoder *d, struct yaml_node *node, bool without_aws)
{
    /* The reader's YAML_MAX_DEPTH bounds the recursion. */
    if (node->kind == NODE_SCALAR && node->referenced && !node->whole)
        resolve_scalar(d, node, without_aws);
    for (struct yaml_node *child = node->holds ? node->first : NULL; child != NULL;
         child = child->next)
        resolve_tree(d, child, without_aws);
}

bool resolve_text(struct decoder *d, const struct yaml_node *at, const char *field,
                  struct view text, struct view *out)
{
    struct reference_scope scope = scope_of(d, d->arena, false);
    struct secret_answer answer;

    if (!reference_resolve(&scope, text, &answer)) {
        no_value(d, at, field, &answer, true);
        return false;
    }
    warn_of_mode(d, at, &answer);
    *out = answer.value;
    return true;
}

bool resolve_member(struct decoder *d, const struct yaml_node *at, const char *field,
                    struct view text, const char *member, struct view *out)
{
    struct secret_answer answer = {.pending = false};
    struct secret_reference reference;
    const struct vault *vault;

    bool good = secret_reference_find(d->arena, d->vaults, d->vault_count, text, &reference, &vault,
                                      answer.why);
    reference.key = view_str(member);
    good = good && secret_read(d->arena, d->host, vault, &reference, &answer);
    if (!good) {
        no_value(d, at, field, &answer, true);
        return false;
    }
    if (strcmp(member, "password") == 0) /* once for all members */
        warn_of_mode(d, at, &answer);
    *out = answer.value;
    return true;
}
