#include "gateway/session_name.h"

#include "base/buf.h"
#include "crypto/hash.h"

enum { ABSENT = 0, PRESENT = 1, SUFFIX_CHARS = SESSION_DIGEST_CHARS + 1 };

static struct view value_of(const struct session_caller *caller, enum session_placeholder p)
{
    switch (p) {
    case SESSION_SUBJECT:
        return caller->subject;
    case SESSION_CLIENT:
        return caller->client;
    case SESSION_ROLE:
        return caller->role;
    case SESSION_ISSUER:
        return caller->issuer_name;
    case SESSION_PLACEHOLDERS:
        break;
    }
    return (struct view){NULL, 0};
}

/* ---- Digests: parts with their lengths, so that no two lists have the same bytes ---- */

static void add_number(struct sha256 *h, uint64_t n)
{
    uint8_t bytes[8];

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(n >> (56 - 8 * i));
    sha256_add(h, view_of(bytes, sizeof bytes));
}

static void add_part(struct sha256 *h, struct view part)
{
    add_number(h, part.data == NULL ? ABSENT : PRESENT);
    add_number(h, part.len);
    sha256_add(h, part);
}

static void add_strings(struct sha256 *h, struct strings s)
{
    add_number(h, s.count);
    for (size_t i = 0; i < s.count; i++)
        add_part(h, s.items[i]);
}

/* What the template names, and the issuer of it where that is not said by itself. */
static unsigned named_by(struct view text)
{
    struct session_piece piece;
    unsigned named = 0;

    while (session_template_next(&text, &piece)) {
        if (piece.is_placeholder)
            named |= 1U << piece.placeholder;
    }
    return named;
}

static bool names(unsigned named, enum session_placeholder p)
{
    return (named & 1U << p) != 0;
}

static bool needs_issuer(unsigned named)
{
    return names(named, SESSION_SUBJECT) || names(named, SESSION_CLIENT);
}

static void add_values(struct sha256 *h, unsigned named, const struct session_caller *caller)
{
    add_number(h, named);
    for (enum session_placeholder p = 0; p < SESSION_PLACEHOLDERS; p++) {
        if (names(named, p))
            add_part(h, value_of(caller, p));
    }
    if (needs_issuer(named))
        add_part(h, caller->issuer);
}

/* ---- One text ---- */

static const char base32[] = "abcdefghijklmnopqrstuvwxyz234567";

/* 128 bits: five at a time, the last three with two zero bits (RFC 4648 section 6, unpadded). */
static void spell(const uint8_t digest[SHA256_BYTES], char out[SESSION_DIGEST_CHARS])
{
    for (unsigned i = 0; i < SESSION_DIGEST_CHARS; i++) {
        unsigned bit = i * 5, byte = bit / 8;
        unsigned pair = (unsigned)digest[byte] << 8 | (byte < 15 ? digest[byte + 1] : 0U);
        out[i] = base32[pair >> (11 - bit % 8) & 31];
    }
}

/* "…-" and as many of those characters as a digest has. */
static bool looks_made_up(struct view text)
{
    struct view end = view_from(text, text.len < SUFFIX_CHARS ? text.len : text.len - SUFFIX_CHARS);

    if (end.len != SUFFIX_CHARS || end.data[0] != '-')
        return false;
    for (size_t i = 1; i < end.len; i++) {
        if (end.data[i] == '\0' || strchr(base32, end.data[i]) == NULL)
            return false;
    }
    return true;
}

/* That of the gateway's own sessions (AWS_SESSION_CHAIN_NAME), whoever is called so. */
static bool is_the_gateways(struct view text)
{
    return view_eq_nocase(text, VIEW("sallyport"));
}

/* The values in their places, what may not stand there as '_'; true when none had to change. */
static bool fill_in(struct buf *b, struct view text, enum session_text kind,
                    const struct session_caller *caller)
{
    struct session_piece piece;
    bool same = true;

    while (session_template_next(&text, &piece)) {
        struct view v = piece.is_placeholder ? value_of(caller, piece.placeholder) : piece.text;
        same = same && v.len > 0;
        for (size_t i = 0; i < v.len; i++) {
            bool may = session_text_may_have(kind, v.data[i]);
            buf_add_char(b, may ? v.data[i] : '_');
            same = same && may;
        }
        if (b->len > session_text_max(kind)) /* what follows is cut in any case */
            return false;
    }
    return same;
}

static unsigned placeholder_count(struct view text)
{
    struct session_piece piece;
    unsigned count = 0;

    while (session_template_next(&text, &piece))
        count += piece.is_placeholder;
    return count;
}

static void append_digest(struct buf *b, struct view text, enum session_text kind,
                          const struct session_caller *caller)
{
    uint8_t digest[SHA256_BYTES];
    char spelled[SESSION_DIGEST_CHARS];
    struct sha256 h = {0};
    size_t room = session_text_max(kind) - SUFFIX_CHARS;

    sha256_init(&h);
    sha256_add(&h, VIEW("sallyport session text 1\n"));
    add_part(&h, text);
    add_values(&h, named_by(text), caller);
    sha256_end(&h, digest);
    sha256_clear(&h);
    spell(digest, spelled);
    if (b->len > room)
        b->len = room;
    buf_add_char(b, '-');
    buf_add(b, spelled, sizeof spelled);
}

err session_text_render(struct arena *arena, struct view text, enum session_text kind,
                        const struct session_caller *caller, struct view *out)
{
    unsigned placeholders = placeholder_count(text);
    struct buf b;

    *out = text;
    if (placeholders == 0)
        return OK;
    /* One piece more than fits is all that is ever added: a value is bounded by its token. */
    buf_init(&b, 256 * 1024);
    bool same = fill_in(&b, text, kind, caller);
    bool plain = same && placeholders == 1 && !looks_made_up(buf_view(&b)) &&
                 !(kind == SESSION_TEXT_NAME && is_the_gateways(buf_view(&b))) &&
                 b.len <= session_text_max(kind) &&
                 (kind == SESSION_TEXT_TAG || b.len >= SESSION_NAME_MIN) &&
                 (caller->only_issuer || !needs_issuer(named_by(text)));
    if (!plain)
        append_digest(&b, text, kind, caller);
    *out = buf_failed(&b) ? (struct view){NULL, 0} : arena_copy(arena, buf_view(&b));
    buf_clear(&b);
    return out->data != NULL ? OK : fail(&fault_out_of_memory);
}

/* ---- The whole identity ---- */

static struct view name_template(const struct iam_auth *iam)
{
    if (iam->role_session_name.len > 0)
        return iam->role_session_name;
    /* Whose token it is, is known in any case. */
    return iam->web_identity == WEB_IDENTITY_CALLER ? VIEW("{subject}") : VIEW("sallyport");
}

/* AssumeRoleWithWebIdentity knows no SourceIdentity (AWS STS API reference): with it, only a role
 * further down the chain could be given one. */
static struct view source_identity_template(const struct iam_auth *iam)
{
    if (iam->has_source_identity)
        return iam->source_identity.len > 0 ? iam->source_identity : (struct view){NULL, 0};
    bool possible = iam->web_identity == WEB_IDENTITY_NONE || iam->assume_role_arn.count > 1;
    return possible && session_template_varies(name_template(iam)) ? name_template(iam)
                                                                   : (struct view){NULL, 0};
}

/* Claims by which STS gives two tokens of one caller different sessions: conditions of the role's
 * trust, session tags, source identity ("Available keys for AWS OIDC federation" and "Passing
 * session tags using AssumeRoleWithWebIdentity" of the IAM user guide). */
static void add_claims(struct sha256 *h, const struct session_caller *caller)
{
    static const char *const names[] = {
        "aud", "azp", "amr", "email", "https://aws.amazon.com/tags",
        "https://aws.amazon.com/source_identity",
    };

    for (size_t n = 0; n < COUNT_OF(names); n++) {
        struct view json = {NULL, 0};
        for (size_t i = 0; i < caller->claim_count; i++) {
            if (view_is(caller->claims[i].name, names[n]))
                json = caller->claims[i].json;
        }
        add_part(h, json);
    }
}

static void make_key(const struct iam_auth *iam, const struct session_caller *caller,
                     uint8_t key[DB_KEY_BYTES])
{
    unsigned named = named_by(name_template(iam)) | named_by(source_identity_template(iam));
    struct sha256 h = {0};

    if (iam->web_identity == WEB_IDENTITY_CALLER)
        named |= 1U << SESSION_SUBJECT | 1U << SESSION_CLIENT;
    sha256_init(&h);
    sha256_add(&h, VIEW("sallyport session key 1\n"));
    add_part(&h, name_template(iam));
    add_part(&h, source_identity_template(iam));
    add_number(&h, iam->tag_count);
    for (size_t i = 0; i < iam->tag_count; i++) {
        named |= named_by(iam->tags[i].value);
        add_part(&h, iam->tags[i].key);
        add_part(&h, iam->tags[i].value);
        add_number(&h, iam->tags[i].transitive);
    }
    add_values(&h, named, caller);
    add_number(&h, caller->only_issuer);
    add_strings(&h, iam->assume_role_arn);
    add_part(&h, iam->external_id);
    add_number(&h, (uint64_t)iam->session_duration_s);
    add_part(&h, iam->policy);
    add_strings(&h, iam->policy_arns);
    add_number(&h, iam->web_identity);
    if (iam->web_identity == WEB_IDENTITY_CALLER)
        add_claims(&h, caller);
    add_part(&h, iam->sts_endpoint_url);
    add_part(&h, iam->region);
    sha256_end(&h, key);
    sha256_clear(&h);
}

err session_identity_make(struct arena *arena, const struct iam_auth *iam,
                          const struct session_caller *caller, struct db_session_identity *out)
{
    struct view *tags = ARENA_ARRAY(arena, iam->tag_count, struct view);

    *out = (struct db_session_identity){.tag_values = tags, .tag_count = iam->tag_count};
    if (tags == NULL)
        return fail(&fault_out_of_memory);
    TRY(session_text_render(arena, name_template(iam), SESSION_TEXT_NAME, caller, &out->name));
    if (source_identity_template(iam).data != NULL)
        TRY(session_text_render(arena, source_identity_template(iam), SESSION_TEXT_NAME, caller,
                                &out->source_identity));
    for (size_t i = 0; i < iam->tag_count; i++)
        TRY(session_text_render(arena, iam->tags[i].value, SESSION_TEXT_TAG, caller, &tags[i]));
    make_key(iam, caller, out->key);
    return OK;
}
