/* Rules of issuers and roles; and how an entity without an id gets one. */
#include "base/attr.h"
#include "config/rules.h"

bool rules_written(const struct yaml_node *mapping, const char *field)
{
    const struct yaml_node *node = yaml_member(mapping, field);
    return node != NULL && !yaml_is_null(node);
}

static void check_consumer_fields(struct decoder *d, const struct issuer *i,
                                  const struct yaml_node *mapping)
{
    static const char *const more[] = {"consumer_by", "consumer_optional"};

    if (i->consumer_by.count == 0)
        decode_error(d, rules_node(mapping, "consumer_by"), "'consumer_by' must not be empty");
    for (size_t n = 0; n < COUNT_OF(more) && i->consumer_claim.data == NULL; n++) {
        if (rules_written(mapping, more[n]))
            decode_error(d, rules_node(mapping, more[n]),
                         "'%s' means nothing without 'consumer_claim'", more[n]);
    }
}

void finish_issuer(struct decoder *d, void *record, const struct yaml_node *mapping)
{
    static const struct view access_token[] = {VIEW("access")};
    struct issuer *i = record;

    if (rules_written(mapping, "jwks_uri") && rules_written(mapping, "jwks_file"))
        decode_error(d, rules_node(mapping, "jwks_file"),
                     "jwks_uri and jwks_file exclude each other");
    if (i->audience.count == 0 && i->clients.count == 0)
        decode_error(d, mapping, "issuer '%.*s' has neither 'audience' nor 'clients': tokens made "
                                 "for another API would be taken",
                     VIEW_ARG(i->name));
    if (i->preset == PRESET_COGNITO && i->token_use.count == 0)
        i->token_use = (struct strings){access_token, 1};
    if (i->jwks_file.len > 0)
        rules_check_file(d, i->jwks_file, rules_node(mapping, "jwks_file"));
    if (i->ca_file.len > 0)
        rules_check_file(d, i->ca_file, rules_node(mapping, "ca_file"));
    if (i->algorithms.count == 0)
        decode_error(d, rules_node(mapping, "algorithms"), "'algorithms' must not be empty");
    check_consumer_fields(d, i, mapping);
    if (i->meta.id.len == 0)
        i->meta.id = rules_derive_id(d->arena, "issuer", i->name);
}

/* Kong wants one of the two (kong/db/schema/entities/consumers.lua). */
void finish_consumer(struct decoder *d, void *record, const struct yaml_node *mapping)
{
    struct consumer *c = record;

    if (!rules_written(mapping, "username") && !rules_written(mapping, "custom_id"))
        decode_error(d, mapping, "consumer has neither 'username' nor 'custom_id'");
    if (c->meta.id.len == 0)
        c->meta.id = rules_derive_consumer_id(d->arena, c->username, c->custom_id);
}

struct view rules_derive_consumer_id(struct arena *arena, struct view username,
                                     struct view custom_id)
{
    return username.len > 0 ? rules_derive_id(arena, "consumer", username)
                            : rules_derive_id(arena, "consumer custom_id", custom_id);
}

void finish_allow(struct decoder *d, void *record, const struct yaml_node *mapping)
{
    const struct allow_rule *a = record;
    const struct yaml_node *methods = yaml_member(mapping, "methods");

    if (methods != NULL && !yaml_is_null(methods) && a->methods.count == 0)
        decode_error(d, methods, "'methods' must not be empty; leave it out for all methods");
}

static bool asks_nothing(const struct condition *c)
{
    return c->issuer.count == 0 && c->subject.count == 0 && c->client.count == 0 &&
           c->consumers.count == 0 && c->groups.count == 0 && c->scopes.count == 0 &&
           c->claim_count == 0;
}

/* A list that was written but holds nothing would ask nothing, where its writer meant something. */
static void check_empty_lists(struct decoder *d, const struct yaml_node *mapping)
{
    for (const struct yaml_node *m = mapping->first; m != NULL; m = m->next) {
        if (m->kind != NODE_SCALAR && m->count == 0)
            decode_error(d, m, "'%.*s' must not be empty; leave it out to ask nothing",
                         VIEW_ARG(view_upto(m->key, 64)));
    }
}

void finish_role(struct decoder *d, void *record, const struct yaml_node *mapping)
{
    struct role *r = record;
    const struct yaml_node *when = yaml_member(mapping, "when");

    if (when != NULL && when->kind == NODE_MAPPING) {
        const struct yaml_node *claims = yaml_member(when, "claims");
        check_empty_lists(d, when);
        if (claims != NULL && claims->kind == NODE_MAPPING)
            check_empty_lists(d, claims);
        if (asks_nothing(&r->when))
            decode_error(d, when, "'when' must ask something: this role would hold for every "
                                  "caller");
    }
    if (r->meta.id.len == 0)
        r->meta.id = rules_derive_id(d->arena, "role", r->name);
}

/* FNV-1a in 128 bits (draft-eastlake-fnv): spread enough for names that one operator chose. */
static void hash(unsigned __int128 *h, struct view v)
{
    const unsigned __int128 prime = ((unsigned __int128)1 << 88) + 0x13b;

    for (size_t i = 0; i < v.len; i++) {
        *h ^= (unsigned char)v.data[i];
        *h *= prime;
    }
}

struct view rules_derive_id(struct arena *arena, const char *kind, struct view name)
{
    unsigned __int128 h = ((unsigned __int128)UINT64_C(0x6c62272e07bb0142) << 64) |
                          UINT64_C(0x62b821756295c58d);

    hash(&h, view_str(kind));
    hash(&h, VIEW(" "));
    hash(&h, name);
    uint64_t high = (uint64_t)(h >> 64), low = (uint64_t)h;
    high = (high & ~UINT64_C(0xf000)) | UINT64_C(0x8000);
    low = (low & ~(UINT64_C(3) << 62)) | (UINT64_C(2) << 62);
    char text[36], *at = text;
    for (int digit = 0; digit < 32; digit++) {
        uint64_t half = digit < 16 ? high : low;
        if (digit == 8 || digit == 12 || digit == 16 || digit == 20)
            *at++ = '-';
        *at++ = "0123456789abcdef"[half >> (60 - digit % 16 * 4) & 15];
    }
    return arena_copy(arena, view_of(text, sizeof text));
}
