/* What the database said of statements before a reload, and when it is asked anew. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../database/broker_bed.h"
#include "base/time.h"
#include "gateway/config_host.h"
#include "gateway/prepare.h"
#include "gateway/snapshot.h"

#include <cmocka.h> /* last: its fail() would hide ours */

struct shop {
    const char *sql;
    const char *type;
    const char *search_path;
    const char *database_role;
    const char *role;
};

static const struct shop plain = {"select lower(name), :id::text as id from things", "text",
                                  "public", "reader", "readers"};

static const char layout[] =
    "_format_version: \"3.0\"\n"
    "issuers:\n"
    "- {name: dev, issuer: \"https://issuer.example/\", audience: [shop]}\n"
    "services:\n"
    "- name: shop\n"
    "  url: postgres://app@db.example:5432/shop\n"
    "  sslmode: verify-full\n"
    "  sslrootcert: system\n"
    "  iam_auth: {region: eu-west-1, hostname: db.example}\n"
    "  search_path: [%s]\n"
    "  routes:\n"
    "  - name: thing\n"
    "    methods: [GET]\n"
    "    paths: [\"/things/{id}\"]\n"
    "    statement:\n"
    "      sql: \"%s\"\n"
    "      parameters: {id: {type: %s, from: path}}\n"
    "      read_only: true\n"
    "roles:\n"
    "- name: %s\n"
    "  when: {issuer: dev, groups: [readers]}\n"
    "  services: [shop]\n"
    "  database_role: %s\n"
    "  allow: [{routes: [\"*\"]}]\n";

static void want_nothing(struct broker *b, void *arg)
{
    (void)b;
    (void)arg;
}

static struct broker *make_broker(void)
{
    static const struct strings no_roles;
    static const struct service service = {.name = VIEW("shop")};
    static const struct endpoint endpoint = {.host = VIEW("db.example")};
    const struct broker_options options = {.name = service.name,
                                           .access = VIEW("primary"),
                                           .service = &service,
                                           .endpoint = &endpoint,
                                           .want_logins = want_nothing};

    struct broker *b = broker_new(&options, &no_roles);
    assert_non_null(b);
    return b;
}

static struct broker *give(void *arg, const struct service *service,
                           const struct endpoint *endpoint, const char *access,
                           const struct strings *roles, struct diagnostics *d)
{
    (void)service, (void)endpoint, (void)access, (void)roles, (void)d;
    return broker_acquire(arg);
}

static struct snapshot *load(const struct shop *s, struct broker *b,
                             const struct snapshot *previous)
{
    const struct snapshot_makers makers = {
        .broker_for = give, .arg = b, .previous = previous, .host = &config_host_offline};
    char path[] = "/tmp/sallyport-reuse-XXXXXX";
    struct snapshot *out = NULL;
    struct arena words;

    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_true(dprintf(fd, layout, s->search_path, s->sql, s->type, s->role,
                        s->database_role) > 0);
    close(fd);
    arena_init(&words, 4096, 1 << 20);
    struct diagnostics d = {.arena = &words};
    err e = snapshot_build(path, &makers, &d, &out);
    diag_print(&d, 2);
    assert_ptr_equal(e.fault, NULL);
    arena_clear(&words);
    unlink(path);
    return out;
}

static const struct compiled_route *route_of(const struct snapshot *s)
{
    return &s->services[0].routes[0];
}

static struct route_role *as_of(const struct snapshot *s)
{
    return snapshot_route_role(route_of(s), 0);
}

/* One whose database has said all that it is asked. */
static struct snapshot *proven(struct broker *b)
{
    struct snapshot *s = load(&plain, b, NULL);

    assert_true(route_of(s)->clean_text && route_of(s)->relations.data != NULL);
    assert_false(atomic_load(&as_of(s)->proved));
    atomic_store(&as_of(s)->proved, true);
    atomic_store(&as_of(s)->prepared, true);
    return s;
}

/* Compared here, where the address sanitizer looks on. */
static void assert_view_equal(struct view a, struct view b)
{
    assert_true(view_eq(a, b));
}

static void what_did_not_change_is_as_if_it_were_made_anew(void **state)
{
    struct broker *b = make_broker();
    struct snapshot *before = proven(b), *now = load(&plain, b, before);
    struct snapshot *anew = load(&plain, b, NULL);
    (void)state;

    snapshot_release(before); /* nothing of it is referred to */
    const struct compiled_route *r = route_of(now), *other = route_of(anew);
    assert_true(atomic_load(&as_of(now)->proved) && atomic_load(&as_of(now)->prepared));
    assert_true(as_of(now)->covered);
    assert_ptr_equal(snapshot_statement(r, as_of(now)), &r->clean);
    assert_view_equal(r->statement.sql, other->statement.sql);
    assert_view_equal(r->relations, other->relations);
    assert_view_equal(r->named.names[0], other->named.names[0]);
    assert_view_equal(as_of(now)->target, as_of(anew)->target);
    assert_string_equal(r->statement_sha256, other->statement_sha256);
    assert_int_equal(r->analysis.relation_count, other->analysis.relation_count);
    assert_int_equal(r->analysis.function_count, 1);
    assert_view_equal(r->analysis.relations[0].name, other->analysis.relations[0].name);
    assert_view_equal(r->analysis.functions[0].name, VIEW("lower"));
    assert_memory_equal(as_of(now)->prepared_key, as_of(anew)->prepared_key, DB_KEY_BYTES);
    snapshot_release(now);
    snapshot_release(anew);
    broker_release_reference(b);
}

/* What the database said was said of another statement, or by another role's eyes. */
static void after_any_change_the_database_is_asked_anew(void **state)
{
    struct shop other[5] = {plain, plain, plain, plain, plain};
    (void)state;

    other[0].sql = "select lower(name), :id::text as id from thongs";
    other[1].type = "bigint";
    other[2].search_path = "other";
    other[3].database_role = "writer";
    other[4].role = "others"; /* which may reach the same, but who says so? */
    for (size_t i = 0; i < COUNT_OF(other); i++) {
        struct broker *b = make_broker();
        struct snapshot *before = proven(b), *now = load(&other[i], b, before);
        struct snapshot *anew = load(&other[i], b, NULL);
        assert_false(atomic_load(&as_of(now)->proved));
        assert_false(atomic_load(&as_of(now)->prepared));
        assert_ptr_equal(snapshot_statement(route_of(now), as_of(now)),
                         &route_of(now)->statement);
        assert_view_equal(route_of(now)->statement.sql, route_of(anew)->statement.sql);
        assert_view_equal(route_of(now)->relations, route_of(anew)->relations);
        assert_memory_equal(as_of(now)->prepared_key, as_of(anew)->prepared_key, DB_KEY_BYTES);
        assert_int_equal(
            memcmp(as_of(now)->prepared_key, as_of(before)->prepared_key, DB_KEY_BYTES) != 0,
            i < 4);
        snapshot_release(before);
        snapshot_release(now);
        snapshot_release(anew);
        broker_release_reference(b);
    }
}

static void what_one_database_said_holds_at_no_other(void **state)
{
    struct broker *b = make_broker(), *elsewhere = make_broker();
    struct snapshot *before = proven(b), *now = load(&plain, elsewhere, before);
    (void)state;

    assert_false(atomic_load(&as_of(now)->proved));
    assert_false(atomic_load(&as_of(now)->prepared));
    assert_memory_equal(as_of(now)->prepared_key, as_of(before)->prepared_key, DB_KEY_BYTES);
    snapshot_release(before);
    snapshot_release(now);
    broker_release_reference(b);
    broker_release_reference(elsewhere);
}

static void what_was_not_proved_is_not_taken_for_it(void **state)
{
    struct broker *b = make_broker();
    struct snapshot *before = load(&plain, b, NULL), *now = load(&plain, b, before);
    (void)state;

    assert_false(atomic_load(&as_of(now)->proved));
    assert_false(atomic_load(&as_of(now)->prepared));
    snapshot_release(before);
    snapshot_release(now);
    broker_release_reference(b);
}

/* ---- How long a proof is taken over ---- */

static const int64_t limit_ns = 20000000000;

static struct bed bed;

static void wait_for_proofs(struct prepare_run *run, struct snapshot *s)
{
    int64_t began = time_monotonic_ns();

    while (atomic_load(&s->proofs_hold_ns) < began) {
        assert_true(time_monotonic_ns() < began + limit_ns);
        bed_turn(&bed);
        prepare_tick(run);
    }
}

/* Or reloads that come one after the other would keep it for ever. */
static void a_proof_that_was_taken_over_is_made_anew_in_time(void **state)
{
    (void)state;
    bed_start(&bed, 1, false, 1);
    struct worker w = {.db = bed.workers[0].db};
    struct snapshot *before = proven(bed.broker);

    for (int late = 0; late < 2; late++) {
        int64_t until = time_monotonic_ns() + (late ? -1 : limit_ns);
        atomic_store(&before->proofs_hold_ns, until);
        struct snapshot *now = load(&plain, bed.broker, before);
        struct prepare_run *run = prepare_new(&w, now);
        prepare_tick(run);
        assert_int_equal(broker_counts(bed.broker).waiting, late);
        assert_true(atomic_load(&as_of(now)->proved));
        if (late)
            wait_for_proofs(run, now);
        else
            assert_true(atomic_load(&now->proofs_hold_ns) == until);
        prepare_free(run);
        snapshot_release(now);
    }
    snapshot_release(before);
    bed_end(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_did_not_change_is_as_if_it_were_made_anew),
        cmocka_unit_test(after_any_change_the_database_is_asked_anew),
        cmocka_unit_test(what_one_database_said_holds_at_no_other),
        cmocka_unit_test(what_was_not_proved_is_not_taken_for_it),
        cmocka_unit_test(a_proof_that_was_taken_over_is_made_anew_in_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
