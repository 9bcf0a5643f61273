#include "gateway/login_secret.h"

#include <stdio.h>

#include "base/secret.h"
#include "base/time.h"
#include "gateway/control.h"
#include "gateway/secrets.h"

enum { ARENA_MAX_BYTES = 1024 * 1024, NS_PER_MS = 1000000 };

const struct fault login_secret_unavailable = {
    "login_secret_unavailable", "the secret that this login needs cannot be had now", NULL, 503};

bool login_secret_is(const struct endpoint *e)
{
    return e->secret.len > 0 || e->user_reference.len > 0 || e->password_reference.len > 0;
}

/* ---- References ---- */

/* The secret that holds the password, whose versions are tried one after the other. */
struct target {
    struct arena arena;
    struct secret_reference reference;
    const struct vault *vault; /* NULL: there is none */
    struct secret_origin origin;
    struct secret_id id; /* of a vault of the kind aws */
    bool versioned;
};

static const struct entities *entities_of(const struct control *c)
{
    static const struct entities none;
    return c->snapshot != NULL ? &c->snapshot->entities : &none;
}

static bool find_reference(struct control *c, struct arena *arena, struct view text,
                           struct secret_reference *reference, const struct vault **vault,
                           char why[SECRET_WHY_BYTES])
{
    const struct entities *all = entities_of(c);

    return secret_reference_find(arena, all->vaults, all->vault_count, text, reference, vault, why);
}

static void target_init(struct control *c, const struct endpoint *e, struct target *t)
{
    struct view text = e->secret.len > 0               ? e->secret
                       : e->password_reference.len > 0 ? e->password_reference
                                                       : e->user_reference;
    char why[SECRET_WHY_BYTES];

    *t = (struct target){.vault = NULL};
    arena_init(&t->arena, 1024, ARENA_MAX_BYTES);
    if (!find_reference(c, &t->arena, text, &t->reference, &t->vault, why))
        t->vault = NULL;
    t->versioned = t->vault != NULL && t->vault->kind == VAULT_AWS;
    if (t->versioned)
        secret_host_id(c->node, t->vault, &t->reference, &t->origin, &t->id);
}

/* ---- One candidate ---- */

struct candidate {
    struct arena arena; /* of the texts; wipes secrets when it is cleared */
    struct view user;
    struct view password;
    uint8_t digest[SHA256_BYTES];
};

/* One text as it stands for now; an absent reference leaves the value of the configuration. */
static bool read_text(struct control *c, struct arena *arena, struct view reference_text,
                      const char *member, struct view *out, char why[SECRET_WHY_BYTES])
{
    struct secret_reference reference;
    struct secret_answer answer;
    const struct vault *vault;

    if (reference_text.len == 0)
        return true;
    if (!find_reference(c, arena, reference_text, &reference, &vault, why))
        return false;
    if (member != NULL)
        reference.key = view_str(member);
    if (!secret_read(arena, &c->secrets.host.host, vault, &reference, &answer)) {
        memcpy(why, answer.why, SECRET_WHY_BYTES);
        return false;
    }
    *out = answer.value;
    return true;
}

static void digest(struct candidate *x)
{
    const uint64_t user_len = x->user.len;
    struct sha256 h = {0};

    sha256_init(&h);
    sha256_add(&h, view_of(&user_len, sizeof user_len));
    sha256_add(&h, x->user);
    sha256_add(&h, x->password);
    sha256_end(&h, x->digest);
    sha256_clear(&h);
}

/* Cleared by the caller in any case. */
static bool candidate_init(struct control *c, const struct endpoint *e, const char *version_id,
                           struct candidate *x, char why[SECRET_WHY_BYTES])
{
    const bool whole = e->secret.len > 0;
    struct secret_host *host = &c->secrets.host;

    *x = (struct candidate){.user = e->user, .password = e->password};
    arena_init(&x->arena, 1024, ARENA_MAX_BYTES);
    host->for_login = true;
    host->version_id = version_id;
    bool good = read_text(c, &x->arena, whole ? e->secret : e->user_reference,
                          whole ? "username" : NULL, &x->user, why) &&
                read_text(c, &x->arena, whole ? e->secret : e->password_reference,
                          whole ? "password" : NULL, &x->password, why);
    host->for_login = false;
    host->version_id = NULL;
    if (good && (x->user.len == 0 || x->user.len >= LOGIN_SECRET_USER_BYTES)) {
        snprintf(why, SECRET_WHY_BYTES, "the secret's user is empty or too long");
        good = false;
    }
    if (good && x->password.len == 0 && (whole || e->password_reference.len > 0)) {
        snprintf(why, SECRET_WHY_BYTES, "the secret's password is empty");
        good = false;
    }
    if (good)
        digest(x);
    return good;
}

static bool was_tried(const struct login_secret *ls, const struct candidate *x)
{
    for (size_t i = 0; i < ls->tried_count; i++) {
        if (secret_eq(view_of(ls->tried[i], SHA256_BYTES), view_of(x->digest, SHA256_BYTES)))
            return true;
    }
    return false;
}

/* Before the secret was read anew only the version that serves and AWSCURRENT are worth a try. */
enum among { AMONG_LIKELY, AMONG_ALL };

/* The first of the versions that can be read and was not tried. */
static bool find_untried(struct control *c, const struct endpoint *e, const struct target *t,
                         const struct login_secret *ls, enum among among, struct candidate *x,
                         const char **version_id, char why[SECRET_WHY_BYTES])
{
    struct secret_value versions[SECRET_VERSIONS_MAX];
    size_t n = t->versioned ? secret_cache_versions(c->secrets.cache, &t->id, versions) : 0;

    snprintf(why, SECRET_WHY_BYTES, "every version of it was refused");
    for (size_t i = 0; i < (n > 0 ? n : 1); i++) {
        if (i > 0 && among == AMONG_LIKELY && !versions[i].current)
            continue;
        *version_id = n > 0 ? versions[i].version_id : NULL;
        if (candidate_init(c, e, *version_id, x, why) && !was_tried(ls, x))
            return true;
        arena_clear(&x->arena);
    }
    return false;
}

/* ---- What a login asks for ---- */

static void note_source(const struct target *t, struct login_secret *ls)
{
    if (t->vault == NULL)
        return;
    snprintf(ls->source, sizeof ls->source, "%.*s/%.*s%s%s", VIEW_ARG(t->vault->prefix),
             VIEW_ARG(view_upto(t->reference.name, 100)), ls->version_id[0] != '\0' ? "#" : "",
             ls->version_id);
}

err login_secret_give(struct control *c, const struct endpoint *e, struct login_secret *ls,
                      struct buf *password, struct login_credential *out)
{
    const char *version_id = NULL;
    struct candidate x;
    struct target t;

    target_init(c, e, &t);
    bool found = ls->tried_count < LOGIN_SECRET_TRIES &&
                 find_untried(c, e, &t, ls, AMONG_ALL, &x, &version_id, ls->why);
    if (found) {
        memcpy(ls->tried[ls->tried_count++], x.digest, SHA256_BYTES);
        ls->given_ms = time_monotonic_ns() / NS_PER_MS;
        snprintf(ls->version_id, sizeof ls->version_id, "%s", version_id != NULL ? version_id : "");
        snprintf(ls->user, sizeof ls->user, "%.*s", VIEW_ARG(x.user));
        buf_add_view(password, x.password);
        note_source(&t, ls);
        *out = (struct login_credential){.user = view_str(ls->user),
                                         .source = view_str(ls->source)};
        arena_clear(&x.arena);
    }
    arena_clear(&t.arena);
    if (!found)
        return fail(&login_secret_unavailable);
    return buf_failed(password) ? fail(&fault_out_of_memory) : OK;
}

/* ---- After a refusal ---- */

void login_secret_refused(struct login_secret *ls, int64_t now_ms)
{
    ls->refused_ms = now_ms;
}

static bool has_untried(struct control *c, const struct endpoint *e, const struct target *t,
                        const struct login_secret *ls, enum among among)
{
    const char *version_id;
    char why[SECRET_WHY_BYTES];
    struct candidate x;

    if (!find_untried(c, e, t, ls, among, &x, &version_id, why))
        return false;
    arena_clear(&x.arena);
    return true;
}

static enum login_secret_next next_of(struct control *c, const struct endpoint *e,
                                      const struct target *t, struct login_secret *ls,
                                      int64_t now_ms, int64_t *again_ms)
{
    if (t->vault == NULL || ls->tried_count >= LOGIN_SECRET_TRIES)
        return LOGIN_SECRET_OVER;
    if (has_untried(c, e, t, ls, AMONG_LIKELY))
        return LOGIN_SECRET_AGAIN; /* another login has found it already */
    if (t->versioned && secret_cache_reread(c->secrets.cache, &t->id, ls->refused_ms) == AWS_WAIT) {
        secrets_tick(c);
        return LOGIN_SECRET_WAIT;
    }
    *again_ms = ls->refused_ms;
    if (now_ms < ls->refused_ms)
        return LOGIN_SECRET_WAIT;
    if (has_untried(c, e, t, ls, AMONG_ALL))
        return LOGIN_SECRET_AGAIN;
    if (t->vault->kind == VAULT_ENV || ls->rounds++ > 0)
        return LOGIN_SECRET_OVER;
    /* The cache has a pause of its own between two reads. */
    *again_ms = ls->refused_ms = now_ms + (t->versioned ? 1 : LOGIN_SECRET_PAUSE_MS);
    return LOGIN_SECRET_WAIT;
}

enum login_secret_next login_secret_next(struct control *c, const struct endpoint *e,
                                         struct login_secret *ls, int64_t now_ms,
                                         int64_t *again_ms)
{
    struct target t;

    *again_ms = INT64_MAX;
    target_init(c, e, &t);
    enum login_secret_next next = next_of(c, e, &t, ls, now_ms, again_ms);
    arena_clear(&t.arena);
    return next;
}

void login_secret_succeeded(struct control *c, const struct endpoint *e,
                            const struct login_secret *ls)
{
    struct target t;

    target_init(c, e, &t);
    if (t.versioned)
        secret_cache_prefer(c->secrets.cache, &t.id, ls->version_id, ls->given_ms);
    arena_clear(&t.arena);
}
