/* From sallyport.yaml to a document. */
#include "store/document.h"

#include "base/log.h"
#include "base/map.h"
#include "config/reference.h"
#include "config/rules.h"
#include "config/schema.h"
#include "config/value.h"
#include "config/yaml.h"
#include "json/json.h"

static const struct record *const records[STORE_KINDS] = {
    [STORE_VAULT] = &schema_vault, [STORE_ISSUER] = &schema_issuer,
    [STORE_CONSUMER] = &schema_consumer, [STORE_SERVICE] = &schema_service,
    [STORE_ROUTE] = &schema_route, [STORE_ROLE] = &schema_role,
    [STORE_PLUGIN] = &schema_plugin};
static const char *const lists[STORE_KINDS] = {
    [STORE_VAULT] = "vaults", [STORE_ISSUER] = "issuers", [STORE_CONSUMER] = "consumers",
    [STORE_SERVICE] = "services", [STORE_ROUTE] = "routes", [STORE_ROLE] = "roles",
    [STORE_PLUGIN] = "plugins"};

const char *store_kind_name(enum store_kind kind)
{
    return records[kind]->kind;
}

const char *store_name_field(enum store_kind kind)
{
    static const char *const fields[STORE_KINDS] = {[STORE_VAULT] = "prefix",
                                                    [STORE_CONSUMER] = "username"};
    return fields[kind] != NULL ? fields[kind] : "name";
}

enum { LABEL_MAX_BYTES = 4096 };

static void add_scope(struct buf *b, const char *what, struct view name)
{
    if (name.data == NULL)
        return;
    buf_printf(b, "%s%s %.*s", buf_view(b).len > 0 ? ", " : "", what, VIEW_ARG(name));
}

/* "rate-limiting (route order, consumer ann)" */
static struct view plugin_label(struct arena *arena, const struct store_entity *e)
{
    struct buf b;

    buf_init(&b, LABEL_MAX_BYTES);
    add_scope(&b, "service", e->service);
    add_scope(&b, "route", e->route);
    add_scope(&b, "consumer", e->consumer);
    struct view label = b.len > 0 ? arena_printf(arena, "%.*s (%.*s)", VIEW_ARG(e->name),
                                                 VIEW_ARG(buf_view(&b)))
                                  : e->name;
    buf_clear(&b);
    return label;
}

bool store_entity_name(struct arena *arena, enum store_kind kind, struct store_entity *e)
{
    e->key = e->label = e->name;
    if (kind == STORE_PLUGIN) {
        e->key = rules_derive_plugin_id(arena, e->name, e->service, e->route, e->consumer);
        e->label = plugin_label(arena, e);
        return e->key.data != NULL && e->label.data != NULL;
    }
    if (kind == STORE_CONSUMER && e->name.data == NULL) {
        /* Another's username may be the same text; none has a control character. */
        e->label = e->other;
        e->key = arena_printf(arena, "\1%.*s", VIEW_ARG(e->other));
    }
    return e->key.data != NULL;
}

struct view store_entity_derive_id(struct arena *arena, enum store_kind kind,
                                   const struct store_entity *e)
{
    if (kind == STORE_PLUGIN)
        return e->key;
    return kind == STORE_CONSUMER ? rules_derive_consumer_id(arena, e->name, e->other)
                                  : rules_derive_id(arena, store_kind_name(kind), e->key);
}

const struct record *store_kind_record(enum store_kind kind)
{
    return records[kind];
}

struct taker {
    struct arena *arena;
    struct view folder;
    struct store_document *out;
    const struct yaml_node **nodes[STORE_KINDS]; /* of the entities, by their places */
    struct map ids[STORE_KINDS]; /* of services, routes and consumers */
    struct buf json; /* of the entity at hand */
    bool literal;    /* which holds a secret in plain */
    bool literals;   /* one of them did */
    bool no_memory;
};

/* ---- Values ---- */

static size_t digits(struct view v, size_t at)
{
    size_t from = at;
    while (at < v.len && v.data[at] >= '0' && v.data[at] <= '9')
        at++;
    return at - from;
}

/* The grammar of RFC 8259 section 6. */
static bool is_json_number(struct view v)
{
    size_t at = v.len > 0 && v.data[0] == '-' ? 1 : 0;
    size_t n = digits(v, at);

    if (n == 0 || (n > 1 && v.data[at] == '0'))
        return false;
    at += n;
    if (at < v.len && v.data[at] == '.') {
        n = digits(v, at + 1);
        if (n == 0)
            return false;
        at += n + 1;
    }
    if (at < v.len && (v.data[at] == 'e' || v.data[at] == 'E')) {
        at++;
        at += at < v.len && (v.data[at] == '+' || v.data[at] == '-');
        n = digits(v, at);
        if (n == 0)
            return false;
        at += n;
    }
    return at == v.len;
}

static bool names_file(const struct field *f, struct view text)
{
    if (f == NULL || text.len == 0 || text.data[0] == '/')
        return false;
    if (f->type == FIELD_PATH)
        return true;
    return strcmp(f->name, "sslrootcert") == 0 && !view_is(text, "rds") &&
           !view_is(text, "system") && !view_is(text, "rds+system");
}

static void add_file(struct taker *t, struct view text)
{
    struct value_style style = {.arena = t->arena, .folder = t->folder};
    struct view path = value_path(&style, text);

    t->no_memory = t->no_memory || path.data == NULL;
    json_add_string(&t->json, path);
}

/* 16m, which JSON has not, as the number that it means. */
static bool add_integer(struct taker *t, const struct field *f, struct view text)
{
    struct value_style style = {.arena = t->arena};
    char why[WHY_BYTES];
    int64_t number;

    if (f == NULL || f->type != FIELD_INTEGER || !value_parse(&style, f, text, &number, why))
        return false;
    buf_add_i64(&t->json, number);
    return true;
}

static void add_scalar(struct taker *t, const struct field *f, const struct yaml_node *n)
{
    bool word = n->plain && !n->referenced;

    bool secret = f != NULL && (f->flags & FIELD_SECRET);

    if (yaml_is_null(n)) {
        buf_add_str(&t->json, "null");
    } else if (secret && !n->referenced) {
        json_add_string(&t->json, n->text);
        t->literal = t->literal || !n->sealed;
    } else if (word && (view_is(n->text, "true") || view_is(n->text, "false") ||
                      is_json_number(n->text))) {
        buf_add_view(&t->json, n->text);
    } else if (word && add_integer(t, f, n->text)) {
        return;
    } else if (!n->referenced && names_file(f, n->text)) {
        add_file(t, n->text);
    } else {
        json_add_string(&t->json, n->referenced ? n->reference : n->text);
    }
}

static void add_node(struct taker *t, const struct field *f, const struct record *r,
                     const struct yaml_node *n);

static void add_member(struct taker *t, const struct field *of, const struct record *r,
                       const struct yaml_node *member)
{
    const struct field *f = r != NULL ? schema_field(r, member->key) : NULL;

    json_add_string(&t->json, member->key);
    buf_add_char(&t->json, ':');
    /* Of a mapping by name each member is a whole record. */
    if (of != NULL && of->type == FIELD_MAP)
        add_node(t, NULL, of->record, member);
    else
        add_node(t, f, f != NULL ? f->record : NULL, member);
}

/* The tree is at most YAML_MAX_DEPTH deep. */
static void add_node(struct taker *t, const struct field *f, const struct record *r,
                     const struct yaml_node *n)
{
    if (n->kind == NODE_SCALAR) {
        add_scalar(t, f, n);
        return;
    }
    bool mapping = n->kind == NODE_MAPPING;
    const struct field *of = mapping ? f : NULL;
    buf_add_char(&t->json, mapping ? '{' : '[');
    for (const struct yaml_node *m = n->first; m != NULL; m = m->next) {
        if (m != n->first)
            buf_add_char(&t->json, ',');
        if (mapping)
            add_member(t, of, r, m);
        else
            add_node(t, f != NULL && f->type == FIELD_STRINGS ? f : NULL, r, m);
    }
    buf_add_char(&t->json, mapping ? '}' : ']');
}

/* ---- Entities ---- */

static struct view copy(struct taker *t, struct view v)
{
    struct view kept = arena_copy(t->arena, v);
    t->no_memory = t->no_memory || kept.data == NULL;
    return kept;
}

static struct view text_of(struct taker *t, const struct yaml_node *n)
{
    return n == NULL || n->kind != NODE_SCALAR || yaml_is_null(n)
               ? (struct view){NULL, 0}
               : copy(t, n->referenced ? n->reference : n->text);
}

static int64_t time_of(const struct yaml_node *n)
{
    uint64_t seconds;

    if (n == NULL || n->kind != NODE_SCALAR || !view_to_u64(n->text, INT64_MAX, &seconds))
        return -1;
    return (int64_t)seconds;
}

static void take_tags(struct taker *t, struct store_entity *e, const struct yaml_node *n)
{
    if (n == NULL || yaml_is_null(n))
        return;
    size_t count = n->kind == NODE_SEQUENCE ? n->count : 1;
    struct view *items = ARENA_ARRAY(t->arena, count + 1, struct view);
    if (items == NULL) {
        t->no_memory = true;
        return;
    }
    size_t i = 0;
    if (n->kind == NODE_SCALAR)
        items[i++] = text_of(t, n);
    for (const struct yaml_node *m = n->first; m != NULL; m = m->next)
        items[i++] = text_of(t, m);
    e->tags = (struct strings){items, count};
    e->has_tags = true;
}

/* What has a column of its own, or is a row of its own. */
static bool stands_apart(enum store_kind kind, struct view key)
{
    static const char *const columns[] = {"id", "tags", "created_at", "updated_at"};

    for (size_t i = 0; i < COUNT_OF(columns); i++) {
        if (view_is(key, columns[i]))
            return true;
    }
    if (view_is(key, store_name_field(kind)))
        return true;
    if (kind == STORE_PLUGIN)
        return view_is(key, "service") || view_is(key, "route") || view_is(key, "consumer");
    return view_is(key, "plugins") || (kind == STORE_SERVICE && view_is(key, "routes")) ||
           (kind == STORE_ROUTE && view_is(key, "service"));
}

static void take_definition(struct taker *t, enum store_kind kind, struct store_entity *e,
                            const struct yaml_node *mapping)
{
    bool first = true;

    t->literal = false;
    buf_reset(&t->json);
    buf_add_char(&t->json, '{');
    for (const struct yaml_node *m = mapping->first; m != NULL; m = m->next) {
        if (stands_apart(kind, m->key) || yaml_is_null(m))
            continue;
        if (!first)
            buf_add_char(&t->json, ',');
        first = false;
        add_member(t, NULL, records[kind], m);
    }
    buf_add_char(&t->json, '}');
    t->no_memory = t->no_memory || buf_failed(&t->json);
    /* A secret is wiped with the arena. */
    e->definition = t->literal ? reference_copy_secret(t->arena, buf_view(&t->json))
                               : arena_copy(t->arena, buf_view(&t->json));
    t->no_memory = t->no_memory || e->definition.data == NULL;
    t->literals |= t->literal;
}

/* What {name: x}, {id: x}, {username: x} or x alone refers to, as written. */
static struct view reference_of(struct taker *t, const struct yaml_node *n)
{
    return text_of(t, n != NULL && n->kind == NODE_MAPPING ? n->first : n);
}

/* The name of the entity of that id or name: what the tables are asked for. */
static struct view name_of(struct taker *t, enum store_kind kind, struct view reference)
{
    const struct store_entity *e = map_get(&t->ids[kind], reference);

    if (e == NULL || reference.data == NULL)
        return reference;
    return e->name.data != NULL ? e->name : reference;
}

/* In whose list the plugin stands; NULL, NULL: in none's. */
static void take_scope(struct taker *t, struct store_entity *e, enum store_kind owner_kind,
                       const struct store_entity *owner, const struct yaml_node *mapping)
{
    struct view owner_name = {NULL, 0};

    e->service = name_of(t, STORE_SERVICE, reference_of(t, yaml_member(mapping, "service")));
    e->route = name_of(t, STORE_ROUTE, reference_of(t, yaml_member(mapping, "route")));
    e->consumer = name_of(t, STORE_CONSUMER, reference_of(t, yaml_member(mapping, "consumer")));
    if (owner == NULL)
        return;
    owner_name = owner->name;
    if (owner_kind == STORE_SERVICE)
        e->service = owner_name;
    else if (owner_kind == STORE_ROUTE)
        e->route = owner_name;
    else
        e->consumer = owner_name.data != NULL ? owner_name
                      : owner->id.len > 0
                          ? owner->id
                          : store_entity_derive_id(t->arena, STORE_CONSUMER, owner);
}

static void take_plugin(struct taker *t, enum store_kind owner_kind,
                        const struct store_entity *owner, const struct yaml_node *mapping)
{
    struct store_entity *e = &t->out->entities[STORE_PLUGIN][t->out->counts[STORE_PLUGIN]++];

    *e = (struct store_entity){
        .id = text_of(t, yaml_member(mapping, "id")),
        .name = text_of(t, yaml_member(mapping, "name")),
        .created_at = time_of(yaml_member(mapping, "created_at")),
        .updated_at = time_of(yaml_member(mapping, "updated_at")),
    };
    take_scope(t, e, owner_kind, owner, mapping);
    t->no_memory = !store_entity_name(t->arena, STORE_PLUGIN, e) || t->no_memory;
    take_tags(t, e, yaml_member(mapping, "tags"));
    take_definition(t, STORE_PLUGIN, e, mapping);
}

static void put_id(struct taker *t, enum store_kind kind, struct store_entity *e)
{
    struct view id = e->id.len > 0 ? e->id : store_entity_derive_id(t->arena, kind, e);

    if (id.data == NULL || !map_put(&t->ids[kind], id, e))
        t->no_memory = true;
}

static void take_entity(struct taker *t, enum store_kind kind, struct view service,
                        const struct yaml_node *mapping)
{
    struct store_entity *e = &t->out->entities[kind][t->out->counts[kind]++];
    const struct yaml_node *owner = yaml_member(mapping, "service");

    *e = (struct store_entity){
        .id = text_of(t, yaml_member(mapping, "id")),
        .name = text_of(t, yaml_member(mapping, store_name_field(kind))),
        .service = service,
        .created_at = time_of(yaml_member(mapping, "created_at")),
        .updated_at = time_of(yaml_member(mapping, "updated_at")),
    };
    if (kind == STORE_ROUTE && owner != NULL)
        e->service = text_of(t, owner->kind == NODE_MAPPING ? yaml_member(owner, "name") : owner);
    if (kind == STORE_CONSUMER)
        e->other = text_of(t, yaml_member(mapping, "custom_id"));
    t->no_memory = !store_entity_name(t->arena, kind, e) || t->no_memory;
    take_tags(t, e, yaml_member(mapping, "tags"));
    take_definition(t, kind, e, mapping);
    if (kind == STORE_SERVICE || kind == STORE_ROUTE || kind == STORE_CONSUMER)
        put_id(t, kind, e);
    t->nodes[kind][t->out->counts[kind] - 1] = mapping;
}

static size_t count_routes(const struct yaml_node *root)
{
    const struct yaml_node *services = yaml_member(root, "services");
    const struct yaml_node *own = yaml_member(root, "routes");
    size_t count = own != NULL ? own->count : 0;

    for (const struct yaml_node *s = services != NULL ? services->first : NULL; s != NULL;
         s = s->next) {
        const struct yaml_node *routes = yaml_member(s, "routes");
        count += routes != NULL ? routes->count : 0;
    }
    return count;
}

static void take_list(struct taker *t, enum store_kind kind, struct view service,
                      const struct yaml_node *list)
{
    for (const struct yaml_node *m = list != NULL ? list->first : NULL; m != NULL; m = m->next)
        take_entity(t, kind, service, m);
}

static bool make_room(struct taker *t, enum store_kind kind, size_t count)
{
    t->out->entities[kind] = ARENA_ARRAY(t->arena, count + 1, struct store_entity);
    t->nodes[kind] = ARENA_ARRAY(t->arena, count + 1, const struct yaml_node *);
    return t->out->entities[kind] != NULL && t->nodes[kind] != NULL;
}

static bool make_rooms(struct taker *t, const struct yaml_node *root)
{
    for (size_t kind = 0; kind < STORE_PLUGIN; kind++) {
        const struct yaml_node *list = yaml_member(root, lists[kind]);
        size_t count = kind == STORE_ROUTE ? count_routes(root) : list != NULL ? list->count : 0;
        if (!make_room(t, kind, count))
            return false;
    }
    return true;
}

/* Those of the top level, then those that stand in other entities. */
static err take_plugins(struct taker *t, const struct yaml_node *root)
{
    static const enum store_kind owners[] = {STORE_CONSUMER, STORE_SERVICE, STORE_ROUTE};
    const struct yaml_node *own = yaml_member(root, lists[STORE_PLUGIN]);
    size_t count = own != NULL ? own->count : 0;

    for (size_t k = 0; k < COUNT_OF(owners); k++) {
        for (size_t i = 0; i < t->out->counts[owners[k]]; i++) {
            const struct yaml_node *list = yaml_member(t->nodes[owners[k]][i], "plugins");
            count += list != NULL ? list->count : 0;
        }
    }
    if (!make_room(t, STORE_PLUGIN, count))
        return fail(&fault_out_of_memory);
    for (const struct yaml_node *m = own != NULL ? own->first : NULL; m != NULL; m = m->next)
        take_plugin(t, STORE_KINDS, NULL, m);
    for (size_t k = 0; k < COUNT_OF(owners); k++) {
        for (size_t i = 0; i < t->out->counts[owners[k]]; i++) {
            const struct yaml_node *list = yaml_member(t->nodes[owners[k]][i], "plugins");
            const struct store_entity *owner = &t->out->entities[owners[k]][i];
            for (const struct yaml_node *m = list != NULL ? list->first : NULL; m != NULL;
                 m = m->next)
                take_plugin(t, owners[k], owner, m);
        }
    }
    return OK;
}

/* Routes stand by their services, as an export writes them. */
static void take_routes(struct taker *t, const struct yaml_node *root)
{
    const struct yaml_node *services = yaml_member(root, "services");
    const struct yaml_node *own = yaml_member(root, "routes");

    for (const struct yaml_node *s = services != NULL ? services->first : NULL; s != NULL;
         s = s->next) {
        struct view name = text_of(t, yaml_member(s, "name"));
        take_list(t, STORE_ROUTE, name, yaml_member(s, "routes"));
        for (const struct yaml_node *r = own != NULL ? own->first : NULL; r != NULL; r = r->next) {
            const struct yaml_node *owner = yaml_member(r, "service");
            struct view owned =
                text_of(t, owner != NULL && owner->kind == NODE_MAPPING ? yaml_member(owner, "name")
                                                                        : owner);
            if (view_eq(owned, name))
                take_entity(t, STORE_ROUTE, name, r);
        }
    }
}

static err take_all(struct taker *t, const struct yaml_node *root)
{
    if (root == NULL || root->kind != NODE_MAPPING)
        return fail(&config_invalid);
    if (!make_rooms(t, root))
        return fail(&fault_out_of_memory);
    for (size_t kind = 0; kind < STORE_PLUGIN; kind++) {
        if (kind == STORE_ROUTE)
            take_routes(t, root);
        else
            take_list(t, kind, (struct view){NULL, 0}, yaml_member(root, lists[kind]));
    }
    TRY(take_plugins(t, root));
    return t->no_memory ? fail(&fault_out_of_memory) : OK;
}

enum { SCRATCH_BLOCK_BYTES = 64 << 10, SCRATCH_MAX_BYTES = 1 << 30 };

err document_from_yaml(struct arena *arena, struct view file_name, struct view folder,
                       struct view text, struct store_document *out, struct diagnostics *d)
{
    struct taker t = {.arena = arena, .folder = folder, .out = out};
    struct arena scratch;

    *out = (struct store_document){{NULL}, {0}};
    arena_init(&scratch, SCRATCH_BLOCK_BYTES, SCRATCH_MAX_BYTES);
    buf_init(&t.json, DOCUMENT_MAX_BYTES);
    for (size_t kind = 0; kind < STORE_KINDS; kind++)
        map_init(&t.ids[kind]);
    err e = take_all(&t, yaml_read(&scratch, file_name, text, d));
    buf_clear_secure(&t.json);
    for (size_t kind = 0; kind < STORE_KINDS; kind++)
        map_clear(&t.ids[kind]);
    if (t.literals)
        arena_clear_secure(&scratch);
    else
        arena_clear(&scratch);
    return e;
}
