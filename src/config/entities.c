/* sallyport.yaml: reading, decoding, linking. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "config/config.h"
#include "config/decode.h"
#include "config/file.h"
#include "config/reference.h"
#include "config/resolve.h"
#include "config/rules.h"
#include "config/sealed.h"
#include "model/consumers.h"

const struct fault config_invalid = {"config_invalid", "the configuration has mistakes", NULL, 0};
const struct fault config_awaits_secrets = {
    "config_awaits_secrets", "secrets that the configuration refers to are still being fetched",
    NULL, 0};
const struct fault config_unreadable = {"config_unreadable", "a configuration file cannot be read",
                                        NULL, 0};

enum { SCRATCH_BLOCK_BYTES = 64 << 10, SCRATCH_MAX_BYTES = 1 << 30 };

/* --- routes that name their service --- */

static size_t service_index(const struct yaml_file *file, struct view name)
{
    size_t i = 0;
    while (i < file->service_count && !view_eq(file->services[i].name, name))
        i++;
    return i;
}

static bool inside(const void *at, const void *from, size_t bytes)
{
    return (uintptr_t)at >= (uintptr_t)from && (uintptr_t)at - (uintptr_t)from < bytes;
}

/* The index of the service that the top-level route names; service_count when it names none. */
static size_t service_of_route(const struct decoder *d, const struct yaml_file *file,
                               const struct route *route)
{
    for (const struct reference *ref = d->references; ref != NULL; ref = ref->next) {
        if (ref->owner == route && strcmp(ref->kind, "service") == 0)
            return service_index(file, ref->name);
    }
    return file->service_count;
}

/* The service's own routes and those of the top level that name it, as one array. */
static void join_routes(struct decoder *d, struct service *s, const struct yaml_file *file,
                        const size_t *owners, size_t index)
{
    size_t count = s->route_count, n = 0;

    for (size_t i = 0; i < file->route_count; i++)
        count += owners[i] == index;
    if (count == 0)
        return;
    struct route *routes = ARENA_ARRAY(d->arena, count, struct route);
    if (routes == NULL) {
        d->out_of_memory = true;
        return;
    }
    for (size_t i = 0; i < s->route_count; i++)
        routes[n++] = s->routes[i];
    for (size_t i = 0; i < file->route_count; i++) {
        if (owners[i] == index)
            routes[n++] = file->routes[i];
    }
    for (size_t i = 0; i < count; i++)
        routes[i].service = s;
    s->routes = routes;
    s->route_count = count;
}

static void check_nested(struct decoder *d, const struct yaml_file *file)
{
    for (const struct reference *ref = d->references; ref != NULL; ref = ref->next) {
        for (size_t i = 0; i < file->service_count; i++) {
            const struct service *s = &file->services[i];
            if (strcmp(ref->kind, "service") == 0 && s->route_count > 0 &&
                inside(ref->owner, s->routes, s->route_count * sizeof *s->routes))
                decode_error(d, ref->node, "'service' may not stand in a route that stands in one");
        }
    }
}

static void link_routes(struct decoder *d, struct yaml_file *file)
{
    size_t *owners = ARENA_ARRAY(d->scratch, file->route_count + 1, size_t);

    if (owners == NULL) {
        d->out_of_memory = true;
        return;
    }
    check_nested(d, file);
    for (size_t i = 0; i < file->route_count; i++) {
        owners[i] = service_of_route(d, file, &file->routes[i]);
        bool named = false;
        for (const struct reference *ref = d->references; ref != NULL; ref = ref->next)
            named = named || ref->owner == &file->routes[i];
        if (!named)
            decode_error_line(d, file->routes[i].meta.line,
                              "the route '%.*s' names no service; write service: {name: NAME}",
                              VIEW_ARG(file->routes[i].name));
    }
    for (size_t i = 0; i < file->service_count; i++)
        join_routes(d, &file->services[i], file, owners, i);
}

/* --- roles --- */

static int by_priority(const void *left, const void *right)
{
    const struct role *a = left, *b = right;

    if (a->priority != b->priority)
        return a->priority > b->priority ? -1 : 1;
    return a->meta.line < b->meta.line ? -1 : a->meta.line > b->meta.line;
}

/* --- consumers --- */

/* The consumers that the roles ask for, by their ids. */
static void link_role(struct decoder *d, const struct consumer_index *index, struct role *r)
{
    struct strings *asked = &r->when.consumers;
    struct view *ids = ARENA_ARRAY(d->arena, asked->count, struct view);

    if (ids == NULL) {
        d->out_of_memory = true;
        return;
    }
    for (size_t i = 0; i < asked->count; i++) {
        const struct consumer *c = consumer_by_reference(index, asked->items[i]);
        ids[i] = c != NULL ? c->meta.id : VIEW("nobody"); /* reported as a reference */
    }
    asked->items = ids;
}

/* A reference to it would mean the other (model/consumers.h): what its plugins hold would be for
 * another client. */
static void check_username(struct decoder *d, const struct consumer_index *index,
                           const struct consumer *c)
{
    const struct consumer *other =
        c->username.data != NULL ? consumer_by_reference(index, c->username) : NULL;

    if (other != NULL && !view_eq(other->username, c->username))
        decode_error_line(d, c->meta.line,
                          "the username '%.*s' is the id of another consumer, on line %u",
                          VIEW_ARG(c->username), other->meta.line);
}

static void link_consumers(struct decoder *d, struct yaml_file *file)
{
    struct consumer_index index;

    consumer_index_init(&index);
    if (!consumer_index_fill(&index, file->consumers, file->consumer_count))
        d->out_of_memory = true;
    for (size_t i = 0; i < file->consumer_count; i++)
        check_username(d, &index, &file->consumers[i]);
    for (size_t i = 0; i < file->role_count; i++) {
        if (file->roles[i].when.consumers.count > 0)
            link_role(d, &index, &file->roles[i]);
    }
    consumer_index_clear(&index);
}

/* --- vaults and references --- */

static struct view copy(struct decoder *d, struct view v)
{
    struct view kept = v.data != NULL ? arena_copy(d->arena, v) : v;
    d->out_of_memory = d->out_of_memory || (v.data != NULL && kept.data == NULL);
    return kept;
}

/* sallyport.conf's; its texts may not live as long as the entities do. */
static struct vault copy_vault(struct decoder *d, struct vault v)
{
    v.prefix = copy(d, v.prefix);
    v.path_prefix = copy(d, v.path_prefix);
    v.aws.region = copy(d, v.aws.region);
    v.aws.endpoint_url = copy(d, v.aws.endpoint_url);
    v.aws.assume_role_arn = copy(d, v.aws.assume_role_arn);
    v.aws.role_session_name = copy(d, v.aws.role_session_name);
    v.aws.sts_endpoint_url = copy(d, v.aws.sts_endpoint_url);
    return v;
}

/* The file's vaults first, for which only the node's can be asked; then these behind them. */
static void take_vaults(struct decoder *d, struct yaml_node *root, struct yaml_file *file)
{
    const struct field *f = schema_field(&schema_file, VIEW("vaults"));
    const struct node_config *node = d->host->node;
    struct yaml_node *list = root->first;
    struct vault own[2];
    size_t own_count = 0;

    if (node != NULL) {
        own[own_count++] = copy_vault(d, node->vault_aws);
        own[own_count++] = copy_vault(d, node->vault_env);
    }
    d->vaults = own;
    d->vault_count = own_count;
    while (list != NULL && !view_is(list->key, f->name))
        list = list->next;
    if (list != NULL && !yaml_is_null(list)) {
        resolve_tree(d, list, true);
        decode_list(d, f, file, list);
    }
    struct vault *all = ARENA_ARRAY(d->arena, file->vault_count + own_count + 1, struct vault);
    d->out_of_memory = d->out_of_memory || all == NULL;
    for (size_t i = 0; all != NULL && i < file->vault_count; i++)
        all[i] = file->vaults[i];
    for (size_t i = 0; all != NULL && i < own_count; i++)
        all[file->vault_count + i] = own[i];
    d->vaults = all;
    d->vault_count = all != NULL ? file->vault_count + own_count : 0;
}

static void mark_whole(struct yaml_node *mapping, const char *field)
{
    for (struct yaml_node *n = mapping->first; n != NULL; n = n->next)
        n->whole = n->whole || view_is(n->key, field);
}

/* secret and rotation.master of each service and its read part are asked for by member. */
static void mark_whole_secrets(struct yaml_node *way)
{
    mark_whole(way, "secret");
    for (struct yaml_node *n = way->first; n != NULL; n = n->next) {
        if (view_is(n->key, "rotation"))
            mark_whole(n, "master");
    }
}

static void resolve_all(struct decoder *d, struct yaml_node *root)
{
    for (struct yaml_node *list = root->first; list != NULL; list = list->next) {
        bool services = view_is(list->key, "services");
        for (struct yaml_node *s = list->first; services && s != NULL; s = s->next) {
            mark_whole_secrets(s);
            for (struct yaml_node *n = s->first; n != NULL; n = n->next) {
                if (view_is(n->key, "read"))
                    mark_whole_secrets(n);
            }
        }
        if (!view_is(list->key, "vaults"))
            resolve_tree(d, list, false);
    }
}

/* --- the whole --- */

static struct entities link_entities(struct decoder *d, struct yaml_file *file)
{
    decode_check_references(d);
    link_routes(d, file);
    link_consumers(d, file);
    size_t plugin_count;
    const struct plugin *plugins = link_plugins(d, file, &plugin_count);
    if (file->role_count > 0)
        qsort(file->roles, file->role_count, sizeof *file->roles, by_priority);
    return (struct entities){
        .issuers = file->issuers,
        .issuer_count = file->issuer_count,
        .consumers = file->consumers,
        .consumer_count = file->consumer_count,
        .services = file->services,
        .service_count = file->service_count,
        .roles = file->roles,
        .role_count = file->role_count,
        .plugins = plugins,
        .plugin_count = plugin_count,
        .vaults = d->vaults,
        .vault_count = d->vault_count,
    };
}

static err parse(struct decoder *d, struct view text, struct entities *out)
{
    struct diagnostic *before = d->d->last;
    size_t errors = d->d->errors;
    struct yaml_file file = {0};
    struct yaml_node *root = yaml_read(d->scratch, d->file, text, d->d);

    *out = (struct entities){0};
    if (root == NULL)
        return fail(&config_invalid);
    take_vaults(d, root, &file);
    resolve_all(d, root);
    sealed_open_all(d, root);
    decode_record(d, &schema_file, &file, root, false);
    *out = link_entities(d, &file);
    rules_across(d, out);
    if (d->out_of_memory)
        return fail(&fault_out_of_memory);
    if (d->pending && (d->d->errors == errors || d->pending_elsewhere)) {
        diag_forget_after(d->d, before);
        d->d->errors = errors; /* those beyond the bound of messages too */
        return fail(&config_awaits_secrets);
    }
    return d->d->errors > errors ? fail(&config_invalid) : OK;
}

err entities_parse(struct arena *arena, const char *file_name, struct view text,
                   const struct config_host *host, struct entities *out, struct diagnostics *diag)
{
    struct arena scratch;
    struct decoder d = {.arena = arena,
                        .scratch = &scratch,
                        .d = diag,
                        .file = view_str(file_name),
                        .host = host != NULL ? host : &config_system,
                        .style = {.arena = arena, .folder = file_folder(view_str(file_name))}};

    struct diagnostic *before = diag->last;
    arena_init(&scratch, SCRATCH_BLOCK_BYTES, SCRATCH_MAX_BYTES);
    map_init(&d.unique);
    err e = parse(&d, text, out);
    diag_sort_after(diag, before);
    map_clear(&d.unique);
    if (d.host->literal_secrets)
        arena_clear_secure(&scratch);
    else
        arena_clear(&scratch);
    return e;
}

err entities_load(struct arena *arena, const char *path, const struct config_host *host,
                  struct entities *out, struct diagnostics *diag)
{
    struct buf text;

    *out = (struct entities){0};
    buf_init(&text, YAML_MAX_BYTES);
    err e = file_read(path, &text, diag);
    if (!failed(e))
        e = entities_parse(arena, path, buf_view(&text), host, out, diag);
    buf_clear_secure(&text);
    return e;
}
