/* sallyport.conf, the environment and the command line, joined. */
#include <stdio.h>
#include <unistd.h>

#include "base/attr.h"
#include "base/secret.h"
#include "config/conf_file.h"
#include "config/config.h"
#include "config/file.h"
#include "config/kong_compat.h"
#include "config/kong_properties.h"
#include "config/node_joiner.h"
#include "config/reference.h"
#include "config/schema.h"
#include "config/value.h"

enum { PROPERTIES_MAX = 128, PROPERTY_NAME_BYTES = 64 };

/* One property as some source gives it. */
struct given {
    struct view name; /* in lower case */
    struct view value;
    struct property_origin origin; /* without the property */
};

/* In a file the file and line say where; elsewhere the message itself does. */
void joiner_report(struct joiner *j, enum severity severity, const struct property_origin *o,
                   const char *name, const char *text)
{
    if (o->kind == ORIGIN_FILE)
        diag_add(j->d, severity, o->source, o->line, 0, "'%s': %s", name, text);
    else if (o->kind == ORIGIN_ENVIRONMENT)
        diag_add(j->d, severity, (struct view){NULL, 0}, 0, 0, "%.*s in the environment: %s",
                 VIEW_ARG(o->source), text);
    else if (o->kind == ORIGIN_COMMAND_LINE)
        diag_add(j->d, severity, (struct view){NULL, 0}, 0, 0, "'%s' on the command line: %s", name,
                 text);
    else
        diag_add(j->d, severity, (struct view){NULL, 0}, 0, 0, "'%s'%s: %s", name,
                 o->kind == ORIGIN_DEFAULT && o->source.len > 0 ? ", Kong's default" : "", text);
}

void joiner_no_effect(struct joiner *j, const struct property_origin *o, const char *name,
                      const char *group, const char *text)
{
    if (j->kong)
        kong_idle(j, view_str(name), o, group, text);
    else
        joiner_report(j, SEVERITY_WARNING, o, name, text);
}

struct property_origin *joiner_origin(const struct joiner *j, const char *name)
{
    const struct field *f = schema_field(&schema_node, view_str(name));
    return &j->origins[f - schema_node.fields];
}

bool joiner_resolve(struct joiner *j, const char *name, const struct property_origin *origin,
                    struct view *value, bool *unread)
{
    const struct vault vaults[] = {j->out->vault_aws, j->out->vault_env};
    struct reference_scope scope = {.arena = j->arena,
                                    .host = j->host,
                                    .vaults = vaults,
                                    .vault_count = j->turn == TURN_VAULTS ? 0 : COUNT_OF(vaults),
                                    .without_aws = j->turn == TURN_VAULTS};
    struct secret_answer answer;

    bool found = reference_resolve(&scope, *value, &answer);
    *unread = answer.unread;
    if (found) {
        if (answer.open_to_all)
            joiner_report(j, SEVERITY_WARNING, origin, name,
                          "every user of this machine may read the secret's file: chmod o= it");
        *value = answer.value;
        return true;
    }
    if (answer.pending)
        j->pending = true;
    else if (answer.unread)
        joiner_report(j, SEVERITY_WARNING, origin, name,
                      "the secret of AWS was not read; check --secrets reads it");
    else
        joiner_report(j, SEVERITY_ERROR, origin, name, answer.why);
    return false;
}

/* As value_parse; but the copy of a secret is wiped with the arena. */
static bool parse_property(const struct value_style *style, const struct field *f,
                           struct view value, void *slot, char why[WHY_BYTES])
{
    if (!(f->flags & FIELD_SECRET) || f->type != FIELD_STRING)
        return value_parse(style, f, value, slot, why);
    struct view kept = reference_copy_secret(style->arena, value);
    memcpy(slot, &kept, sizeof kept);
    snprintf(why, WHY_BYTES, "there is not enough memory");
    return kept.data != NULL;
}

/* Kong takes the text itself, or that in base64, where a file is meant.  It may be a private key,
 * and no message may quote it. */
static bool is_pem(struct view value)
{
    return view_starts_with(value, VIEW("-----BEGIN")) ||
           view_starts_with(value, VIEW("LS0tLS1CRUdJTi")); /* the same in base64 */
}

/* How the values of sallyport.conf are written; a kong.conf's are made so.  False: there is nothing
 * to set. */
static bool prepare_value(struct joiner *j, const struct field *f, struct view *value,
                          const struct property_origin *origin)
{
    size_t last = value->len > 0 ? value->len - 1 : 0;

    if (last > 0 && (value->data[0] == '"' || value->data[0] == '\'') &&
        value->data[0] == value->data[last] && j->kong)
        joiner_report(j, SEVERITY_WARNING, origin, f->name,
                      "the quotes are part of the value, as in Kong; remove them");
    if (f->type == FIELD_PATH && is_pem(*value)) {
        joiner_report(j, SEVERITY_ERROR, origin, f->name,
                      "is the content of a file; write it into one and give its path");
        return false;
    }
    if (j->kong)
        *value = kong_value(j, f, *value, origin);
    if (value->data == NULL)
        j->no_memory = true;
    return value->len > 0; /* as in Kong: as if it were not given */
}

static void set_property(struct joiner *j, const struct field *f, struct view value,
                         const struct property_origin *origin)
{
    char why[WHY_BYTES];
    struct value_style style = {.arena = j->arena, .booleans_as_on = true};
    struct view written = value;
    bool later = (f->flags & FIELD_READ_LATER) != 0, unread;
    bool referenced = !later && reference_is(value);

    if (value.len == 0)
        return; /* as in Kong: as if it were not given */
    if (origin->kind == ORIGIN_FILE)
        style.folder = file_folder(origin->source);
    if (referenced && !joiner_resolve(j, f->name, origin, &value, &unread))
        return;
    if (!prepare_value(j, f, &value, origin))
        return;
    if (!parse_property(&style, f, value, (char *)j->out + f->offset, why)) {
        joiner_report(j, SEVERITY_ERROR, origin, f->name,
               referenced ? "what the reference stands for is not a valid value" : why);
        return;
    }
    struct property_origin *kept = &j->origins[f - schema_node.fields];
    *kept = *origin;
    kept->property = f->name;
    if (referenced || later)
        kept->reference = arena_copy(j->arena, written);
}

static void kongs_property(struct joiner *j, const struct given *g, const char *name,
                           const struct kong_group *group)
{
    const char *lost;

    if (j->kong && g->value.len == 0)
        return; /* as if it were not given */
    if (j->kong && (lost = kong_lost(g->name, g->value)) != NULL)
        joiner_report(j, SEVERITY_WARNING, &g->origin, name, lost);
    if (j->kong) {
        kong_idle(j, g->name, &g->origin, group->name, group->why);
    } else {
        j->kongs += g->origin.kind == ORIGIN_FILE;
        joiner_report(j, SEVERITY_WARNING, &g->origin, name,
                      "is known from Kong, but not supported yet by this version; it has no "
                      "effect");
    }
}

/* Kong passes over a name that it does not know, and containers have variables of their own
 * (KONG_PROXY_PORT of a Kubernetes service); one that may be a slip is told all the same. */
static void unknown_property(struct joiner *j, const struct given *g)
{
    struct view known[PROPERTIES_MAX];
    char name[PROPERTY_NAME_BYTES], text[WHY_BYTES] = "there is no such property";
    const struct kong_group *group = kong_property_group(g->name);
    bool mild = g->origin.kind == ORIGIN_ENVIRONMENT ||
                (j->kong && g->origin.kind == ORIGIN_FILE);
    size_t count = 0;

    snprintf(name, sizeof name, "%.*s", VIEW_ARG(view_upto(g->name, sizeof name - 1)));
    if (group != NULL) {
        kongs_property(j, g, name, group);
        return;
    }
    for (; count < schema_node.field_count && count < PROPERTIES_MAX; count++)
        known[count] = view_str(schema_node.fields[count].name);
    struct view near = diag_nearest(view_str(name), known, count);
    if (near.data != NULL)
        snprintf(text, sizeof text, "there is no such property; did you mean '%.*s'?",
                 VIEW_ARG(near));
    /* 'stop' would end the node of Kong's default prefix in place of the one that is meant. */
    mild = mild && !(j->kong && g->origin.kind == ORIGIN_FILE && view_is(near, "prefix"));
    if (near.data == NULL && mild && j->kong)
        kong_idle(j, g->name, &g->origin, "unknown names", "there is no such property");
    else
        joiner_report(j, mild ? SEVERITY_WARNING : SEVERITY_ERROR, &g->origin, name, text);
}

static enum joiner_turn turn_of(const struct field *f)
{
    struct view name = f != NULL ? view_str(f->name) : VIEW("");

    if (view_starts_with(name, VIEW("vault_")))
        return TURN_VAULTS;
    return view_is(name, "pg_password") || view_is(name, "pg_ro_password") ? TURN_PASSWORDS
                                                                          : TURN_OTHERS;
}

/* Said by somebody, and nothing more. */
static void note_given(struct joiner *j, const struct field *f, const struct given *g)
{
    struct property_origin *kept = &j->origins[f - schema_node.fields];

    if (g->value.len == 0)
        return;
    *kept = g->origin;
    kept->property = f->name;
}

static void take(struct joiner *j, const struct given *g)
{
    const struct field *f = schema_field(&schema_node, g->name);

    if (turn_of(f) != j->turn)
        return;
    if (f == NULL)
        unknown_property(j, g);
    else if (j->turn == TURN_PASSWORDS && !joiner_wants_password(j, f->name))
        note_given(j, f, g);
    else
        set_property(j, f, g->value, &g->origin);
}

static void set_defaults(struct joiner *j)
{
    for (size_t i = 0; i < schema_node.field_count; i++) {
        const struct field *f = &schema_node.fields[i];
        struct property_origin origin = {.property = f->name, .kind = ORIGIN_DEFAULT};
        const char *fallback = j->kong ? kong_default(f->name) : NULL;
        if (fallback != NULL)
            origin.source = VIEW("Kong");
        else
            fallback = f->fallback;
        j->origins[i] = origin;
        if (fallback != NULL)
            set_property(j, f, view_str(fallback), &origin);
    }
}

/* --- the sources --- */

/* The parsed line still holds the text of a secret, which has its copy by now, or one of Kong's. */
static void wipe_secret(const struct conf_line *line)
{
    const struct field *f = schema_field(&schema_node, line->name);
    union {
        const char *read;
        char *write;
    } at = {line->value.data};

    if ((f == NULL || (f->flags & FIELD_SECRET)) && line->value.len > 0)
        secret_wipe(at.write, line->value.len);
}

static err read_lines(struct joiner *j, const char *path, struct view text)
{
    j->out->conf_file = arena_copy(j->arena, view_str(path));
    if (!j->switched)
        j->kong = conf_file_switches_on(text, "kong_compat");
    return conf_file_parse(j->arena, j->out->conf_file, text,
                           j->kong ? CONF_OF_KONG : CONF_OURS, &j->lines, j->d);
}

static void take_lines(struct joiner *j)
{
    for (const struct conf_line *l = j->lines; l != NULL; l = l->next) {
        struct given g = {l->name,
                          l->value,
                          {.kind = ORIGIN_FILE, .source = j->out->conf_file, .line = l->line}};
        if (!l->replaced)
            take(j, &g);
        if (j->turn + 1 == JOINER_TURNS)
            wipe_secret(l);
    }
}

/* The first that is there, Kong's own places among them when its files are read. */
static const char *default_file(const struct joiner *j)
{
    static const char *const places[] = {CONFIG_DEFAULT_FILE, "/etc/kong/kong.conf",
                                         "/etc/kong.conf"};
    size_t count = j->kong ? COUNT_OF(places) : 1;

    for (size_t i = 0; i < count; i++) {
        if (access(places[i], F_OK) == 0)
            return places[i];
    }
    return NULL;
}

static err read_conf(struct joiner *j, const struct node_config_sources *s)
{
    const char *path = s->conf_file != NULL ? s->conf_file : default_file(j);
    struct buf text;

    if (s->conf_text.data != NULL)
        return read_lines(j, path != NULL ? path : CONFIG_DEFAULT_FILE, s->conf_text);
    if (path == NULL)
        return OK;
    buf_init(&text, CONF_MAX_BYTES + (64 << 10));
    err e = file_read(path, &text, j->d);
    if (!failed(e))
        e = read_lines(j, path, buf_view(&text));
    buf_clear_secure(&text);
    return e;
}

static struct view lower_case(struct arena *arena, struct view name)
{
    char *at = arena_alloc(arena, name.len + 1);

    if (at == NULL)
        return (struct view){NULL, 0};
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];
        at[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    }
    at[name.len] = '\0';
    return view_of(at, name.len);
}

static void take_environment(struct joiner *j, char *const *environment, struct view prefix)
{
    struct view name;

    for (; environment != NULL && *environment != NULL; environment++) {
        struct view value = view_cut(view_str(*environment), '=', &name);
        if (!view_starts_with(name, prefix) || name.len == prefix.len || value.data == NULL)
            continue;
        struct given g = {lower_case(j->arena, view_from(name, prefix.len)),
                          value,
                          {.kind = ORIGIN_ENVIRONMENT, .source = arena_copy(j->arena, name)}};
        if (g.name.data == NULL || g.origin.source.data == NULL)
            j->no_memory = true;
        else
            take(j, &g);
    }
}

/* --- rules of several properties --- */

static void check_files(struct joiner *j)
{
    static const char *const names[] = {"declarative_config", "ssl_cert", "ssl_cert_key"};
    const struct view paths[] = {j->out->declarative_config, j->out->ssl_cert,
                                 j->out->ssl_cert_key};
    char text[WHY_BYTES];

    for (size_t i = 0; i < 3; i++) {
        if (i == 0 && view_is(j->out->database, "postgres"))
            continue; /* it has no effect */
        if (paths[i].len == 0 || j->host->readable == NULL ||
            j->host->readable(j->host, paths[i].data))
            continue;
        snprintf(text, sizeof text, "the file '%.*s' cannot be read",
                 VIEW_ARG(view_upto(paths[i], 256)));
        joiner_report(j, SEVERITY_ERROR, joiner_origin(j, names[i]), names[i], text);
    }
}

/* With database = postgres: where the node keeps what it read there last. */
static void name_fetched_file(struct joiner *j)
{
    struct property_origin *origin = joiner_origin(j, "declarative_config");

    if (!view_is(j->out->database, "postgres"))
        return;
    if (origin->kind != ORIGIN_DEFAULT)
        joiner_no_effect(j, origin, "declarative_config", "files",
                         "has no effect with database = postgres");
    j->out->declarative_config =
        arena_printf(j->arena, "%.*s/" STORE_FILE, VIEW_ARG(j->out->prefix));
    origin->kind = ORIGIN_PROPERTY;
    origin->source = VIEW("database");
    j->no_memory = j->no_memory || j->out->declarative_config.data == NULL;
}

static void finish(struct joiner *j)
{
    struct node_config *out = j->out;
    char host[256] = "localhost";

    while (out->prefix.len > 1 && out->prefix.data[out->prefix.len - 1] == '/')
        out->prefix.len--; /* as Kong's; its own is /usr/local/kong/ */
    joiner_finish_listens(j);
    check_files(j);
    joiner_finish_pg(j);
    joiner_finish_keyring(j);
    name_fetched_file(j);
    if (out->audit_directory.len == 0)
        out->audit_directory = arena_printf(j->arena, "%.*s/audit", VIEW_ARG(out->prefix));
    if (out->node_name.len == 0 && gethostname(host, sizeof host - 1) == 0)
        out->node_name = arena_copy(j->arena, view_str(host));
    if (out->audit_directory.data == NULL || out->node_name.data == NULL)
        j->no_memory = true;
    kong_tell(j);
}

static void take_all(struct joiner *j, const struct node_config_sources *s)
{
    take_lines(j);
    take_environment(j, s->environment, VIEW("KONG_"));
    take_environment(j, s->environment, VIEW("SALLYPORT_"));
    for (size_t i = 0; i < s->setting_count; i++) {
        struct given g = {s->settings[i].name, s->settings[i].value, {.kind = ORIGIN_COMMAND_LINE}};
        take(j, &g);
    }
}

/* How the file is to be read has to be known before it is: the command line and the environment say
 * it, else the file itself (read_lines). */
static void find_switch(struct joiner *j, const struct node_config_sources *s)
{
    static const char *const variables[] = {"KONG_KONG_COMPAT", "SALLYPORT_KONG_COMPAT"};
    struct view value = {NULL, 0}, name;

    for (size_t i = 0; i < COUNT_OF(variables); i++) {
        for (char *const *e = s->environment; e != NULL && *e != NULL; e++) {
            struct view text = view_cut(view_str(*e), '=', &name);
            if (view_is(name, variables[i]) && text.len > 0)
                value = text;
        }
    }
    for (size_t i = 0; i < s->setting_count; i++) {
        if (view_is(s->settings[i].name, "kong_compat"))
            value = s->settings[i].value;
    }
    j->switched = value.data != NULL;
    j->kong = view_is(value, "on") || view_is(value, "true");
}

static err join(struct joiner *j, const struct node_config_sources *s)
{
    find_switch(j, s);
    TRY(read_conf(j, s));
    set_defaults(j);
    for (j->turn = TURN_VAULTS; j->turn < JOINER_TURNS; j->turn++)
        take_all(j, s);
    finish(j);
    return j->no_memory ? fail(&fault_out_of_memory) : OK;
}

err node_config_load(struct arena *arena, const struct node_config_sources *sources,
                     struct node_config *out, struct diagnostics *d)
{
    struct diagnostic *before = d->last;
    size_t errors = d->errors;
    struct joiner j = {.arena = arena,
                       .host = sources->host != NULL ? sources->host : &config_system,
                       .d = d,
                       .out = out,
                       .idle_end = &out->idle};

    *out = (struct node_config){0};
    j.origins = ARENA_ARRAY(arena, schema_node.field_count, struct property_origin);
    if (j.origins == NULL)
        return fail(&fault_out_of_memory);
    out->origins = j.origins;
    out->origin_count = schema_node.field_count;
    out->vault_aws = *vault_find(NULL, 0, VIEW("aws"));
    out->vault_env = *vault_find(NULL, 0, VIEW("env"));
    TRY(join(&j, sources));
    if (j.pending && d->errors == errors) {
        diag_forget_after(d, before);
        return fail(&config_awaits_secrets);
    }
    return d->errors > errors ? fail(&config_invalid) : OK;
}
