/* Sessions of assumed roles together: chains, callers' tokens, places, pace, the end. */
#include "aws/sessions_internal.h"
#include "sessions_bed.h"

#define S(state) struct sts_bed *b = *(state)
#define assert_detail(b, part) assert_non_null(strstr((b)->detail, (part)))

/* ---- Chains ---- */

static void test_each_role_signs_for_the_next(void **state)
{
    S(state);
    const struct sts_tag tag = {VIEW("team"), VIEW("a"), false};
    struct aws_session_request r = sts_bed_request(b, 3, "alice");

    r.external_id = VIEW("ext");
    r.tags = &tag;
    r.tag_count = 1;
    sts_bed_begin(b, 0, 0);
    assert_int_equal(sts_bed_get(b, &r), AWS_WAIT);
    assert_int_equal(b->started, 1);
    assert_non_null(strstr(b->last_body, "role%2Ffirst&RoleSessionName=sallyport"));
    assert_non_null(strstr(b->last_headers, "Credential=AKIABASE/"));
    assert_null(strstr(b->last_body, "ExternalId"));
    assert_null(strstr(b->last_body, "Tags"));
    sts_bed_grant(b);
    assert_int_equal(b->started, 2);
    assert_non_null(strstr(b->last_body, "role%2Fsecond&RoleSessionName=sallyport"));
    assert_non_null(strstr(b->last_headers, "Credential=ASIA00000001/"));
    assert_non_null(strstr(b->last_headers, "x-amz-security-token: token1\n"));
    assert_null(strstr(b->last_body, "ExternalId"));
    assert_int_equal(sts_bed_get(b, &r), AWS_WAIT);
    sts_bed_grant(b);
    assert_int_equal(b->started, 3);
    assert_non_null(strstr(b->last_body, "role%2Fthird&RoleSessionName=alice"));
    assert_non_null(strstr(b->last_body, "&ExternalId=ext&Tags.member.1.Key=team"));
    assert_non_null(strstr(b->last_headers, "Credential=ASIA00000002/"));
    sts_bed_grant(b);
    assert_int_equal(sts_bed_get(b, &r), AWS_READY);
    assert_string_equal(b->credentials->access_key_id, "ASIA00000003");
    assert_string_equal(b->credentials->arn, "arn:aws:sts::123456789012:assumed-role/third/alice");
    assert_string_equal(b->credentials->source, "container+assume_role");
}

static void test_callers_share_the_roles_before_the_last(void **state)
{
    S(state);
    struct aws_session_request alice = sts_bed_request(b, 3, "alice");
    struct aws_session_request bob = sts_bed_request(b, 3, "bob");
    struct aws_session_request fixed = sts_bed_request(b, 2, AWS_SESSION_CHAIN_NAME);

    alice.max_sessions = bob.max_sessions = 10;
    sts_bed_begin(b, 0, 0);
    assert_false(failed(aws_sessions_pin(b->sessions, &fixed)));
    assert_int_equal(sts_bed_get(b, &alice), AWS_WAIT);
    assert_int_equal(sts_bed_get(b, &bob), AWS_WAIT);
    sts_bed_live(b, 1000, 10);
    assert_int_equal(b->started, 4); /* first, second, and third twice */
    assert_int_equal(sts_bed_get(b, &alice), AWS_READY);
    assert_int_equal(sts_bed_get(b, &bob), AWS_READY);
    assert_int_equal(sts_bed_counts(b).per_caller, 2);
    assert_int_equal(sts_bed_counts(b).pinned, 2);
    assert_int_equal(sts_bed_counts(b).cached, 4);
}

/* A day of a chain of three: never a moment without, and no more requests than it takes. */
static void test_a_chain_is_kept_for_a_day(void **state)
{
    S(state);
    const struct aws_session_request r = sts_bed_request(b, 3, "sallyport");

    sts_bed_begin(b, 0, 0);
    assert_false(failed(aws_sessions_pin(b->sessions, &r)));
    sts_bed_live(b, 1000, 20);
    for (int minute = 0; minute < 24 * 60; minute++) {
        assert_int_equal(sts_bed_get(b, &r), AWS_READY);
        sts_bed_live(b, 60 * 1000, 20);
    }
    assert_in_range(b->started, 3 * 36, 3 * 39);
}

static void test_a_failure_in_the_chain_is_told_by_all_after_it(void **state)
{
    S(state);
    const struct aws_session_request r = sts_bed_request(b, 3, "alice");
    struct aws_session_failure failure;
    size_t at = 0, count = 0;

    sts_bed_begin(b, 0, 0);
    assert_int_equal(sts_bed_get(b, &r), AWS_WAIT);
    sts_bed_refuse(b, 403, "AccessDenied", "not you");
    assert_int_equal(b->woken, 1);
    assert_int_equal(sts_bed_get(b, &r), AWS_FAILED);
    assert_true(is_fault(b->why, &aws_session_refused));
    assert_string_equal(b->detail, "STS, role arn:aws:iam::123456789012:role/first: status 403 "
                                   "AccessDenied: not you");
    while (aws_sessions_next_failure(b->sessions, &at, &failure))
        count++;
    assert_int_equal(count, 3);
    assert_int_equal(sts_bed_counts(b).failures, 1);
    sts_bed_run(b, 1001);
    assert_int_equal(sts_bed_get(b, &r), AWS_WAIT);
    sts_bed_live(b, 1000, 10);
    assert_int_equal(sts_bed_get(b, &r), AWS_READY);
    assert_int_equal(b->started, 4);
}

/* The first role's session has ended: the last one goes on serving, its refresh waits for it. */
static void test_a_signers_end_does_not_end_what_it_signed(void **state)
{
    S(state);
    const struct aws_session_request r = sts_bed_request(b, 2, "alice");

    sts_bed_begin(b, 0, 0);
    b->lifetime_s = 900;
    assert_int_equal(sts_bed_get(b, &r), AWS_WAIT);
    sts_bed_grant(b);
    b->lifetime_s = 3600;
    sts_bed_grant(b);
    assert_int_equal(sts_bed_get(b, &r), AWS_READY);
    sts_bed_run(b, 16 * 60 * 1000);
    while (!list_is_empty(&b->flights))
        sts_bed_refuse(b, 403, "AccessDenied", "no more");
    assert_int_equal(sts_bed_get(b, &r), AWS_READY);
    sts_bed_live(b, 25 * 60 * 1000, 10);
    assert_int_equal(sts_bed_get(b, &r), AWS_READY);
    assert_true(b->credentials->expiry_us > b->wall_us + INT64_C(50) * 60 * 1000000);
}

/* ---- The caller's own token ---- */

/* {"iss":"https://idp.example","aud":"shop","sub":"alice"}, and one without aud. */
#define ID_TOKEN                                                                                   \
    "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL2lkcC5leGFtcGxlIiwiYXVkIjoic2hvcCIsInN1YiI6ImFsaW"  \
    "NlIn0.c2ln"
/* {"iss":"https://idp.example","token_use":"access","sub":"alice"} */
#define ACCESS_TOKEN                                                                               \
    "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL2lkcC5leGFtcGxlIiwidG9rZW5fdXNlIjoiYWNjZXNzIiwic3"  \
    "ViIjoiYWxpY2UifQ.c2ln"
/* {"iss":"https://idp.example","aud":["a","b"],"azp":"client-1"} */
#define AZP_TOKEN                                                                                  \
    "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL2lkcC5leGFtcGxlIiwiYXVkIjpbImEiLCJiIl0sImF6cCI6Im"  \
    "NsaWVudC0xIn0.c2ln"

static const uint8_t alices_key[AWS_SESSION_KEY_BYTES] = {1};

static struct aws_session_request web_request(const struct sts_bed *b, size_t roles)
{
    struct aws_session_request r = sts_bed_request(b, roles, "alice");

    r.web_identity = true;
    r.web_identity_token = VIEW(ID_TOKEN);
    r.caller_key = alices_key;
    r.max_sessions = 10;
    return r;
}

static void test_the_callers_token(void **state)
{
    S(state);
    struct aws_session_request r = web_request(b, 1), without = r;

    without.web_identity_token = (struct view){NULL, 0};
    r.policy = VIEW("{}");
    without.policy = r.policy;
    sts_bed_begin(b, 0, 0);
    b->base_error = (err){&aws_no_source}; /* of no matter: nobody signs */
    assert_int_equal(sts_bed_get(b, &without), AWS_FAILED);
    assert_true(is_fault(b->why, &aws_session_no_token));
    assert_int_equal(sts_bed_get(b, &r), AWS_WAIT);
    assert_non_null(strstr(b->last_body, "Action=AssumeRoleWithWebIdentity&"));
    assert_non_null(strstr(b->last_body, "&WebIdentityToken=" ID_TOKEN));
    assert_non_null(strstr(b->last_body, "&Policy=%7B%7D"));
    assert_null(strstr(b->last_headers, "authorization"));
    sts_bed_grant(b);
    assert_int_equal(sts_bed_get(b, &without), AWS_READY);
    assert_string_equal(b->credentials->source, "caller_token");
    assert_int_equal(sts_bed_get(b, &r), AWS_READY);
    /* Never refreshed but by a call with a token. */
    sts_bed_run(b, 55 * 60 * 1000);
    assert_int_equal(b->started, 1);
    assert_int_equal(sts_bed_get(b, &without), AWS_READY);
    assert_int_equal(b->started, 1);
    assert_int_equal(sts_bed_get(b, &r), AWS_READY);
    assert_int_equal(b->started, 2);
    sts_bed_grant(b);
    sts_bed_run(b, 61 * 60 * 1000);
    assert_int_equal(sts_bed_counts(b).per_caller, 0);
}

static void test_a_chain_from_the_callers_token(void **state)
{
    S(state);
    struct aws_session_request r = web_request(b, 2), other = r;
    static const uint8_t bobs_key[AWS_SESSION_KEY_BYTES] = {2};

    r.source_identity = VIEW("alice");
    other.caller_key = bobs_key;
    sts_bed_begin(b, 0, 0);
    assert_int_equal(sts_bed_get(b, &r), AWS_WAIT);
    assert_non_null(strstr(b->last_body, "Action=AssumeRoleWithWebIdentity&"));
    assert_non_null(strstr(b->last_body, "role%2Ffirst&RoleSessionName=alice"));
    assert_null(strstr(b->last_body, "SourceIdentity"));
    assert_int_equal(sts_bed_get(b, &other), AWS_WAIT);
    assert_int_equal(b->started, 2); /* the first role's session is the caller's too */
    sts_bed_grant(b);
    assert_non_null(strstr(b->last_body, "Action=AssumeRole&"));
    assert_non_null(strstr(b->last_body, "role%2Fsecond&RoleSessionName=alice"));
    assert_non_null(strstr(b->last_body, "SourceIdentity=alice"));
    assert_non_null(strstr(b->last_headers, "Credential=ASIA00000001/"));
    sts_bed_grant_all(b);
    assert_int_equal(sts_bed_get(b, &r), AWS_READY);
    assert_string_equal(b->credentials->source, "caller_token+assume_role");
    assert_int_equal(sts_bed_get(b, &other), AWS_READY);
    assert_int_equal(sts_bed_counts(b).per_caller, 4);
}

static void refuse_token(struct sts_bed *b, const char *token, const char *code)
{
    struct aws_session_request r = web_request(b, 1);

    r.web_identity_token = view_str(token);
    while (sts_bed_get(b, &r) != AWS_WAIT)
        sts_bed_run(b, 100);
    sts_bed_refuse(b, 400, code, "so it is");
    assert_int_equal(sts_bed_get(b, &r), AWS_FAILED);
    assert_true(is_fault(b->why, &aws_session_token_refused));
    assert_detail(b, "so it is (");
}

static void test_why_a_token_does_not_qualify(void **state)
{
    S(state);

    sts_bed_begin(b, 0, 0);
    refuse_token(b, ID_TOKEN, "InvalidIdentityToken");
    assert_detail(b, "of the issuer https://idp.example with the audience (aud) shop: IAM must");
    refuse_token(b, ACCESS_TOKEN, "InvalidIdentityToken");
    assert_detail(b, "has no audience (aud): it is an access token, no ID token, and STS");
    assert_detail(b, "OIDC provider for https://idp.example in IAM");
    refuse_token(b, AZP_TOKEN, "InvalidIdentityToken");
    assert_detail(b, "with the audience (azp) client-1: IAM must");
    refuse_token(b, "opaque", "InvalidIdentityToken");
    assert_detail(b, "no JSON Web Token");
    refuse_token(b, ID_TOKEN, "ExpiredTokenException");
    assert_detail(b, "the caller's token has ended for STS");
    refuse_token(b, ID_TOKEN, "IDPRejectedClaim");
    assert_detail(b, "revoked");
    refuse_token(b, ID_TOKEN, "AccessDenied");
    assert_detail(b, "must allow sts:AssumeRoleWithWebIdentity to the issuer's OIDC provider");
}

/* The issuer cannot be reached by STS: that passes, and the token is sent again. */
static void test_a_token_is_sent_again_when_that_may_help(void **state)
{
    S(state);
    struct aws_session_request r = web_request(b, 1), without = r;

    without.web_identity_token = (struct view){NULL, 0};
    sts_bed_begin(b, 0, 0);
    assert_int_equal(sts_bed_get(b, &r), AWS_WAIT);
    sts_bed_refuse(b, 400, "IDPCommunicationError", "no answer");
    assert_int_equal(sts_bed_get(b, &without), AWS_WAIT);
    sts_bed_run(b, 1001);
    assert_int_equal(b->started, 2);
    assert_non_null(strstr(b->last_body, "&WebIdentityToken=" ID_TOKEN));
    sts_bed_grant(b);
    assert_int_equal(sts_bed_get(b, &without), AWS_READY);
}

static size_t token_bytes_kept(struct aws_sessions *s)
{
    size_t at = 0, bytes = 0;

    for (struct aws_session *a; (a = map_next(&s->sessions, &at)) != NULL;)
        bytes += a->web_token.len;
    return bytes;
}

/* Neither after an answer nor where no attempt may be made: it is a secret, and may end soon. */
static void test_a_token_is_kept_only_while_it_has_to_be_sent(void **state)
{
    S(state);

    sts_bed_begin(b, 0, 0);
    for (size_t roles = 1; roles <= 2; roles++) {
        struct aws_session_request r = web_request(b, roles);
        r.policy = VIEW("{}"); /* of the last role */
        assert_int_equal(sts_bed_get(b, &r), AWS_WAIT);
        if (roles == 1)
            assert_true(token_bytes_kept(b->sessions) > 0);
        sts_bed_refuse(b, 400, "InvalidIdentityToken", "no");
        assert_int_equal(token_bytes_kept(b->sessions), 0);
        assert_int_equal(sts_bed_get(b, &r), AWS_FAILED);
        assert_int_equal(token_bytes_kept(b->sessions), 0);
        sts_bed_run(b, 60 * 1000);
        assert_int_equal(sts_bed_get(b, &r), AWS_WAIT);
        for (size_t i = 0; i < roles; i++)
            sts_bed_grant(b);
        assert_int_equal(sts_bed_get(b, &r), AWS_READY);
        assert_int_equal(token_bytes_kept(b->sessions), 0);
        /* Its refresh, the first role's session being due too but serving. */
        sts_bed_run(b, 55 * 60 * 1000);
        assert_int_equal(sts_bed_get(b, &r), AWS_READY);
        sts_bed_grant_all(b);
        assert_int_equal(token_bytes_kept(b->sessions), 0);
    }
}

/* ---- Places ---- */

static struct aws_session_request caller_request(const struct sts_bed *b, unsigned caller,
                                                 char name[16], size_t max)
{
    snprintf(name, 16, "caller-%u", caller);
    struct aws_session_request r = sts_bed_request(b, 1, name);
    r.max_sessions = max;
    return r;
}

static enum aws_ready ask(struct sts_bed *b, unsigned caller, size_t max)
{
    char name[16];
    const struct aws_session_request r = caller_request(b, caller, name, max);

    return sts_bed_get(b, &r);
}

/* Each of them is asked for once, in order, by so many at once. */
static void serve_all(struct sts_bed *b, unsigned from, unsigned to, size_t max, unsigned at_once)
{
    unsigned next = from;

    while (next < to) {
        unsigned end = next + at_once < to ? next + at_once : to;
        for (unsigned i = next; i < end; i++)
            (void)ask(b, i, max);
        for (unsigned i = next; i < end; i++) {
            while (ask(b, i, max) != AWS_READY)
                sts_bed_live(b, 20, 10);
        }
        next = end;
    }
}

static void test_ten_thousand_callers_and_a_thousand_places(void **state)
{
    enum { CALLERS = 10000, PLACES = 1000 };
    S(state);

    sts_bed_begin(b, 2000, 0); /* so that all of it takes less than the time to a refresh */
    serve_all(b, 0, CALLERS, PLACES, 16);
    assert_int_equal(b->started, CALLERS);
    struct aws_sessions_counts counts = sts_bed_counts(b);
    assert_int_equal(counts.per_caller, PLACES);
    assert_int_equal(counts.cached, PLACES);
    assert_int_equal(counts.max, PLACES);
    assert_int_equal(counts.evictions, CALLERS - PLACES);
    assert_int_equal(counts.assumed, CALLERS);
    assert_int_equal(counts.waiting, 0);
    assert_int_equal(b->most_flying, AWS_SESSIONS_IN_FLIGHT);

    /* The latest thousand are there; the first is asked for again, so the next goes instead. */
    for (unsigned i = CALLERS - PLACES; i < CALLERS; i++)
        assert_int_equal(ask(b, i, PLACES), AWS_READY);
    assert_int_equal(b->started, CALLERS);
    assert_int_equal(ask(b, CALLERS - PLACES, PLACES), AWS_READY);
    serve_all(b, 0, 1, PLACES, 1);
    assert_int_equal(b->started, CALLERS + 1);
    assert_int_equal(ask(b, CALLERS - PLACES, PLACES), AWS_READY);
    assert_int_equal(b->started, CALLERS + 1);
    assert_int_equal(ask(b, CALLERS - PLACES + 2, PLACES), AWS_READY);
    assert_int_equal(b->started, CALLERS + 1);
    assert_int_equal(ask(b, CALLERS - PLACES + 1, PLACES), AWS_WAIT);
    assert_int_equal(b->started, CALLERS + 2);
    assert_int_equal(sts_bed_counts(b).per_caller, PLACES);
}

/* All at once: a thousand find a place, the others wait without one, and all are served. */
static void test_more_wait_than_there_are_places(void **state)
{
    enum { CALLERS = 500, PLACES = 20 };
    S(state);
    bool done[CALLERS] = {false};
    unsigned left = CALLERS, rounds = 0;

    sts_bed_begin(b, 1000, 0);
    while (left > 0) {
        unsigned woken = b->woken;
        for (unsigned i = 0; i < CALLERS; i++) {
            if (!done[i] && ask(b, i, PLACES) == AWS_READY) {
                done[i] = true;
                left--;
            }
            assert_true(sts_bed_counts(b).per_caller <= PLACES);
        }
        while (left > 0 && b->woken == woken)
            sts_bed_live(b, 10, 10);
        assert_true(++rounds < 10 * CALLERS);
    }
    assert_int_equal(b->started, CALLERS);
    assert_int_equal(sts_bed_counts(b).evictions, CALLERS - PLACES);
}

static void test_who_is_waited_for_stays(void **state)
{
    S(state);

    sts_bed_begin(b, 0, 0);
    assert_int_equal(ask(b, 0, 2), AWS_WAIT);
    assert_int_equal(ask(b, 1, 2), AWS_WAIT);
    assert_int_equal(ask(b, 2, 2), AWS_WAIT);
    assert_int_equal(b->started, 2);
    assert_int_equal(sts_bed_counts(b).per_caller, 2);
    sts_bed_grant(b);
    assert_int_equal(ask(b, 2, 2), AWS_WAIT); /* it came, but is not collected */
    assert_int_equal(b->started, 2);
    assert_int_equal(ask(b, 0, 2), AWS_READY);
    assert_true(aws_sessions_next_ms(b->sessions) <= sts_bed_now_ms(b)); /* there is news */
    unsigned woken = b->woken;
    aws_sessions_tick(b->sessions);
    assert_int_equal(b->woken, woken + 1);
    assert_int_equal(ask(b, 2, 2), AWS_WAIT);
    assert_int_equal(b->started, 3);
    assert_int_equal(sts_bed_counts(b).evictions, 1);
    assert_int_equal(sts_bed_counts(b).per_caller, 2);
    sts_bed_grant_all(b);
    assert_int_equal(ask(b, 1, 2), AWS_READY);
    assert_int_equal(ask(b, 2, 2), AWS_READY);
}

/* Whoever waited and never came back does not keep the place for ever. */
static void test_who_left_loses_the_place(void **state)
{
    S(state);

    sts_bed_begin(b, 0, 0);
    assert_int_equal(ask(b, 0, 1), AWS_WAIT);
    sts_bed_grant(b);
    assert_int_equal(ask(b, 1, 1), AWS_WAIT);
    sts_bed_run(b, 29 * 1000);
    assert_int_equal(ask(b, 1, 1), AWS_WAIT);
    assert_int_equal(b->started, 1);
    unsigned woken = b->woken;
    sts_bed_run(b, 4 * 1000);
    assert_true(b->woken > woken);
    assert_int_equal(ask(b, 1, 1), AWS_WAIT);
    assert_int_equal(b->started, 2);
}

/* A refresh that nobody waits for: its answer must find the session where it was. */
static void test_who_flies_stays(void **state)
{
    S(state);

    sts_bed_begin(b, 0, 0);
    assert_int_equal(ask(b, 0, 1), AWS_WAIT);
    sts_bed_grant(b);
    sts_bed_run(b, 50 * 60 * 1000);
    assert_int_equal(ask(b, 0, 1), AWS_READY);
    assert_int_equal(b->started, 2);
    assert_int_equal(ask(b, 1, 1), AWS_WAIT);
    assert_int_equal(sts_bed_counts(b).evictions, 0);
    assert_int_equal(b->started, 2);
    sts_bed_grant(b);
    assert_int_equal(ask(b, 1, 1), AWS_WAIT);
    assert_int_equal(sts_bed_counts(b).evictions, 1);
    assert_int_equal(b->started, 3);
}

static void test_held_stays(void **state)
{
    S(state);
    char name[16];
    const struct aws_session_request r = caller_request(b, 0, name, 1);
    const struct aws_credentials *credentials;

    sts_bed_begin(b, 0, 0);
    assert_null(aws_sessions_hold(b->sessions, &r));
    assert_int_equal(ask(b, 0, 1), AWS_WAIT);
    struct aws_session *held = aws_sessions_hold(b->sessions, &r);
    assert_non_null(held);
    assert_true(is_fault(aws_session_credentials(b->sessions, held, &credentials),
                         &aws_credentials_waiting));
    sts_bed_grant(b);
    assert_int_equal(ask(b, 0, 1), AWS_READY);
    assert_int_equal(ask(b, 1, 1), AWS_WAIT);
    assert_int_equal(b->started, 1);
    assert_false(failed(aws_session_credentials(b->sessions, held, &credentials)));
    assert_string_equal(credentials->access_key_id, "ASIA00000001");
    sts_bed_run(b, 3601 * 1000); /* nor does its end take it away */
    while (!list_is_empty(&b->flights))
        sts_bed_refuse(b, 403, "AccessDenied", "no");
    assert_true(failed(aws_session_credentials(b->sessions, held, &credentials)));
    aws_sessions_release(b->sessions, held);
    assert_int_equal(ask(b, 1, 1), AWS_WAIT);
    assert_int_equal(sts_bed_counts(b).evictions, 1);
    sts_bed_grant(b);
    assert_int_equal(ask(b, 1, 1), AWS_READY);
    aws_sessions_release(b->sessions, NULL);
}

/* With the caller's own token every role of the chain is the caller's: a full family of signers,
 * each with somebody to sign for, must not keep a newcomer out until one of them ends. */
static void test_places_of_a_chain_from_the_callers_token(void **state)
{
    enum { CALLERS = 8, PLACES = 2 };
    S(state);
    uint8_t keys[CALLERS][AWS_SESSION_KEY_BYTES] = {{0}};

    sts_bed_begin(b, 0, 0);
    for (unsigned i = 0; i < CALLERS; i++) {
        struct aws_session_request r = web_request(b, 2 + i % 2);
        keys[i][0] = (uint8_t)i;
        r.caller_key = keys[i];
        r.max_sessions = PLACES;
        assert_int_equal(sts_bed_get(b, &r), AWS_WAIT);
        sts_bed_live(b, 500, 10);
        assert_int_equal(sts_bed_get(b, &r), AWS_READY);
    }
    /* Two families of last roles; each has its places, and a signer for each at most. */
    struct aws_sessions_counts counts = sts_bed_counts(b);
    assert_true(counts.evictions >= CALLERS - 2 * PLACES);
    assert_in_range(counts.per_caller, 2 * PLACES, 5 * PLACES + 3);
}

/* One family's callers do not take another's places. */
static void test_families_have_places_of_their_own(void **state)
{
    S(state);
    char name[16];
    struct aws_session_request other = caller_request(b, 0, name, 3);

    sts_bed_begin(b, 1000, 100);
    other.external_id = VIEW("other");
    assert_int_equal(sts_bed_get(b, &other), AWS_WAIT);
    sts_bed_grant(b);
    assert_int_equal(sts_bed_get(b, &other), AWS_READY);
    serve_all(b, 0, 50, 2, 2);
    unsigned before = b->started;
    assert_int_equal(sts_bed_get(b, &other), AWS_READY);
    assert_int_equal(b->started, before);
    assert_int_equal(sts_bed_counts(b).max, 5);
    assert_int_equal(sts_bed_counts(b).per_caller, 3);
}

/* ---- Pace ---- */

static void test_so_many_a_second_and_at_once(void **state)
{
    S(state);
    unsigned last = 0;

    sts_bed_begin(b, 50, 16);
    for (unsigned i = 0; i < 400; i++)
        assert_int_equal(ask(b, i, 1000), AWS_WAIT);
    assert_int_equal(b->started, 16);
    sts_bed_run(b, 5000);
    assert_int_equal(b->started, 16); /* none came back */
    assert_int_equal(sts_bed_counts(b).waiting, 400);
    sts_bed_grant_all(b);
    for (unsigned second = 0; b->minted < 400; second++) {
        last = b->started;
        sts_bed_live(b, 1000, 50);
        assert_true(b->started - last <= 50 + 16);
        assert_true(b->minted == 400 || b->started - last >= 49);
        assert_true(second < 9);
    }
    assert_int_equal(b->most_flying, 16);
}

static void test_throttling_slows_the_pace_and_good_answers_raise_it(void **state)
{
    S(state);

    sts_bed_begin(b, 40, 8);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(ask(b, i, 1000), AWS_WAIT);
    assert_int_equal(b->started, 8);
    while (!list_is_empty(&b->flights)) /* one burst of them counts once */
        sts_bed_refuse(b, 400, "Throttling", "Rate exceeded");
    assert_int_equal(sts_bed_counts(b).per_second, 20);
    assert_int_equal(sts_bed_counts(b).throttled, 8);
    assert_int_equal(ask(b, 0, 1000), AWS_WAIT); /* not told: it is tried again */
    for (unsigned second = 0; ask(b, 0, 1000) != AWS_FAILED; second++) {
        sts_bed_run(b, 1001);
        while (!list_is_empty(&b->flights))
            sts_bed_refuse(b, 429, "TooManyRequestsException", "Rate exceeded");
        assert_true(second < 20);
    }
    assert_in_range(sts_bed_counts(b).per_second, 1, 10);
    assert_true(is_fault(b->why, &aws_session_throttled));
    unsigned slow = sts_bed_counts(b).per_second;
    for (unsigned i = 100; i < 900; i++)
        assert_int_equal(ask(b, i, 1000), AWS_WAIT);
    unsigned before = b->started;
    sts_bed_live(b, 1000, 5);
    assert_true(b->started - before <= slow + 8);
    sts_bed_live(b, 12 * 1000, 5);
    assert_int_equal(sts_bed_counts(b).per_second, 40);
}

/* Pinned sessions go before those of callers who came earlier. */
static void test_what_all_need_goes_first(void **state)
{
    S(state);
    const struct aws_session_request fixed = sts_bed_request(b, 1, "sallyport");

    sts_bed_begin(b, 10, 1);
    for (unsigned i = 0; i < 50; i++)
        assert_int_equal(ask(b, i, 1000), AWS_WAIT);
    assert_false(failed(aws_sessions_pin(b->sessions, &fixed)));
    sts_bed_grant(b);
    sts_bed_run(b, 100);
    assert_int_equal(b->started, 2);
    assert_non_null(strstr(b->last_body, "RoleSessionName=sallyport"));
}

/* ---- The end ---- */

static void test_the_end_with_requests_under_way(void **state)
{
    S(state);
    const struct aws_session_request chain = sts_bed_request(b, 3, "alice");
    struct aws_session_request web = web_request(b, 1);

    sts_bed_begin(b, 0, 0);
    assert_int_equal(sts_bed_get(b, &chain), AWS_WAIT);
    assert_int_equal(sts_bed_get(b, &web), AWS_WAIT);
    for (unsigned i = 0; i < 30; i++)
        assert_int_equal(ask(b, i, 1000), AWS_WAIT);
    assert_int_equal(b->flying, 16);
    unsigned woken = b->woken;
    aws_sessions_free(b->sessions);
    b->sessions = NULL;
    sts_bed_grant(b);
    sts_bed_lose(b);
    sts_bed_end(b); /* the others */
    assert_int_equal(b->woken, woken);
    assert_int_equal(b->started, 16);
    aws_sessions_free(NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, sts_bed_open, sts_bed_close)
    const struct CMUnitTest tests[] = {
        TEST(test_each_role_signs_for_the_next),
        TEST(test_callers_share_the_roles_before_the_last),
        TEST(test_a_chain_is_kept_for_a_day),
        TEST(test_a_failure_in_the_chain_is_told_by_all_after_it),
        TEST(test_a_signers_end_does_not_end_what_it_signed),
        TEST(test_the_callers_token),
        TEST(test_a_chain_from_the_callers_token),
        TEST(test_why_a_token_does_not_qualify),
        TEST(test_a_token_is_sent_again_when_that_may_help),
        TEST(test_a_token_is_kept_only_while_it_has_to_be_sent),
        TEST(test_ten_thousand_callers_and_a_thousand_places),
        TEST(test_more_wait_than_there_are_places),
        TEST(test_who_is_waited_for_stays),
        TEST(test_who_left_loses_the_place),
        TEST(test_who_flies_stays),
        TEST(test_held_stays),
        TEST(test_places_of_a_chain_from_the_callers_token),
        TEST(test_families_have_places_of_their_own),
        TEST(test_so_many_a_second_and_at_once),
        TEST(test_throttling_slows_the_pace_and_good_answers_raise_it),
        TEST(test_what_all_need_goes_first),
        TEST(test_the_end_with_requests_under_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
