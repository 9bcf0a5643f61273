/* Every refusal of a token, in the order of the check.  What a caller reads says what to do next
 * (another token, a fresher token), never which key or value would have been right. */
#include "identity/identity.h"

#define REFUSAL(word, operator_text, caller_text)                                                  \
    const struct fault identity_##word = {"identity_" #word, operator_text, caller_text, 401}

REFUSAL(token_too_large, "the token is longer than 16 KiB", "the token is too large");
REFUSAL(token_malformed, "the token is not three parts of canonical base64url",
        "the token is malformed");
REFUSAL(header_malformed, "the token's header is not the JSON object it must be",
        "the token is malformed");
REFUSAL(payload_malformed, "the token's payload is not a JSON object", "the token is malformed");
REFUSAL(typ_refused, "the token's typ is that of another kind of token",
        "the token is of the wrong kind");
REFUSAL(crit_refused, "the token demands an extension that is not known here",
        "the token is of the wrong kind");
REFUSAL(key_in_token, "the token's header names its own key (jwk, jku or x5u)",
        "the token is of the wrong kind");
REFUSAL(alg_refused, "the token's alg is not one that the issuer is configured for",
        "the token's algorithm is not accepted");
REFUSAL(alg_mismatch, "the key of the token's kid is not one for its alg",
        "the token's algorithm is not accepted");
REFUSAL(issuer_missing, "the token has no iss", "the token's issuer is not accepted");
REFUSAL(issuer_unknown, "no configured issuer has the token's iss",
        "the token's issuer is not accepted");
REFUSAL(unknown_key, "the issuer has no key of the token's kid",
        "the token's signature could not be verified");
REFUSAL(key_ambiguous, "the token has no kid and the issuer not exactly one key for its alg",
        "the token's signature could not be verified");
REFUSAL(signature_wrong, "the token's signature is wrong",
        "the token's signature could not be verified");
REFUSAL(time_malformed, "exp, nbf or iat is not a number of seconds", "the token is malformed");
REFUSAL(exp_missing, "the token has no exp", "the token does not expire");
REFUSAL(expired, "the token has expired", "the token has expired");
REFUSAL(not_yet_valid, "the token's nbf lies in the future", "the token is not valid yet");
REFUSAL(issued_in_future, "the token's iat lies in the future", "the token is not valid yet");
REFUSAL(iat_missing, "max_token_age is set and the token has no iat",
        "the token does not say when it was issued");
REFUSAL(too_old, "the token was issued longer ago than max_token_age", "the token has expired");
REFUSAL(audience_missing, "the token has no aud, and no clients are configured",
        "the token is not for this service");
REFUSAL(audience_wrong, "the token's aud is not one of those configured",
        "the token is not for this service");
REFUSAL(client_missing, "the token names neither aud nor client",
        "the token is not for this service");
REFUSAL(client_wrong, "the token's client is not one of those configured",
        "the token is not for this service");
REFUSAL(token_use_wrong, "the token's token_use is not one of those configured",
        "the token is of the wrong kind");
REFUSAL(subject_missing, "the token has no sub", "the token names no subject");
REFUSAL(subject_malformed, "the token's sub is too long or holds control characters",
        "the token's subject is malformed");
REFUSAL(claim_malformed, "aud, client, groups or scopes is not of the type it must be",
        "the token is malformed");

const struct fault identity_keys_unavailable = {
    "identity_keys_unavailable", "the issuer's keys have not been fetched yet",
    "the issuer's keys are not available", 503};
