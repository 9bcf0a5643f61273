/* Which sessions there are: keys, families, places, and who leaves. */
#include <stdlib.h>

#include "aws/sessions_internal.h"

enum { FAMILY_MAX_BYTES = 256 * 1024 };

/* ---- Keys ---- */

/* Each text with its length before it, so that no two lists of texts read alike; an absent text is
 * another than an empty one. */
static void add_text(struct sha256 *h, struct view v)
{
    uint64_t len = v.data != NULL ? v.len : UINT64_MAX;

    sha256_add(h, view_of(&len, sizeof len));
    if (v.len > 0)
        sha256_add(h, v);
}

static void add_number(struct sha256 *h, int64_t n)
{
    sha256_add(h, view_of(&n, sizeof n));
}

static void add_texts(struct sha256 *h, const struct view *texts, size_t count)
{
    add_number(h, (int64_t)count);
    for (size_t i = 0; i < count; i++)
        add_text(h, texts[i]);
}

/* Callers' signers are apart from those who log in by the same roles, since they have other rules
 * of room (make_room). */
static void family_key(struct aws_sessions *s, const struct aws_session_request *r, bool signer,
                       uint8_t key[AWS_SESSION_KEY_BYTES])
{
    struct sha256 *h = &s->hash;

    sha256_init(h);
    add_texts(h, r->roles, r->role_count);
    add_text(h, r->external_id);
    add_number(h, r->duration_s);
    add_text(h, r->policy);
    add_texts(h, r->policy_arns, r->policy_arn_count);
    add_number(h, (int64_t)r->tag_count);
    for (size_t i = 0; i < r->tag_count; i++) {
        add_text(h, r->tags[i].key);
        add_number(h, r->tags[i].transitive);
    }
    add_text(h, r->endpoint->url);
    add_text(h, r->endpoint->host);
    add_text(h, r->endpoint->signing_region);
    add_text(h, r->ca_file);
    add_number(h, r->web_identity);
    add_number(h, r->max_sessions > 0);
    add_number(h, signer && r->max_sessions > 0);
    sha256_end(h, key);
}

static void session_key(struct aws_sessions *s, const struct aws_session_request *r,
                        const uint8_t family[AWS_SESSION_KEY_BYTES],
                        uint8_t key[AWS_SESSION_KEY_BYTES])
{
    struct sha256 *h = &s->hash;

    sha256_init(h);
    sha256_add(h, view_of(family, AWS_SESSION_KEY_BYTES));
    add_text(h, r->session_name);
    add_text(h, r->source_identity);
    for (size_t i = 0; i < r->tag_count; i++)
        add_text(h, r->tags[i].value);
    add_text(h, view_of(r->caller_key, r->caller_key != NULL ? AWS_SESSION_KEY_BYTES : 0));
    sha256_end(h, key);
}

static struct view key_view(const uint8_t key[AWS_SESSION_KEY_BYTES])
{
    return view_of(key, AWS_SESSION_KEY_BYTES);
}

err session_check(const struct aws_session_request *r)
{
    if (r->role_count == 0 || r->role_count > AWS_SESSION_ROLES_MAX ||
        r->session_name.len == 0 || r->endpoint == NULL)
        return fail(&aws_session_bad_request);
    return OK;
}

/* ---- Families ---- */

static bool copy(struct arena *arena, struct view from, struct view *to)
{
    *to = from.data != NULL ? arena_copy(arena, from) : from;
    return from.data == NULL || to->data != NULL;
}

static bool copy_texts(struct session_family *f, const struct aws_session_request *r)
{
    struct arena *a = &f->arena;
    bool good = copy(a, r->external_id, &f->external_id) && copy(a, r->policy, &f->policy) &&
                copy(a, r->ca_file, &f->ca_file) && copy(a, r->endpoint->url, &f->endpoint.url) &&
                copy(a, r->endpoint->host, &f->endpoint.host) &&
                copy(a, r->endpoint->path, &f->endpoint.path) &&
                copy(a, r->endpoint->signing_region, &f->endpoint.signing_region);

    f->policy_arns = ARENA_ARRAY(a, r->policy_arn_count + 1, struct view);
    f->tags = ARENA_ARRAY(a, r->tag_count + 1, struct sts_tag);
    if (!good || f->policy_arns == NULL || f->tags == NULL)
        return false;
    for (size_t i = 0; i < r->role_count; i++)
        good = good && copy(a, r->roles[i], &f->roles[i]);
    for (size_t i = 0; i < r->policy_arn_count; i++)
        good = good && copy(a, r->policy_arns[i], &f->policy_arns[i]);
    for (size_t i = 0; i < r->tag_count; i++) {
        good = good && copy(a, r->tags[i].key, &f->tags[i].key);
        f->tags[i].transitive = r->tags[i].transitive;
    }
    return good;
}

static void family_free(struct session_family *f)
{
    arena_clear(&f->arena);
    free(f);
}

static struct session_family *family_new(struct aws_sessions *s,
                                         const struct aws_session_request *r,
                                         const uint8_t key[AWS_SESSION_KEY_BYTES])
{
    struct session_family *f = calloc(1, sizeof *f);

    if (f == NULL)
        return NULL;
    memcpy(f->key, key, sizeof f->key);
    arena_init(&f->arena, 1024, FAMILY_MAX_BYTES);
    list_init(&f->lru);
    f->role_count = r->role_count;
    f->duration_s = r->duration_s;
    f->policy_arn_count = r->policy_arn_count;
    f->tag_count = r->tag_count;
    f->web_identity = r->web_identity;
    f->per_caller = r->max_sessions > 0;
    if (copy_texts(f, r) && map_put(&s->families, key_view(f->key), f))
        return f;
    family_free(f);
    return NULL;
}

static void family_drop_unused(struct aws_sessions *s, struct session_family *f)
{
    if (f->count > 0)
        return;
    map_remove(&s->families, key_view(f->key));
    family_free(f);
}

/* ---- Places ---- */

/* Nobody waits for it or has it in hands, and it signs for nobody. */
bool session_is_free(const struct aws_session *a)
{
    return !a->pinned && !a->wanted && a->holds == 0 && a->children == 0 &&
           a->state != SESSION_FLYING;
}

void session_place(struct aws_sessions *s, struct aws_session *a)
{
    const bool may_leave = a->family->per_caller && session_is_free(a);
    const bool uncollected = a->wanted && a->state == SESSION_IDLE && !a->retrying;

    if (may_leave && a->in_lru)
        return;
    list_unlink(&a->place);
    a->in_lru = may_leave;
    if (may_leave) {
        list_push_back(&a->family->lru, &a->place);
        if (s->starved)
            s->news = true;
    } else if (uncollected) {
        list_push_back(&s->uncollected, &a->place);
    }
}

void session_touch(struct aws_sessions *s, struct aws_session *a)
{
    session_place(s, a);
    if (!a->in_lru)
        return;
    list_unlink(&a->place);
    list_push_back(&a->family->lru, &a->place);
}

/* ---- Sessions ---- */

static size_t text_bytes(const struct aws_session_request *r)
{
    size_t bytes = r->session_name.len + r->source_identity.len;

    for (size_t i = 0; i < r->tag_count; i++)
        bytes += r->tags[i].value.len;
    return bytes;
}

static struct view take_text(char **at, struct view text)
{
    struct view copied = {text.data != NULL ? *at : NULL, text.len};

    if (text.len > 0)
        memcpy(*at, text.data, text.len);
    *at += text.len;
    return copied;
}

static struct aws_session *session_new(const struct aws_session_request *r,
                                       struct session_family *f)
{
    struct aws_session *a =
        calloc(1, sizeof *a + f->tag_count * sizeof a->tag_values[0] + text_bytes(r) + 1);

    if (a == NULL)
        return NULL;
    char *at = (char *)&a->tag_values[f->tag_count];
    a->name = take_text(&at, r->session_name);
    a->source_identity = take_text(&at, r->source_identity);
    for (size_t i = 0; i < f->tag_count; i++)
        a->tag_values[i] = take_text(&at, r->tags[i].value);
    a->family = f;
    list_init(&a->turn);
    list_init(&a->place);
    return a;
}

static void session_free(struct aws_session *a)
{
    aws_credentials_clear(&a->credentials);
    secret_clear(&a->web_token);
    free(a->detail);
    free(a);
}

/* Its family stays, also without members. */
static void take_out(struct aws_sessions *s, struct aws_session *a)
{
    list_unlink(&a->turn);
    list_unlink(&a->place);
    session_heap_drop(&s->heap, a);
    map_remove(&s->sessions, key_view(a->key));
    a->family->count--;
    if (a->parent != NULL) {
        a->parent->children--;
        session_place(s, a->parent);
    }
    session_free(a);
    if (s->starved)
        s->news = true;
}

void session_remove(struct aws_sessions *s, struct aws_session *a)
{
    struct session_family *f = a->family;

    take_out(s, a);
    family_drop_unused(s, f);
}

/* A signer always finds room: each one beyond the places signs for somebody who has a place in a
 * family of its own, and would else be what keeps a newcomer out of both. */
static bool make_room(struct aws_sessions *s, struct session_family *f, bool signer)
{
    while (f->per_caller && f->count >= f->max) {
        if (list_is_empty(&f->lru)) {
            s->starved = s->starved || !signer;
            return signer;
        }
        s->evictions++;
        take_out(s, LIST_ENTRY(f->lru.next, struct aws_session, place));
    }
    return true;
}

struct aws_session *session_find(struct aws_sessions *s, const struct aws_session_request *r)
{
    uint8_t family[AWS_SESSION_KEY_BYTES], key[AWS_SESSION_KEY_BYTES];

    family_key(s, r, false, family);
    session_key(s, r, family, key);
    return map_get(&s->sessions, key_view(key));
}

static err make(struct aws_sessions *s, const struct aws_session_request *r, bool signer,
                struct aws_session **out);

/* The session that signs for this one: of the roles before the last.  It is shared by all callers,
 * but where the chain begins with the caller's own token. */
static err make_parent(struct aws_sessions *s, const struct aws_session_request *r,
                       struct aws_session **out)
{
    struct aws_session_request parent = {
        .roles = r->roles,
        .role_count = r->role_count - 1,
        .session_name = VIEW(AWS_SESSION_CHAIN_NAME),
        .endpoint = r->endpoint,
        .ca_file = r->ca_file,
    };
    if (r->web_identity) {
        parent.session_name = r->session_name;
        parent.web_identity = true;
        parent.caller_key = r->caller_key;
        parent.max_sessions = r->max_sessions;
    }
    return make(s, &parent, true, out);
}

static err add_session(struct aws_sessions *s, const struct aws_session_request *r,
                       struct session_family *f, const uint8_t key[AWS_SESSION_KEY_BYTES],
                       struct aws_session **out)
{
    struct aws_session *a = session_new(r, f);

    if (a == NULL)
        return fail(&fault_out_of_memory);
    memcpy(a->key, key, sizeof a->key);
    if (!session_heap_reserve(&s->heap, s->sessions.count + 2) ||
        !map_put(&s->sessions, key_view(a->key), a)) {
        session_free(a);
        return fail(&fault_out_of_memory);
    }
    f->count++;
    session_heap_set(&s->heap, a, session_now_ms(s) + SESSION_REMEMBER_MS);
    *out = a;
    return OK;
}

struct session_keys {
    uint8_t family[AWS_SESSION_KEY_BYTES];
    uint8_t session[AWS_SESSION_KEY_BYTES];
};

/* With the parent counted as used, so that making room does not take it away. */
static err make_in_family(struct aws_sessions *s, const struct aws_session_request *r,
                          const struct session_keys *keys, bool signer,
                          struct aws_session *parent, struct aws_session **out)
{
    struct session_family *f = map_get(&s->families, key_view(keys->family));

    if (f == NULL && (f = family_new(s, r, keys->family)) == NULL)
        return fail(&fault_out_of_memory);
    f->max = r->max_sessions;
    err e = OK;
    if (make_room(s, f, signer))
        e = add_session(s, r, f, keys->session, out);
    if (*out != NULL)
        (*out)->parent = parent;
    family_drop_unused(s, f);
    return e;
}

static err make(struct aws_sessions *s, const struct aws_session_request *r, bool signer,
                struct aws_session **out)
{
    struct aws_session *parent = NULL;
    struct session_keys keys;

    family_key(s, r, signer, keys.family);
    session_key(s, r, keys.family, keys.session);
    *out = map_get(&s->sessions, key_view(keys.session));
    if (*out != NULL)
        return OK;
    if (r->role_count > 1) {
        TRY(make_parent(s, r, &parent));
        if (parent == NULL)
            return OK;
        parent->children++;
        session_place(s, parent);
    }
    err e = make_in_family(s, r, &keys, signer, parent, out);
    if (*out == NULL && parent != NULL) {
        parent->children--;
        session_place(s, parent);
    }
    return e;
}

err session_make(struct aws_sessions *s, const struct aws_session_request *r,
                 struct aws_session **out)
{
    return make(s, r, false, out);
}

struct aws_session *session_root(struct aws_session *a)
{
    while (a->parent != NULL)
        a = a->parent;
    return a;
}

void session_store_free(struct aws_sessions *s)
{
    size_t at = 0;

    for (struct aws_session *a; (a = map_next(&s->sessions, &at)) != NULL;)
        session_free(a);
    at = 0;
    for (struct session_family *f; (f = map_next(&s->families, &at)) != NULL;)
        family_free(f);
    map_clear(&s->sessions);
    map_clear(&s->families);
    free(s->heap.items);
    sha256_clear(&s->hash);
}
