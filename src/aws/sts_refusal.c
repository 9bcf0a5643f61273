/* What STS says when it refuses, and what may be done about it. */
#include <stdio.h>

#include "aws/sts.h"
#include "aws/xml.h"
#include "base/log.h"
#include "crypto/base64.h"
#include "json/json.h"

enum { ARENA_MAX = 1024 * 1024, SHOWN_MAX = 120 };

static void make_printable(char *text)
{
    for (char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = ' ';
    }
}

/* The Error of an ErrorResponse; NULL when the body is none. */
static const struct xml_element *error_of(struct view body, struct arena *arena)
{
    const struct xml_element *root;

    if (failed(xml_parse(arena, body, &root)) || !view_is(root->name, "ErrorResponse"))
        return NULL;
    return xml_child(root, "Error");
}

void sts_describe_error(struct view body, char *out, size_t size)
{
    struct arena arena;

    out[0] = '\0';
    arena_init(&arena, 4 * 1024, ARENA_MAX);
    const struct xml_element *error = error_of(body, &arena);
    if (error != NULL) {
        struct view code = xml_child_text(error, "Code"), text = xml_child_text(error, "Message");
        snprintf(out, size, "%.*s%s%.*s", VIEW_ARG(code), text.len > 0 ? ": " : "",
                 VIEW_ARG(text));
    }
    arena_clear(&arena);
    make_printable(out);
}

void sts_error_code(struct view body, char out[STS_ERROR_CODE_MAX + 1])
{
    struct arena arena;

    out[0] = '\0';
    arena_init(&arena, 4 * 1024, ARENA_MAX);
    const struct xml_element *error = error_of(body, &arena);
    if (error != NULL)
        snprintf(out, STS_ERROR_CODE_MAX + 1, "%.*s", VIEW_ARG(xml_child_text(error, "Code")));
    arena_clear(&arena);
    make_printable(out);
}

static bool is_one_of(const char *code, const char *const *codes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(code, codes[i]) == 0)
            return true;
    }
    return false;
}

/* The codes are those that botocore's standard retries count as throttling and as passing
 * (retries/standard.py), and what the model of STS marks as worth another try. */
enum sts_failure sts_failure_of(int status, const char *code)
{
    static const char *const throttling[] = {
        "Throttling", "ThrottlingException", "ThrottledException", "RequestThrottledException",
        "RequestThrottled", "TooManyRequestsException", "RequestLimitExceeded",
        "BandwidthLimitExceeded", "LimitExceededException", "SlowDown",
    };
    static const char *const passing[] = {
        "RequestTimeout", "RequestTimeoutException", "PriorRequestNotComplete",
        "IDPCommunicationError", "InternalFailure", "InternalError", "ServiceUnavailable",
    };

    if (status == 429 || is_one_of(code, throttling, COUNT_OF(throttling)))
        return STS_THROTTLED;
    if (status >= 500 || is_one_of(code, passing, COUNT_OF(passing)))
        return STS_PASSING;
    return STS_FAILED;
}

/* ---- Hints ---- */

static void hint_of_denial(const struct sts_call *call, char *out, size_t size)
{
    const bool tags = call->tag_count > 0, source = call->source_identity.len > 0;

    if (call->action == STS_ASSUME_ROLE_WITH_WEB_IDENTITY)
        snprintf(out, size, "the role's trust policy must allow sts:AssumeRoleWithWebIdentity to "
                 "the issuer's OIDC provider, and its conditions on aud and sub must hold for "
                 "this token");
    else if (tags || source)
        snprintf(out, size, "the role's trust policy, and a policy of who assumes it, must allow "
                 "%s%s%s too, which the session's %s for",
                 source ? "sts:SetSourceIdentity" : "", source && tags ? " and " : "",
                 tags ? "sts:TagSession" : "",
                 source && tags ? "source identity and tags ask"
                 : source       ? "source identity asks"
                                : "tags ask");
}

/* The claims of a JSON Web Token, unverified: for a message only. */
static const struct json_value *claims_of(struct view token, struct arena *arena)
{
    struct view header, payload;
    const struct json_value *claims = NULL;
    size_t len;

    view_cut(view_cut(token, '.', &header), '.', &payload);
    uint8_t *text = payload.len > 0 ? arena_alloc(arena, payload.len) : NULL;
    if (text == NULL || !base64url_decode(payload, text, payload.len, &len) ||
        failed(json_parse(arena, view_of(text, len), NULL, &claims, NULL)) ||
        !json_is(claims, JSON_OBJECT))
        return NULL;
    return claims;
}

/* A claim's text, or a list's first; cut. */
static struct view shown(const struct json_value *claims, const char *name)
{
    const struct json_value *claim = json_get(claims, name);

    if (json_is(claim, JSON_ARRAY))
        claim = claim->first;
    return json_is(claim, JSON_STRING) ? view_upto(claim->text, SHOWN_MAX)
                                       : (struct view){NULL, 0};
}

/* With azp in the token STS takes that for the audience ("Available keys for AWS OIDC federation":
 * aud is azp, oaud is aud). */
static void hint_of_token(const struct sts_call *call, char *out, size_t size)
{
    struct arena arena;

    arena_init(&arena, 32 * 1024, ARENA_MAX);
    const struct json_value *claims = claims_of(call->web_identity_token, &arena);
    struct view iss = shown(claims, "iss"), aud = shown(claims, "aud"), azp = shown(claims, "azp");
    if (claims == NULL)
        snprintf(out, size, "the caller's token is no JSON Web Token with claims that can be read");
    else if (aud.len == 0 && azp.len == 0)
        snprintf(out, size, "the caller's token has no audience (aud): %s, and STS takes a token "
                 "whose audience is registered with the OIDC provider for %.*s in IAM, as an ID "
                 "token's is", view_is(shown(claims, "token_use"), "access")
                 ? "it is an access token, no ID token" : "it is no ID token", VIEW_ARG(iss));
    else
        snprintf(out, size, "the caller's token is of the issuer %.*s with the audience (%s) "
                 "%.*s: IAM must have an OIDC provider of that issuer with that audience, and an "
                 "access token often has another audience than an ID token", VIEW_ARG(iss),
                 azp.len > 0 ? "azp" : "aud", VIEW_ARG(azp.len > 0 ? azp : aud));
    arena_clear(&arena);
}

void sts_hint(const struct sts_call *call, const char *code, char *out, size_t size)
{
    const bool web = call->action == STS_ASSUME_ROLE_WITH_WEB_IDENTITY;

    out[0] = '\0';
    if (strcmp(code, "AccessDenied") == 0)
        hint_of_denial(call, out, size);
    else if (web && strcmp(code, "InvalidIdentityToken") == 0)
        hint_of_token(call, out, size);
    else if (web && (strcmp(code, "ExpiredTokenException") == 0 ||
                     strcmp(code, "ExpiredToken") == 0))
        snprintf(out, size, "the caller's token has ended for STS: the caller needs a new one");
    else if (web && strcmp(code, "IDPRejectedClaim") == 0)
        snprintf(out, size, "the issuer says that the caller's token is invalid, has ended or was "
                 "revoked");
    else if (strcmp(code, "SignatureDoesNotMatch") == 0 || strcmp(code, "RequestExpired") == 0)
        snprintf(out, size, "is this host's clock right, and does the endpoint fit the region?");
    make_printable(out);
}
