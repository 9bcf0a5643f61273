/* Sessions of assumed roles, one by one: what is asked, shared, refreshed, told. */
#include "sessions_bed.h"

#define S(state) struct sts_bed *b = *(state)

#define assert_asked(b, part) assert_non_null(strstr((b)->last_body, (part)))
#define assert_detail(b, part) assert_non_null(strstr((b)->detail, (part)))

/* A fixed session, obtained. */
static struct aws_session_request served(struct sts_bed *b, const char *name)
{
    const struct aws_session_request r = sts_bed_request(b, 1, name);

    assert_int_equal(sts_bed_get(b, &r), AWS_WAIT);
    sts_bed_grant(b);
    assert_int_equal(sts_bed_get(b, &r), AWS_READY);
    return r;
}

static void test_first_time(void **state)
{
    S(state);
    const struct aws_session_request r = sts_bed_request(b, 1, "alice");

    sts_bed_begin(b, 0, 0);
    assert_int_equal(sts_bed_get(b, &r), AWS_WAIT);
    assert_null(b->credentials);
    assert_int_equal(b->started, 1);
    assert_string_equal(b->last_url, "https://sts.eu-west-1.amazonaws.com/");
    assert_asked(b, "Action=AssumeRole&");
    assert_asked(b, "&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Ffirst");
    assert_asked(b, "&RoleSessionName=alice");
    assert_non_null(strstr(b->last_headers, "Credential=AKIABASE/20260102/eu-west-1/sts/"));
    assert_int_equal(b->woken, 0);
    sts_bed_grant(b);
    assert_int_equal(b->woken, 1);
    assert_int_equal(sts_bed_get(b, &r), AWS_READY);
    assert_string_equal(b->credentials->access_key_id, "ASIA00000001");
    assert_true(view_is(secret_view(&b->credentials->session_token), "token1"));
    assert_string_equal(b->credentials->source, "container+assume_role");
    assert_string_equal(b->credentials->arn,
                        "arn:aws:sts::123456789012:assumed-role/first/alice");
    assert_int_equal(b->credentials->expiry_us, b->wall_us + INT64_C(3600000000));
}

static void test_many_ask_and_one_request_goes(void **state)
{
    S(state);
    const struct aws_session_request r = sts_bed_request(b, 1, "alice");

    sts_bed_begin(b, 0, 0);
    for (int i = 0; i < 100; i++)
        assert_int_equal(sts_bed_get(b, &r), AWS_WAIT);
    assert_int_equal(b->started, 1);
    assert_int_equal(sts_bed_counts(b).waiting, 1);
    sts_bed_grant(b);
    for (int i = 0; i < 100; i++)
        assert_int_equal(sts_bed_get(b, &r), AWS_READY);
    assert_int_equal(b->started, 1);
    assert_int_equal(sts_bed_counts(b).waiting, 0);
}

/* Everything that AssumeRole is asked with tells sessions apart. */
static void test_what_tells_sessions_apart(void **state)
{
    S(state);
    const struct aws_session_request r = sts_bed_request(b, 1, "alice");
    const struct sts_endpoint other_place = {.url = VIEW("https://sts.us-east-1.amazonaws.com/"),
                                             .host = VIEW("sts.us-east-1.amazonaws.com"),
                                             .path = VIEW("/"),
                                             .signing_region = VIEW("us-east-1")};
    const struct view arn = VIEW("arn:aws:iam::aws:policy/ReadOnlyAccess");
    const struct sts_tag tags[] = {{VIEW("team"), VIEW("a"), false},
                                   {VIEW("team"), VIEW("b"), false},
                                   {VIEW("team"), VIEW("a"), true},
                                   {VIEW("tea"), VIEW("ma"), false},
                                   {VIEW("meat"), VIEW("a"), false}};
    struct sts_endpoint other_url = b->endpoint, other_region = b->endpoint;
    static const uint8_t keys[2][AWS_SESSION_KEY_BYTES] = {{1}, {2}};
    struct aws_session_request all[18];
    size_t n = 0;

    other_url.url = VIEW("https://sts.eu-west-1.amazonaws.com/sts");
    other_region.signing_region = VIEW("eu-west-2");

    for (size_t i = 0; i < COUNT_OF(all); i++)
        all[i] = r;
    all[n++].session_name = VIEW("alicE");
    all[n++].source_identity = VIEW("alice");
    all[n++].source_identity = VIEW("");
    all[n++].external_id = VIEW("abc");
    all[n++].policy = VIEW("{}");
    all[n++].duration_s = 900;
    all[n].policy_arns = &arn;
    all[n++].policy_arn_count = 1;
    for (size_t i = 0; i < COUNT_OF(tags); i++) {
        all[n].tags = &tags[i];
        all[n++].tag_count = 1;
    }
    all[n++].endpoint = &other_place;
    all[n++].endpoint = &other_url;
    all[n++].endpoint = &other_region;
    all[n++].ca_file = VIEW("/etc/ca.pem");
    all[n++].caller_key = keys[0];
    all[n++].caller_key = keys[1];
    assert_int_equal(n, COUNT_OF(all));
    sts_bed_begin(b, 1000, 100);
    assert_int_equal(sts_bed_get(b, &r), AWS_WAIT);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(sts_bed_get(b, &all[i]), AWS_WAIT);
        assert_int_equal(b->started, i + 2);
    }
    for (size_t i = 0; i < n; i++)
        assert_int_equal(sts_bed_get(b, &all[i]), AWS_WAIT);
    assert_int_equal(b->started, n + 1);
}

static void test_all_that_is_asked(void **state)
{
    S(state);
    const struct view arns[] = {VIEW("arn:aws:iam::aws:policy/A"),
                                VIEW("arn:aws:iam::aws:policy/B")};
    const struct sts_tag tags[] = {{VIEW("team"), VIEW("a b"), true},
                                   {VIEW("empty"), VIEW(""), false},
                                   {VIEW("who"), VIEW("alice@x"), true}};
    struct aws_session_request r = sts_bed_request(b, 1, "alice@example.com");

    r.source_identity = VIEW("alice");
    r.external_id = VIEW("ext:1");
    r.duration_s = 43200;
    r.policy = VIEW("{\"a\": [1]}");
    r.policy_arns = arns;
    r.policy_arn_count = 2;
    r.tags = tags;
    r.tag_count = 3;
    sts_bed_begin(b, 0, 0);
    assert_int_equal(sts_bed_get(b, &r), AWS_WAIT);
    assert_string_equal(
        b->last_body,
        "Action=AssumeRole&Version=2011-06-15"
        "&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Ffirst"
        "&RoleSessionName=alice%40example.com&DurationSeconds=43200"
        "&Policy=%7B%22a%22%3A%20%5B1%5D%7D"
        "&PolicyArns.member.1.arn=arn%3Aaws%3Aiam%3A%3Aaws%3Apolicy%2FA"
        "&PolicyArns.member.2.arn=arn%3Aaws%3Aiam%3A%3Aaws%3Apolicy%2FB"
        "&ExternalId=ext%3A1&SourceIdentity=alice"
        "&Tags.member.1.Key=team&Tags.member.1.Value=a%20b&TransitiveTagKeys.member.1=team"
        "&Tags.member.2.Key=empty&Tags.member.2.Value="
        "&Tags.member.3.Key=who&Tags.member.3.Value=alice%40x&TransitiveTagKeys.member.2=who");
}

/* ---- Refresh ---- */

static void test_refreshed_while_it_is_used(void **state)
{
    S(state);
    sts_bed_begin(b, 0, 0);
    const struct aws_session_request r = served(b, "alice");

    /* A third of an hour before the end, or up to a tenth of that sooner. */
    sts_bed_run(b, 37 * 60 * 1000);
    assert_int_equal(b->started, 1);
    sts_bed_run(b, 4 * 60 * 1000);
    assert_int_equal(b->started, 2);
    assert_int_equal(sts_bed_get(b, &r), AWS_READY);
    assert_string_equal(b->credentials->access_key_id, "ASIA00000001");
    sts_bed_grant(b);
    assert_int_equal(sts_bed_get(b, &r), AWS_READY);
    assert_string_equal(b->credentials->access_key_id, "ASIA00000002");
}

static void test_unused_it_lapses_and_is_forgotten(void **state)
{
    S(state);
    sts_bed_begin(b, 0, 0);
    struct aws_session_request r = sts_bed_request(b, 1, "alice");

    r.max_sessions = 10;
    assert_int_equal(sts_bed_get(b, &r), AWS_WAIT);
    sts_bed_grant(b);
    assert_int_equal(sts_bed_get(b, &r), AWS_READY);
    sts_bed_live(b, 41 * 60 * 1000, 10);
    assert_int_equal(b->started, 2); /* it was used since the first time */
    sts_bed_live(b, 99 * 60 * 1000, 10);
    assert_int_equal(b->started, 2);
    assert_int_equal(sts_bed_counts(b).per_caller, 0);
    assert_int_equal(sts_bed_counts(b).max, 0);
}

/* Late in its life, unused since the refresh was due: it serves at once and is refreshed. */
static void test_used_late_it_is_refreshed(void **state)
{
    S(state);
    sts_bed_begin(b, 0, 0);
    struct aws_session_request r = sts_bed_request(b, 1, "alice");

    r.max_sessions = 10;
    assert_int_equal(sts_bed_get(b, &r), AWS_WAIT);
    sts_bed_grant(b); /* and nobody collects it */
    sts_bed_run(b, 50 * 60 * 1000);
    assert_int_equal(b->started, 1);
    assert_int_equal(sts_bed_get(b, &r), AWS_READY);
    assert_string_equal(b->credentials->access_key_id, "ASIA00000001");
    assert_int_equal(b->started, 2);
    sts_bed_grant(b);
    assert_int_equal(sts_bed_get(b, &r), AWS_READY);
    assert_string_equal(b->credentials->access_key_id, "ASIA00000002");
    assert_int_equal(b->started, 2);
}

static void test_pinned_is_kept_for_days(void **state)
{
    S(state);
    const struct aws_session_request r = sts_bed_request(b, 1, "sallyport");

    b->endpoint.url = VIEW("https://vpce-1-a.sts.eu-west-1.vpce.amazonaws.com/");
    b->endpoint.host = VIEW("vpce-1-a.sts.eu-west-1.vpce.amazonaws.com");
    sts_bed_begin(b, 0, 0);
    assert_false(failed(aws_sessions_pin(b->sessions, &r)));
    for (int hour = 0; hour < 48; hour++) {
        sts_bed_live(b, 3600 * 1000, 100);
        /* lua-resty-aws #45: the region came into the host once more with each refresh. */
        assert_string_equal(b->last_url, "https://vpce-1-a.sts.eu-west-1.vpce.amazonaws.com/");
        assert_non_null(strstr(b->last_headers,
                               "host: vpce-1-a.sts.eu-west-1.vpce.amazonaws.com\n"));
        assert_int_equal(sts_bed_get(b, &r), AWS_READY);
        assert_true(b->credentials->expiry_us > b->wall_us + INT64_C(19) * 60 * 1000000);
    }
    /* Each serves 38 to 40 minutes. */
    assert_in_range(b->started, 72, 77);
    assert_int_equal(b->started, b->minted);
}

static void test_unpinned_it_lapses(void **state)
{
    S(state);
    const struct aws_session_request r = sts_bed_request(b, 1, "sallyport");

    sts_bed_begin(b, 0, 0);
    assert_false(failed(aws_sessions_pin(b->sessions, &r)));
    sts_bed_live(b, 3600 * 1000, 100);
    assert_int_equal(sts_bed_counts(b).pinned, 1);
    aws_sessions_unpin_all(b->sessions);
    unsigned before = b->started;
    sts_bed_live(b, 2 * 3600 * 1000, 100);
    assert_int_equal(b->started, before);
    assert_int_equal(sts_bed_counts(b).cached, 0);
    assert_int_equal(sts_bed_counts(b).pinned, 0);
}

static void test_valid_ones_serve_while_refresh_fails(void **state)
{
    S(state);
    struct aws_session_failure failure;
    size_t at = 0;

    sts_bed_begin(b, 0, 0);
    const struct aws_session_request r = served(b, "alice");
    sts_bed_run(b, 41 * 60 * 1000);
    assert_int_equal(b->started, 2);
    sts_bed_refuse(b, 503, "ServiceUnavailable", "later");
    for (int minute = 41; minute < 59; minute++) {
        assert_int_equal(sts_bed_get(b, &r), AWS_READY);
        sts_bed_run(b, 60 * 1000);
        while (!list_is_empty(&b->flights))
            sts_bed_refuse(b, 503, "ServiceUnavailable", "later");
    }
    assert_in_range(b->started, 15, 200);
    assert_true(aws_sessions_next_failure(b->sessions, &at, &failure));
    assert_true(failure.serves);
    assert_true(is_fault(failure.error, &aws_session_unanswered));
    assert_true(view_is(failure.role, "arn:aws:iam::123456789012:role/first"));
    assert_false(aws_sessions_next_failure(b->sessions, &at, &failure));
    sts_bed_run(b, 2 * 60 * 1000); /* the end of the first credentials */
    while (!list_is_empty(&b->flights))
        sts_bed_refuse(b, 503, "ServiceUnavailable", "later");
    assert_int_not_equal(sts_bed_get(b, &r), AWS_READY);
    sts_bed_run(b, 60 * 1000);
    assert_int_equal(sts_bed_get(b, &r), AWS_WAIT);
    sts_bed_live(b, 1000, 10);
    assert_int_equal(sts_bed_get(b, &r), AWS_READY);
    at = 0;
    assert_false(aws_sessions_next_failure(b->sessions, &at, &failure));
}

/* The wall clock is set two hours forward: what is held has ended, the pinned one comes anew. */
static void test_wall_clock_is_set(void **state)
{
    S(state);
    const struct aws_session_request r = sts_bed_request(b, 1, "sallyport");

    sts_bed_begin(b, 0, 0);
    assert_false(failed(aws_sessions_pin(b->sessions, &r)));
    sts_bed_live(b, 60 * 1000, 100);
    assert_int_equal(b->started, 1);
    b->wall_us += INT64_C(7200) * 1000000;
    sts_bed_live(b, 5 * 1000, 100);
    assert_int_equal(b->started, 2);
    assert_int_equal(sts_bed_get(b, &r), AWS_READY);
    assert_in_range(b->credentials->expiry_us - b->wall_us, INT64_C(3590000000),
                    INT64_C(3600000000));
}

/* ---- Failure ---- */

/* The gateway's own credentials have ended, or are nobody's: no refusal of this session. */
static void test_a_refusal_of_who_signs_is_told_apart(void **state)
{
    static const char *const of_signer[] = {
        "ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "IncompleteSignature",
        "InvalidSignatureException", "MissingAuthenticationToken",
        "MissingAuthenticationTokenException", "RequestExpired", "SignatureDoesNotMatch",
        "UnrecognizedClientException"};
    S(state);
    const struct aws_session_request r = sts_bed_request(b, 1, "alice");

    sts_bed_begin(b, 0, 0);
    for (size_t i = 0; i < COUNT_OF(of_signer); i++) {
        while (sts_bed_get(b, &r) != AWS_WAIT)
            sts_bed_run(b, 100);
        sts_bed_refuse(b, 403, of_signer[i], "The security token is not good");
        assert_int_equal(sts_bed_get(b, &r), AWS_FAILED);
        assert_true(is_fault(b->why, &aws_session_signer_refused));
    }
}

static void test_a_refusal_is_told_and_rests(void **state)
{
    S(state);
    const struct aws_session_request r = sts_bed_request(b, 1, "alice");

    sts_bed_begin(b, 0, 0);
    assert_int_equal(sts_bed_get(b, &r), AWS_WAIT);
    sts_bed_refuse(b, 403, "AccessDenied", "User: x is not authorized to perform: sts:AssumeRole");
    assert_int_equal(b->woken, 1);
    assert_int_equal(sts_bed_get(b, &r), AWS_FAILED);
    assert_true(is_fault(b->why, &aws_session_refused));
    assert_string_equal(b->detail,
                        "STS, role arn:aws:iam::123456789012:role/first: status 403 AccessDenied: "
                        "User: x is not authorized to perform: sts:AssumeRole");
    assert_int_equal(b->started, 1);
    sts_bed_run(b, 1001); /* the first pause is a second at most */
    assert_int_equal(b->started, 1); /* nobody asks for it */
    assert_int_equal(sts_bed_get(b, &r), AWS_WAIT);
    assert_int_equal(b->started, 2);
    sts_bed_grant(b);
    assert_int_equal(sts_bed_get(b, &r), AWS_READY);
}

/* Pauses grow to a minute at most, and are forgotten with the session an age later. */
static void test_pauses_grow(void **state)
{
    S(state);
    struct aws_session_request r = sts_bed_request(b, 1, "alice");
    int64_t longest_ms = 0;

    r.max_sessions = 5;
    sts_bed_begin(b, 0, 0);
    for (int i = 0; i < 40; i++) {
        int64_t began_ms = sts_bed_now_ms(b);
        while (sts_bed_get(b, &r) != AWS_WAIT)
            sts_bed_run(b, 10);
        if (sts_bed_now_ms(b) - began_ms > longest_ms)
            longest_ms = sts_bed_now_ms(b) - began_ms;
        sts_bed_refuse(b, 400, "ValidationError", "no");
    }
    assert_int_equal(b->started, 40);
    assert_in_range(longest_ms, 20 * 1000, 60 * 1000 + 10);
    assert_int_equal(sts_bed_get(b, &r), AWS_FAILED);
    assert_int_equal(sts_bed_counts(b).failing, 1);
    assert_int_equal(sts_bed_counts(b).failures, 40);
    sts_bed_run(b, 121 * 1000);
    assert_int_equal(sts_bed_counts(b).per_caller, 0);
}

static void test_hints(void **state)
{
    S(state);
    const struct sts_tag tag = {VIEW("team"), VIEW("a"), false};
    struct aws_session_request r = sts_bed_request(b, 1, "alice");

    sts_bed_begin(b, 0, 0);
    r.source_identity = VIEW("alice");
    assert_int_equal(sts_bed_get(b, &r), AWS_WAIT);
    sts_bed_refuse(b, 403, "AccessDenied", "no");
    assert_int_equal(sts_bed_get(b, &r), AWS_FAILED);
    assert_detail(b, "AccessDenied: no (the role's trust policy, and a policy of who assumes it, "
                     "must allow sts:SetSourceIdentity too, which the session's source identity "
                     "asks for)");
    r.tags = &tag;
    r.tag_count = 1;
    assert_int_equal(sts_bed_get(b, &r), AWS_WAIT);
    sts_bed_refuse(b, 403, "AccessDenied", "no");
    assert_int_equal(sts_bed_get(b, &r), AWS_FAILED);
    assert_detail(b, "sts:SetSourceIdentity and sts:TagSession too, which the session's source "
                     "identity and tags ask for)");
    r.source_identity = (struct view){NULL, 0};
    assert_int_equal(sts_bed_get(b, &r), AWS_WAIT);
    sts_bed_refuse(b, 403, "AccessDenied", "no");
    assert_int_equal(sts_bed_get(b, &r), AWS_FAILED);
    assert_detail(b, "must allow sts:TagSession too, which the session's tags ask for)");
    r.session_name = VIEW("bob");
    assert_int_equal(sts_bed_get(b, &r), AWS_WAIT);
    sts_bed_refuse(b, 403, "SignatureDoesNotMatch", "no");
    assert_int_equal(sts_bed_get(b, &r), AWS_FAILED);
    assert_detail(b, "clock");
}

/* No answer, 5xx and throttling are tried three times before who waits is told. */
static void test_passing_failures_are_not_told_at_once(void **state)
{
    S(state);
    const struct aws_session_request r = sts_bed_request(b, 1, "alice");

    sts_bed_begin(b, 0, 0);
    assert_int_equal(sts_bed_get(b, &r), AWS_WAIT);
    sts_bed_lose(b);
    assert_int_equal(sts_bed_get(b, &r), AWS_WAIT);
    sts_bed_run(b, 1001);
    assert_int_equal(b->started, 2);
    sts_bed_refuse(b, 500, "InternalFailure", "oops");
    assert_int_equal(sts_bed_get(b, &r), AWS_WAIT);
    sts_bed_run(b, 2001);
    assert_int_equal(b->started, 3);
    sts_bed_refuse(b, 503, "ServiceUnavailable", "oops");
    assert_int_equal(sts_bed_get(b, &r), AWS_FAILED);
    assert_true(is_fault(b->why, &aws_session_unanswered));
    assert_detail(b, "status 503 ServiceUnavailable: oops");
    sts_bed_run(b, 4001);
    assert_int_equal(sts_bed_get(b, &r), AWS_WAIT);
    sts_bed_lose(b);
    sts_bed_run(b, 8001);
    sts_bed_grant(b);
    assert_int_equal(sts_bed_get(b, &r), AWS_READY);
}

static void test_answers_that_are_none(void **state)
{
    S(state);
    const struct aws_session_request r = sts_bed_request(b, 1, "alice");

    sts_bed_begin(b, 0, 0);
    assert_int_equal(sts_bed_get(b, &r), AWS_WAIT);
    sts_bed_answer(b, 200, "<AssumeRoleResponse/>");
    assert_int_equal(sts_bed_get(b, &r), AWS_FAILED);
    assert_true(is_fault(b->why, &sts_malformed));
    sts_bed_run(b, 1001);
    assert_int_equal(sts_bed_get(b, &r), AWS_WAIT);
    b->lifetime_s = -1;
    sts_bed_grant(b);
    assert_int_equal(sts_bed_get(b, &r), AWS_FAILED);
    assert_true(is_fault(b->why, &aws_credentials_expired_on_arrival));
    assert_detail(b, "role/first");
}

static void test_bad_requests(void **state)
{
    S(state);
    struct aws_session_request r = sts_bed_request(b, 0, "alice");

    sts_bed_begin(b, 0, 0);
    assert_int_equal(sts_bed_get(b, &r), AWS_FAILED);
    assert_true(is_fault(b->why, &aws_session_bad_request));
    r.role_count = AWS_SESSION_ROLES_MAX + 1;
    assert_int_equal(sts_bed_get(b, &r), AWS_FAILED);
    assert_true(is_fault(b->why, &aws_session_bad_request));
    r = sts_bed_request(b, 1, "");
    assert_int_equal(sts_bed_get(b, &r), AWS_FAILED);
    assert_true(is_fault(b->why, &aws_session_bad_request));
    assert_null(aws_sessions_hold(b->sessions, &r));
    assert_int_equal(b->started, 0);
}

/* ---- The base ---- */

static void test_waits_for_the_base(void **state)
{
    S(state);
    const struct aws_session_request r = sts_bed_request(b, 1, "alice");

    sts_bed_begin(b, 0, 0);
    b->base_error = (err){&aws_credentials_waiting};
    assert_int_equal(sts_bed_get(b, &r), AWS_WAIT);
    sts_bed_run(b, 10000);
    assert_int_equal(b->started, 0);
    b->base_error = OK;
    aws_sessions_tick(b->sessions);
    assert_int_equal(b->started, 1);
    sts_bed_grant(b);
    assert_int_equal(sts_bed_get(b, &r), AWS_READY);
}

static void test_the_bases_failure_is_told_and_leaves_no_pause(void **state)
{
    S(state);
    const struct aws_session_request r = sts_bed_request(b, 1, "alice");
    const struct aws_session_request fixed = sts_bed_request(b, 1, "sallyport");

    sts_bed_begin(b, 0, 0);
    b->base_error = (err){&aws_credentials_waiting};
    assert_false(failed(aws_sessions_pin(b->sessions, &fixed)));
    assert_int_equal(sts_bed_get(b, &r), AWS_WAIT);
    b->base_error = (err){&aws_environment_expired};
    aws_sessions_tick(b->sessions);
    assert_int_equal(b->woken, 1);
    assert_int_equal(sts_bed_get(b, &r), AWS_FAILED);
    assert_true(is_fault(b->why, &aws_environment_expired));
    sts_bed_run(b, 60000);
    assert_int_equal(sts_bed_get(b, &r), AWS_FAILED);
    assert_int_equal(b->started, 0);
    assert_int_equal(sts_bed_counts(b).failures, 0); /* STS was never asked */
    b->base_error = OK;
    assert_int_equal(sts_bed_get(b, &r), AWS_WAIT);
    assert_int_equal(b->started, 1);
    sts_bed_run(b, 2001);
    assert_int_equal(b->started, 2); /* the pinned one without being asked for */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, sts_bed_open, sts_bed_close)
    const struct CMUnitTest tests[] = {
        TEST(test_first_time),
        TEST(test_many_ask_and_one_request_goes),
        TEST(test_what_tells_sessions_apart),
        TEST(test_all_that_is_asked),
        TEST(test_refreshed_while_it_is_used),
        TEST(test_unused_it_lapses_and_is_forgotten),
        TEST(test_used_late_it_is_refreshed),
        TEST(test_pinned_is_kept_for_days),
        TEST(test_unpinned_it_lapses),
        TEST(test_valid_ones_serve_while_refresh_fails),
        TEST(test_wall_clock_is_set),
        TEST(test_a_refusal_is_told_and_rests),
        TEST(test_a_refusal_of_who_signs_is_told_apart),
        TEST(test_pauses_grow),
        TEST(test_hints),
        TEST(test_passing_failures_are_not_told_at_once),
        TEST(test_answers_that_are_none),
        TEST(test_bad_requests),
        TEST(test_waits_for_the_base),
        TEST(test_the_bases_failure_is_told_and_leaves_no_pause),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
