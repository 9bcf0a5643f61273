/* What a configuration's load and a login are told of a secret. */
#include "../aws/secret_bed.h"

#include "gateway/secret_host.h"

#undef fail

static const struct vault vault = {.prefix = {"aws", 3}, .kind = VAULT_AWS};
static const struct secret_reference password = {.prefix = {"aws", 3},
                                                 .name = {"shop", 4},
                                                 .key = {"password", 8}};

struct asked {
    bool good;
    bool pending;
    struct view value;
    char why[SECRET_WHY_BYTES];
};

static struct asked ask(struct bed *b, struct secret_host *h)
{
    struct asked a = {.good = false};

    a.good = h->host.secret(&h->host, &vault, &password, &a.value, &a.pending, a.why,
                            sizeof a.why);
    tick(b);
    return a;
}

static void a_load_waits_for_a_first_value_and_not_for_ever(void **state)
{
    struct bed *b = *state;
    struct secret_host h;

    secret_host_init(&h, NULL, b->cache);
    struct asked a = ask(b, &h);
    assert_false(a.good);
    assert_true(a.pending);
    h.impatient = true;
    a = ask(b, &h);
    assert_false(a.good);
    assert_false(a.pending);
    assert_string_equal(a.why, "the secret 'shop' of AWS could not be read in time");
    value(b, "v1", "{\\\"password\\\":\\\"one\\\"}");
    a = ask(b, &h);
    assert_true(a.good);
    assert_view(a.value, "one");
    secret_host_clear(&h);
}

/* The vault has no ttl, so a load wants the value anew; who signs does not come. */
static void what_is_held_serves_when_a_load_has_waited_in_vain(void **state)
{
    struct bed *b = *state;
    struct secret_host h;

    secret_host_init(&h, NULL, b->cache);
    assert_true(ask(b, &h).pending);
    value(b, "v1", "{\\\"password\\\":\\\"one\\\"}");
    assert_true(ask(b, &h).good);
    b->signer = AWS_WAIT;
    secret_cache_begin_load(b->cache);
    assert_true(ask(b, &h).pending);
    h.impatient = true;
    struct asked a = ask(b, &h);
    assert_true(a.good);
    assert_view(a.value, "one");
    secret_cache_end_load(b->cache, true);
    secret_host_clear(&h);
}

static void a_login_does_not_wait_for_what_a_load_wants_anew(void **state)
{
    struct bed *b = *state;
    struct secret_host h;

    secret_host_init(&h, NULL, b->cache);
    assert_true(ask(b, &h).pending);
    value(b, "v1", "{\\\"password\\\":\\\"one\\\"}");
    b->signer = AWS_WAIT;
    secret_cache_begin_load(b->cache);
    h.for_login = true;
    assert_view(ask(b, &h).value, "one");
    h.for_login = false;
    assert_true(ask(b, &h).pending);
    secret_host_clear(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BED(a_load_waits_for_a_first_value_and_not_for_ever),
        BED(what_is_held_serves_when_a_load_has_waited_in_vain),
        BED(a_login_does_not_wait_for_what_a_load_wants_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
