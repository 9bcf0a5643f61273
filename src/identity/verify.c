/*
 * The check of one token, step by step in the order of RFC 7519 section 7.2.  Before the signature
 * only what is needed to find the key is read: alg, kid, and iss, which must equal a configured
 * text exactly.
 */
#include "base/time.h"
#include "identity/claims.h"
#include "identity/identity_state.h"
#include "identity/token.h"

enum { FOUND_MAX_BYTES = 120 };

struct verification {
    struct identity *id;
    struct arena *arena;
    struct token_check *check; /* may be NULL */
    int64_t now_s;
    const struct issuer_rule *rule;
    struct token token;
    struct principal *out;
};

static const struct view nothing = {NULL, 0};

static struct view cut(struct view text)
{
    if (text.len <= FOUND_MAX_BYTES)
        return text;
    size_t n = FOUND_MAX_BYTES;
    /* Not within a character: UTF-8's continuation bytes are 10xxxxxx. */
    while (n > 0 && ((unsigned char)text.data[n] & 0xc0) == 0x80)
        n--;
    return view_upto(text, n);
}

static void note(struct verification *v, const char *name, enum check_result result,
                 struct view expected, struct view found)
{
    if (v->check == NULL || v->check->count == TOKEN_CHECK_MAX_STEPS)
        return;
    v->check->steps[v->check->count++] =
        (struct check_step){name, result, expected, cut(found)};
}

/* Notes how the step ended, and hands the error on. */
static err step(struct verification *v, const char *name, err e, struct view expected,
                struct view found)
{
    note(v, name, failed(e) ? CHECK_FAILED : CHECK_OK, expected, found);
    return e;
}

static void skip(struct verification *v, const char *name)
{
    note(v, name, CHECK_SKIPPED, nothing, nothing);
}

/* Texts for the trace, made only when somebody reads it. */
static struct view time_text(struct verification *v, const char *before, int64_t at_s)
{
    char text[TIME_TEXT_BYTES];

    if (v->check == NULL)
        return nothing;
    time_format(at_s * 1000000, text);
    return arena_printf(v->arena, "%s%.19sZ", before, text);
}

static struct view list_text(struct verification *v, struct strings list)
{
    if (v->check == NULL || list.count == 0)
        return nothing;
    if (list.count == 1)
        return cut(list.items[0]);
    return arena_printf(v->arena, "one of %zu, the first %.*s", list.count,
                        VIEW_ARG(cut(list.items[0])));
}

static err find_issuer(struct verification *v)
{
    const struct json_value *iss = json_get(v->token.payload, "iss");

    if (!json_is(iss, JSON_STRING))
        return step(v, "issuer", fail(&identity_issuer_missing), nothing, nothing);
    for (size_t i = 0; i < v->id->count; i++) {
        if (view_eq(v->id->rules[i].config.issuer, iss->text)) {
            v->rule = &v->id->rules[i];
            if (v->check != NULL)
                v->check->issuer_name = arena_copy(v->arena, v->rule->config.name);
            return step(v, "issuer", OK, nothing, iss->text);
        }
    }
    return step(v, "issuer", fail(&identity_issuer_unknown), VIEW("a configured issuer"),
                iss->text);
}

static err check_alg(struct verification *v)
{
    err e = OK;

    if (!jws_alg_by_name(v->token.alg_name, &v->token.alg) ||
        (v->rule->algorithms & UINT32_C(1) << v->token.alg) == 0)
        e = fail(&identity_alg_refused);
    return step(v, "alg", e, list_text(v, v->rule->config.algorithms), v->token.alg_name);
}

static err choose_key(struct verification *v, const struct jwks *set, const struct jwk **out)
{
    const struct token *t = &v->token;
    bool many;

    if (t->kid.data == NULL) {
        *out = jwks_only(set, t->alg, &many);
        return step(v, "key", *out != NULL ? OK : fail(&identity_key_ambiguous),
                    VIEW("a kid, or an issuer with one key for the alg"), nothing);
    }
    *out = jwks_find(set, t->kid);
    if (*out == NULL) {
        identity_want_refetch(v->id, v->rule->keys);
        return step(v, "key", fail(&identity_unknown_key), VIEW("a kid of the issuer's keys"),
                    t->kid);
    }
    if (!jws_key_allows((*out)->key, t->alg))
        return step(v, "key", fail(&identity_alg_mismatch), VIEW("a key for the token's alg"),
                    t->kid);
    return step(v, "key", OK, nothing, t->kid);
}

static err check_with_set(struct verification *v, const struct jwks *set)
{
    const struct jwk *key;

    TRY(choose_key(v, set, &key));
    err e = jws_verify(key->key, v->token.alg, v->token.signed_text, v->token.signature);
    if (failed(e) && !is_fault(e, &fault_out_of_memory))
        e = fail(&identity_signature_wrong);
    TRY(step(v, "signature", e, nothing, nothing));
    if (key->kid.data == NULL)
        return OK;
    v->out->key_id = arena_copy(v->arena, key->kid);
    return v->out->key_id.data != NULL ? OK : fail(&fault_out_of_memory);
}

static err check_signature(struct verification *v)
{
    struct jwks *set = issuer_keys_current(v->rule->keys);

    if (set == NULL)
        return step(v, "key", fail(&identity_keys_unavailable),
                    VIEW("the issuer's keys, once fetched"), nothing);
    err e = check_with_set(v, set);
    jwks_release(set);
    return e;
}

/* RFC 7519 section 4.1.4; we require it. */
static err check_exp(struct verification *v)
{
    const int64_t earliest = v->now_s - v->rule->config.leeway_s;
    bool present = false;
    int64_t exp = 0;

    err e = claims_seconds(v->token.payload, "exp", &present, &exp);
    if (!failed(e) && !present)
        e = fail(&identity_exp_missing);
    if (failed(e))
        return step(v, "exp", e, VIEW("a number of seconds"), nothing);
    v->out->expires_at_s = exp;
    if (exp <= earliest)
        e = fail(&identity_expired);
    return step(v, "exp", e, time_text(v, "after ", earliest), time_text(v, "", exp));
}

/* RFC 7519 section 4.1.5. */
static err check_nbf(struct verification *v)
{
    const int64_t latest = v->now_s + v->rule->config.leeway_s;
    bool present = false;
    int64_t nbf = 0;

    err e = claims_seconds(v->token.payload, "nbf", &present, &nbf);
    if (failed(e))
        return step(v, "nbf", e, VIEW("a number of seconds"), nothing);
    if (!present) {
        skip(v, "nbf");
        return OK;
    }
    if (nbf > latest)
        e = fail(&identity_not_yet_valid);
    return step(v, "nbf", e, time_text(v, "not after ", latest), time_text(v, "", nbf));
}

/* RFC 7519 section 4.1.6, and our own limit of age. */
static err check_iat(struct verification *v)
{
    const struct issuer *config = &v->rule->config;
    const int64_t latest = v->now_s + config->leeway_s;
    bool present = false;
    int64_t iat = 0;

    err e = claims_seconds(v->token.payload, "iat", &present, &iat);
    if (!failed(e) && !present && config->max_token_age_s > 0)
        e = fail(&identity_iat_missing);
    if (failed(e))
        return step(v, "iat", e, VIEW("a number of seconds"), nothing);
    if (!present) {
        skip(v, "iat");
        return OK;
    }
    if (iat > latest)
        return step(v, "iat", fail(&identity_issued_in_future),
                    time_text(v, "not after ", latest), time_text(v, "", iat));
    if (config->max_token_age_s > 0) {
        const int64_t oldest = v->now_s - config->leeway_s - config->max_token_age_s;
        if (iat <= oldest)
            return step(v, "iat", fail(&identity_too_old), time_text(v, "after ", oldest),
                        time_text(v, "", iat));
        if (iat + config->max_token_age_s < v->out->expires_at_s)
            v->out->expires_at_s = iat + config->max_token_age_s;
    }
    return step(v, "iat", OK, time_text(v, "not after ", latest), time_text(v, "", iat));
}

static err read_client(struct verification *v)
{
    err e = claims_client(&v->rule->config, v->token.payload, &v->out->client);

    if (!failed(e) && v->out->client.data == NULL) {
        skip(v, "client");
        return OK;
    }
    return step(v, "client", e, nothing, v->out->client);
}

/* In place of an audience: the client that the token was given to (Cognito's access tokens). */
static err check_client_for_audience(struct verification *v)
{
    const struct strings clients = v->rule->config.clients;
    const struct view client = v->out->client;
    err e = OK;

    if (clients.count == 0)
        e = fail(&identity_audience_missing);
    else if (client.data == NULL)
        e = fail(&identity_client_missing);
    else if (!strings_have(clients, client))
        e = fail(&identity_client_wrong);
    return step(v, "audience", e,
                list_text(v, clients.count > 0 ? clients : v->rule->config.audience), client);
}

/* RFC 7519 section 4.1.3: with an aud, one of its values must be ours. */
static err check_audience(struct verification *v)
{
    const struct issuer *config = &v->rule->config;
    const struct json_value *aud = json_get(v->token.payload, "aud");
    struct strings values;
    struct view use;

    if (aud == NULL)
        return check_client_for_audience(v);
    err e = aud->type == JSON_NULL ? fail(&identity_claim_malformed)
                                   : claims_strings(v->arena, aud, false, &values);
    if (failed(e))
        return step(v, "audience", e, VIEW("a string or an array of strings"), aud->raw);
    for (size_t i = 0; i < values.count; i++) {
        if (strings_have(config->audience, values.items[i]))
            return step(v, "audience", OK, nothing, values.items[i]);
    }
    /* The audience of Cognito's ID token is the client. */
    if (config->preset == PRESET_COGNITO && aud->type == JSON_STRING &&
        json_get_string(v->token.payload, "token_use", &use) && view_is(use, "id") &&
        strings_have(config->clients, aud->text))
        return step(v, "audience", OK, nothing, aud->text);
    return step(v, "audience", fail(&identity_audience_wrong), list_text(v, config->audience),
                aud->type == JSON_STRING ? aud->text : aud->raw);
}

/* RFC 8725 section 3.12: an ID token must not pass for an access token. */
static err check_token_use(struct verification *v)
{
    const struct issuer *config = &v->rule->config;
    struct view use = nothing;

    if (config->token_use.count == 0 && config->preset != PRESET_COGNITO) {
        skip(v, "token_use");
        return OK;
    }
    (void)json_get_string(v->token.payload, "token_use", &use);
    bool wanted = config->token_use.count > 0 ? strings_have(config->token_use, use)
                                              : view_is(use, "access");
    return step(v, "token_use", wanted ? OK : fail(&identity_token_use_wrong),
                config->token_use.count > 0 ? list_text(v, config->token_use) : VIEW("access"),
                use);
}

static err fill_principal(struct verification *v)
{
    const struct json_value *payload = v->token.payload;
    const struct issuer *config = &v->rule->config;
    struct principal *p = v->out;

    err e = claims_subject(payload, &p->subject);
    TRY(step(v, "subject", e, nothing, p->subject));
    e = claims_scopes(v->arena, config, payload, &p->scopes);
    TRY(step(v, "scopes", e, nothing, list_text(v, p->scopes)));
    e = claims_groups(v->arena, config, payload, &p->groups);
    TRY(step(v, "groups", e, nothing, list_text(v, p->groups)));
    if (config->consumer_claim.data != NULL) {
        e = claims_consumer(config, payload, &p->consumer_claim);
        TRY(step(v, "consumer", e, nothing, p->consumer_claim));
    }
    TRY(claims_all(v->arena, payload, &p->claims, &p->claim_count));
    p->issuer_name = arena_copy(v->arena, config->name);
    if (p->issuer_name.data == NULL)
        return fail(&fault_out_of_memory);
    p->issuer = json_get(payload, "iss")->text;
    p->method = VIEW("jwt");
    (void)json_get_string(payload, "jti", &p->token_id);
    return OK;
}

static err check_before_signature(struct verification *v, struct view text)
{
    struct token *t = &v->token;

    TRY(step(v, "form", token_split(v->arena, text, t), nothing, nothing));
    TRY(step(v, "header", token_read_header(v->arena, t), nothing, nothing));
    if (v->check != NULL)
        v->check->key_id = cut(t->kid);
    TRY(step(v, "typ", token_check_typ(t), VIEW("JWT, at+jwt or none"), t->typ));
    TRY(step(v, "payload", token_read_payload(v->arena, t), nothing, nothing));
    TRY(find_issuer(v));
    return check_alg(v);
}

static err check_all(struct verification *v, struct view text)
{
    TRY(check_before_signature(v, text));
    TRY(check_signature(v));
    TRY(check_exp(v));
    TRY(check_nbf(v));
    TRY(check_iat(v));
    TRY(check_token_use(v));
    TRY(read_client(v));
    TRY(check_audience(v));
    return fill_principal(v);
}

err identity_verify(struct identity *id, struct arena *arena, struct view token, int64_t now_s,
                    struct principal *out, struct token_check *check)
{
    struct verification v = {
        .id = id, .arena = arena, .check = check, .now_s = now_s, .out = out};

    *out = (struct principal){0};
    if (check != NULL)
        *check = (struct token_check){0};
    err e = check_all(&v, token);
    if (failed(e))
        *out = (struct principal){0};
    return e;
}

const char *check_result_text(enum check_result result)
{
    static const char *const texts[] = {"ok", "failed", "skipped"};

    return texts[result];
}
