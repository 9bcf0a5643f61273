/* Every token of tests/vectors/jwt/cases.json, with the exact fault that it must meet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "vectors.h"

#include <cmocka.h> /* last: its fail() would hide ours */

static struct identity *id;
static struct key_refresher *refresher;
static struct arena cases_arena;
static const struct json_value *cases;
static char *cases_text;
static int64_t now_s;

static int set_up(void **state)
{
    const struct json_limits limits = {8, 100000};
    const struct json_value *document;
    size_t len;

    (void)state;
    id = vector_identity(COUNT_OF(vector_issuers), &refresher);
    cases_text = read_vectors("cases.json", &len);
    arena_init(&cases_arena, 65536, 64 << 20);
    if (failed(json_parse(&cases_arena, view_of(cases_text, len), &limits, &document, NULL)) ||
        !json_get_i64(document, "now", &now_s))
        return 1;
    cases = json_get(document, "cases");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    key_refresher_free(refresher);
    identity_release(id);
    arena_clear(&cases_arena);
    free(cases_text);
    return 0;
}

static struct view text_of(const struct json_value *object, const char *name)
{
    struct view text = {NULL, 0};

    (void)json_get_string(object, name, &text);
    return text;
}

static bool lists_equal(const struct json_value *want, struct strings got)
{
    size_t i = 0;

    if (want->count != got.count)
        return false;
    JSON_EACH(item, want)
    {
        if (!view_eq(item->text, got.items[i++]))
            return false;
    }
    return true;
}

/* The name of what differs, or NULL. */
static const char *difference(const struct json_value *want, const struct principal *p)
{
    const struct json_value *v;
    int64_t expires;

    if ((v = json_get(want, "subject")) != NULL && !view_eq(v->text, p->subject))
        return "subject";
    if ((v = json_get(want, "client")) != NULL && !view_eq(v->text, p->client))
        return "client";
    if ((v = json_get(want, "kid")) != NULL && !view_eq(v->text, p->key_id))
        return "kid";
    if ((v = json_get(want, "groups")) != NULL && !lists_equal(v, p->groups))
        return "groups";
    if ((v = json_get(want, "scopes")) != NULL && !lists_equal(v, p->scopes))
        return "scopes";
    if (json_get_i64(want, "expires", &expires) && expires != p->expires_at_s)
        return "expires";
    return NULL;
}

static void every_vector_meets_its_fault(void **state)
{
    struct arena arena;
    size_t wrong = 0, ran = 0;

    (void)state;
    arena_init(&arena, 4096, IDENTITY_ARENA_BYTES);
    JSON_EACH(c, cases)
    {
        struct principal p;
        err e = identity_verify(id, &arena, text_of(c, "token"), now_s, &p, NULL);
        const char *got = failed(e) ? e.fault->name : "ok";
        if (!view_is(text_of(c, "fault"), got)) {
            print_error("%.*s: %s, not %.*s\n", VIEW_ARG(text_of(c, "name")), got,
                        VIEW_ARG(text_of(c, "fault")));
            wrong++;
        }
        if (failed(e)) {
            assert_null(p.subject.data);
            assert_int_equal(p.expires_at_s, 0);
        } else if (difference(json_get(c, "want"), &p) != NULL) {
            print_error("%.*s: another %s\n", VIEW_ARG(text_of(c, "name")),
                        difference(json_get(c, "want"), &p));
            wrong++;
        }
        ran++;
        arena_reset(&arena);
    }
    arena_clear(&arena);
    assert_int_equal(wrong, 0);
    assert_true(ran > 200);
}

/* The trace says the same as the error, and says nothing of the token. */
static void the_trace_ends_with_the_failed_step(void **state)
{
    struct arena arena;
    struct token_check check;
    struct principal p;

    (void)state;
    arena_init(&arena, 4096, IDENTITY_ARENA_BYTES);
    JSON_EACH(c, cases)
    {
        err e = identity_verify(id, &arena, text_of(c, "token"), now_s, &p, &check);
        assert_true(check.count > 0);
        for (size_t i = 0; i < check.count; i++) {
            const bool last = i + 1 == check.count;
            assert_int_equal(check.steps[i].result == CHECK_FAILED, failed(e) && last);
            assert_true(check.steps[i].found.len <= 120);
            assert_true(view_is_utf8(check.steps[i].found));
        }
        arena_reset(&arena);
    }
    arena_clear(&arena);
}

static const struct json_value *case_named(const char *name)
{
    JSON_EACH(c, cases)
    {
        if (view_is(text_of(c, "name"), name))
            return c;
    }
    fail_msg("no case %s", name);
    return NULL;
}

static const struct check_step *step_named(const struct token_check *check, const char *name)
{
    for (size_t i = 0; i < check->count; i++) {
        if (strcmp(check->steps[i].name, name) == 0)
            return &check->steps[i];
    }
    fail_msg("no step %s", name);
    return NULL;
}

static void the_trace_says_what_was_expected_and_found(void **state)
{
    struct arena arena;
    struct token_check check;
    struct principal p;
    const struct check_step *s;

    (void)state;
    arena_init(&arena, 4096, IDENTITY_ARENA_BYTES);
    err e = identity_verify(id, &arena, text_of(case_named("exp long ago"), "token"), now_s, &p,
                            &check);
    assert_ptr_equal(e.fault, &identity_expired);
    assert_int_equal(e.fault->http_status, 401);
    s = step_named(&check, "exp");
    assert_int_equal(s->result, CHECK_FAILED);
    assert_true(view_is(s->expected, "after 2027-01-15T07:59:30Z"));
    assert_true(view_is(s->found, "1970-01-01T00:00:01Z"));
    assert_true(view_is(check.issuer_name, "generic"));
    assert_true(view_is(check.key_id, "rsa-1"));
    assert_int_equal(step_named(&check, "signature")->result, CHECK_OK);

    e = identity_verify(id, &arena, text_of(case_named("aud of another"), "token"), now_s, &p,
                        &check);
    assert_ptr_equal(e.fault, &identity_audience_wrong);
    s = step_named(&check, "audience");
    assert_true(view_is(s->expected, "api://orders"));
    assert_true(view_is(s->found, "api://billing"));
    assert_int_equal(step_named(&check, "nbf")->result, CHECK_SKIPPED);
    assert_int_equal(step_named(&check, "token_use")->result, CHECK_SKIPPED);
    arena_clear(&arena);
}

static void claims_keep_their_text_and_their_json(void **state)
{
    struct arena arena;
    struct principal p;
    const struct claim *c;

    (void)state;
    arena_init(&arena, 4096, IDENTITY_ARENA_BYTES);
    err e = identity_verify(id, &arena, text_of(case_named("cognito access token"), "token"), now_s,
                            &p, NULL);
    assert_false(failed(e));
    assert_true(view_is(p.issuer_name, "cognito"));
    assert_true(view_is(p.issuer, "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Example"));
    assert_true(view_is(p.method, "jwt"));
    assert_true(view_is(p.token_id, "j"));
    assert_int_equal(p.claim_count, 14);
    c = principal_claim(&p, VIEW("version"));
    assert_int_equal(c->kind, CLAIM_NUMBER);
    assert_true(view_is(c->text, "2"));
    c = principal_claim(&p, VIEW("username"));
    assert_int_equal(c->kind, CLAIM_STRING);
    assert_true(view_is(c->text, "alice"));
    assert_true(view_is(c->json, "\"alice\""));
    c = principal_claim(&p, VIEW("cognito:groups"));
    assert_int_equal(c->kind, CLAIM_COMPOUND);
    assert_null(principal_claim(&p, VIEW("email")));
    arena_clear(&arena);
}

static void a_full_arena_refuses_and_does_not_accept(void **state)
{
    const struct view token = text_of(case_named("alg RS256"), "token");
    struct principal p;
    bool accepted = false;

    (void)state;
    for (size_t room = 64; room < 64 * 1024 && !accepted; room += 64) {
        struct arena arena;
        arena_init(&arena, 64, room);
        err e = identity_verify(id, &arena, token, now_s, &p, NULL);
        accepted = !failed(e);
        if (!accepted)
            assert_ptr_equal(e.fault, &fault_out_of_memory);
        arena_clear(&arena);
    }
    assert_true(accepted);
}

static void only_missing_keys_are_our_fault(void **state)
{
    (void)state;
    assert_int_equal(identity_keys_unavailable.http_status, 503);
    assert_int_equal(identity_unknown_key.http_status, 401);
    assert_int_equal(identity_token_malformed.http_status, 401);
}

static void readiness_wants_every_issuers_keys(void **state)
{
    struct key_refresher *r = NULL;
    struct issuer_status status;

    (void)state;
    assert_false(identity_keys_loaded(id)); /* "unfetched" is among them */
    struct identity *all = vector_identity(COUNT_OF(vector_issuers) - 1, &r);
    assert_true(identity_keys_loaded(all));
    identity_issuer_status(all, 0, &status);
    assert_int_equal(status.keys, 6);
    assert_true(view_is(status.name, "generic"));
    assert_int_equal(status.last_success_ms, 0);
    assert_false(failed(status.last_error));
    key_refresher_free(r);
    identity_release(all);
    identity_issuer_status(id, COUNT_OF(vector_issuers) - 1, &status);
    assert_int_equal(status.keys, 0);
    assert_int_equal(status.last_success_ms, -1);
    assert_ptr_equal(status.last_error.fault, &key_file_unreadable);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_vector_meets_its_fault),
        cmocka_unit_test(the_trace_ends_with_the_failed_step),
        cmocka_unit_test(the_trace_says_what_was_expected_and_found),
        cmocka_unit_test(claims_keep_their_text_and_their_json),
        cmocka_unit_test(a_full_arena_refuses_and_does_not_accept),
        cmocka_unit_test(only_missing_keys_are_our_fault),
        cmocka_unit_test(readiness_wants_every_issuers_keys),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
