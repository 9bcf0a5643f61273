/* Rules of vaults, and of logins by a whole secret. */
#include "base/attr.h"
#include "config/reference.h"
#include "config/resolve.h"
#include "config/rules.h"
#include "config/url.h"
#include "config/value.h"
#include "model/session_template.h"

/* Kong's rule and its reserved names (kong/db/schema/entities/vaults.lua). */
const char *check_vault_prefix(struct view v)
{
    static const char *const taken[] = {"env", "file", "aws", "gcp", "hcv", "azure", "conjur"};

    for (size_t i = 0; i < COUNT_OF(taken); i++) {
        if (view_is(v, taken[i]))
            return "is a name of Kong's own; give another, as my-vault";
    }
    for (size_t i = 0; i < v.len; i++) {
        char c = v.data[i];
        bool letter = c >= 'a' && c <= 'z';
        bool last = i + 1 == v.len;
        if (!letter && (i == 0 || !((c >= '0' && c <= '9') || (c == '-' && !last))))
            return "must be small letters, digits and '-', beginning with a letter";
    }
    return v.len < 2 || v.len > 64 ? "must have 2 to 64 characters" : NULL;
}

const char *check_plain_session_name(struct view v)
{
    if (session_template_varies(v))
        return "takes no placeholders";
    return session_template_check(v, SESSION_TEXT_NAME);
}

void take_nothing(struct decoder *d, const struct field *f, void *record,
                  const struct yaml_node *value)
{
    (void)d;
    (void)f;
    (void)record;
    (void)value;
}

static void check_config(struct decoder *d, const struct vault *v, const struct yaml_node *config)
{
    static const char *const kinds[] = {"env", "file", "aws"};

    for (const struct yaml_node *n = config->first; n != NULL; n = n->next) {
        bool of_aws = !view_is(n->key, "prefix");
        struct yaml_node at = {.line = n->key_line, .column = n->key_column};
        if (schema_field(&schema_vault_config, n->key) != NULL && of_aws != (v->kind == VAULT_AWS))
            decode_error(d, &at, "a vault of the kind '%s' has no '%.*s'", kinds[v->kind],
                         VIEW_ARG(n->key));
    }
}

void finish_vault(struct decoder *d, void *record, const struct yaml_node *mapping)
{
    const struct yaml_node *config = yaml_member(mapping, "config");
    struct vault *v = record;

    if (config != NULL && rules_written(mapping, "name"))
        check_config(d, v, config);
    if (v->kind == VAULT_FILE)
        v->path_prefix = v->path_prefix.len > 0 ? value_path(&d->style, v->path_prefix)
                                                : VIEW(VAULT_FILE_FOLDER);
    if (v->kind == VAULT_AWS && v->aws.role_session_name.len == 0)
        v->aws.role_session_name = VIEW(VAULT_SESSION_NAME);
    if (v->meta.id.len == 0)
        v->meta.id = rules_derive_id(d->arena, "vault", v->prefix);
}

/* --- a login by a whole secret --- */

void take_whole_secret(struct decoder *d, const struct field *f, void *record,
                       const struct yaml_node *value)
{
    struct view *slot = (struct view *)(void *)((char *)record + f->offset);
    struct secret_reference reference;
    const struct vault *vault;
    char why[SECRET_WHY_BYTES];

    if (value->kind != NODE_SCALAR || !value->referenced) {
        decode_error(d, value,
                     "'%s' must be a reference like \"{vault://aws/NAME}\", to a secret with "
                     "username and password",
                     f->name);
        return;
    }
    if (!secret_reference_find(d->scratch, d->vaults, d->vault_count, value->reference, &reference,
                               &vault, why)) {
        decode_error(d, value, "'%s': %s", f->name, why);
        return;
    }
    if (reference.key.data != NULL) {
        decode_error(d, value,
                     "'%s' must name a whole secret, without a KEY; a '/' of its name is written "
                     "%%2F",
                     f->name);
        return;
    }
    *slot = arena_copy(d->arena, value->reference);
    d->out_of_memory = d->out_of_memory || slot->data == NULL;
}

static struct endpoint *endpoint_of(void *record, const struct field *f, size_t member)
{
    return (struct endpoint *)(void *)((char *)record + f->offset - member);
}

/* What a read part inherits must be there when its turn comes, so nothing waits for the finish. */
void take_secret(struct decoder *d, const struct field *f, void *record,
                 const struct yaml_node *value)
{
    struct endpoint *e = endpoint_of(record, f, offsetof(struct endpoint, secret));

    e->secret = (struct view){NULL, 0};
    take_whole_secret(d, f, record, value);
    if (e->secret.len == 0)
        return;
    e->user = (struct view){NULL, 0};
    e->password = (struct view){NULL, 0};
    e->user_reference = (struct view){NULL, 0};
    e->password_reference = (struct view){NULL, 0};
    if (!resolve_member(d, value, "secret", e->secret, "username", &e->user) ||
        !resolve_member(d, value, "secret", e->secret, "password", &e->password))
        return;
    if (e->user.len == 0 || check_identifier(e->user) != NULL)
        decode_error(d, value, "'secret': its username is empty, or no name of a user");
    if (e->password.len == 0)
        decode_error(d, value, "'secret': its password is empty");
}

static void keep_reference(struct decoder *d, const struct yaml_node *value, struct view *slot)
{
    *slot = (struct view){NULL, 0};
    if (value->kind != NODE_SCALAR || !value->referenced)
        return;
    *slot = arena_copy(d->arena, value->reference);
    d->out_of_memory = d->out_of_memory || slot->data == NULL;
}

void take_user(struct decoder *d, const struct field *f, void *record,
               const struct yaml_node *value)
{
    struct endpoint *e = endpoint_of(record, f, offsetof(struct endpoint, user));

    keep_reference(d, value, &e->user_reference);
    decode_value(d, f, record, value);
}

void take_password(struct decoder *d, const struct field *f, void *record,
                   const struct yaml_node *value)
{
    struct endpoint *e = endpoint_of(record, f, offsetof(struct endpoint, password));

    keep_reference(d, value, &e->password_reference);
    decode_value(d, f, record, value);
}

void take_strategy(struct decoder *d, const struct field *f, void *record,
                   const struct yaml_node *value)
{
    struct rotation *r = record;
    char why[WHY_BYTES];
    struct view text;

    if (!decode_scalar(d, f, value, &text))
        return;
    if (!value_check_text(f, text, why)) {
        decode_error(d, value, "'%s': %s", f->name,
                     value->referenced ? "what the reference stands for is not a valid value"
                                       : why);
        return;
    }
    r->alternating = view_is(text, "alternating-users");
}

void finish_rotation(struct decoder *d, void *record, const struct yaml_node *mapping)
{
    const struct rotation *r = record;

    if (r->every_s == 0 && !rules_written(mapping, "every"))
        decode_error(d, mapping, "rotation has no 'every'");
    if (r->alternating && r->master.len == 0 && !rules_written(mapping, "master"))
        decode_error(d, rules_node(mapping, "strategy"),
                     "'strategy': alternating-users needs 'master', the secret of who may change "
                     "users");
}

static bool is_of_aws(struct decoder *d, struct view reference)
{
    struct secret_reference parts;
    const struct vault *vault;
    char why[SECRET_WHY_BYTES];

    return secret_reference_find(d->scratch, d->vaults, d->vault_count, reference, &parts, &vault,
                                 why) &&
           vault->kind == VAULT_AWS;
}

/* AWSCURRENT, which is version 1 and what no version means. */
static bool is_current(struct decoder *d, struct view reference)
{
    struct secret_reference parts;

    return secret_reference_parse(d->scratch, reference, &parts) == NULL && parts.version <= 1;
}

static void check_rotation(struct decoder *d, const struct endpoint *e,
                           const struct yaml_node *mapping)
{
    const struct yaml_node *rotation = yaml_member(mapping, "rotation");

    if (!rules_written(mapping, "secret")) {
        decode_error(d, rotation, "'rotation' needs a 'secret' beside it: the one that it rotates");
        return;
    }
    if (e->secret.len > 0 && !is_of_aws(d, e->secret))
        decode_error(d, rotation, "'rotation' is of secrets in AWS Secrets Manager only");
    else if (e->secret.len > 0 && !is_current(d, e->secret))
        decode_error(d, rotation, "'rotation' is of a secret's AWSCURRENT, so the login must be "
                                  "by that: take the '#' off");
    if (e->rotation.master.len > 0 && !is_of_aws(d, e->rotation.master))
        decode_error(d, rules_node(rotation, "master"),
                     "'master' must be a secret in AWS Secrets Manager");
}

/* Where the mapping itself says user or password: that node, or NULL. */
static const struct yaml_node *own_login(const struct yaml_node *mapping)
{
    const struct yaml_node *url = yaml_member(mapping, "url");
    struct url_parts parts;

    if (rules_written(mapping, "password"))
        return yaml_member(mapping, "password");
    if (rules_written(mapping, "user"))
        return yaml_member(mapping, "user");
    if (url != NULL && url->kind == NODE_SCALAR && !url->broken &&
        url_split(url->text, &parts) == NULL && (parts.user.len > 0 || parts.password.data != NULL))
        return url;
    return NULL;
}

static void forget_secret(struct endpoint *e, bool own_user)
{
    if (e->secret.len > 0 && !own_user)
        e->user = (struct view){NULL, 0};
    e->secret = (struct view){NULL, 0};
}

static void check_secret(struct decoder *d, const struct endpoint *e,
                         const struct yaml_node *mapping, const struct yaml_node *login)
{
    if (login != NULL)
        decode_error(d, login, "'secret' says user and password, so neither may stand beside it");
    if (e->iam_auth.enabled)
        decode_error(d, yaml_member(mapping, "secret"),
                     "a secret and iam_auth exclude each other");
}

void rules_login(struct decoder *d, struct endpoint *e, const struct yaml_node *mapping)
{
    const struct yaml_node *login = own_login(mapping);
    bool own_secret = rules_written(mapping, "secret");

    if (own_secret)
        check_secret(d, e, mapping, login);
    else if (login != NULL || e->iam_auth.enabled)
        forget_secret(e, login != NULL);
    if (rules_written(mapping, "rotation"))
        check_rotation(d, e, mapping);
    if (!own_secret)
        e->rotation = (struct rotation){.every_s = 0}; /* who wrote the secret rotates it */
}
