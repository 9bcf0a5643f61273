/* What stands in a record, held to the schema. */
#include "json/json.h"

#include "helpers.h"

/* Every event with every member set. */
static void append_everything(struct audit_writer *w)
{
    static const struct view words[] = {{"a", 1}, {"b\"\n", 3}};
    const struct role role = {.name = VIEW("reader")}, other = {.name = VIEW("admin")};
    const struct role_finding findings[] = {{&other, ROLE_MISSING_GROUP}, {&role, ROLE_CHOSEN}};
    static const struct consumer consumer = {.custom_id = VIEW("web-17")};
    const struct principal p = {.issuer_name = VIEW("okta"), .consumer = &consumer,
                                .issuer = VIEW("https://issuer"),
                                .subject = VIEW("ali\"ce\\\x01\xff"),
                                .client = VIEW("web"),
                                .method = VIEW("jwt"),
                                .token_id = VIEW("jti"),
                                .key_id = VIEW("kid"),
                                .groups = {words, 2},
                                .scopes = {words, 1},
                                .expires_at_s = 1767323045};
    const struct decision d = {true, &role, VIEW("allowed"), findings, 2};
    const struct audit_source source = {VIEW("192.0.2.1:5"), VIEW("TLSv1.3"), VIEW("AES")};
    char hash[65];
    audit_statement_hash(VIEW("select 1"), hash);
    const struct audit_target t = {VIEW("shop"),    VIEW("order"),  VIEW("/orders/{id}"),
                                   view_str(hash),  true,           VIEW("reader_role"),
                                   VIEW("app"),     VIEW("shopdb"), VIEW("h:5432"),
                                   VIEW("arn:aws:iam::1:role/x")};
    const struct audit_call call = {VIEW("req-1"), VIEW("trace-1")};
    struct buf part[4];
    for (size_t i = 0; i < 4; i++)
        buf_init(&part[i], 4096);
    audit_render_principal(&part[0], &p);
    audit_render_source(&part[1], &source);
    audit_render_decision(&part[2], &d);
    audit_render_target(&part[3], &t);
    struct view v[4];
    for (size_t i = 0; i < 4; i++)
        v[i] = buf_view(&part[i]);
    assert_true(audit_start(w, &(struct audit_start){VIEW("1.0"), 4, 4711}));
    assert_true(audit_config_change(
        w, &(struct audit_config_change){VIEW("f.yaml"), VIEW("ab"), VIEW("reload"), false, 3,
                                         VIEW("line 3"), 1, 2, 3}));
    struct audit_login login = {false,          VIEW("shop"), VIEW("h:5432"), VIEW("real"),
                                VIEW("shopdb"), VIEW("app"),  VIEW("iam"),    VIEW("AKIA"),
                                VIEW("environment"), VIEW("arn"), 1767323045000000, 77,
                                VIEW("TLSv1.3"), VIEW("AES"), 1234, VIEW("why"), VIEW("more"),
                                VIEW("28000")};
    assert_true(audit_login(w, &login));
    login.failed = true;
    assert_true(audit_login(w, &login));
    assert_true(audit_intent(w, &(struct audit_intent){call, VIEW("GET"), v[0], v[1], v[2], v[3],
                                                       VIEW("AKIA"), VIEW("{\"id\":\"1\"}")}));
    assert_true(audit_outcome(w, &(struct audit_outcome){call, 200, 1, VIEW("00000"), VIEW("r"),
                                                         77, VIEW("h:5432"), VIEW("AKIA"), 12, 1,
                                                         2, 3}));
    assert_true(audit_auth_failure(
        w, &(struct audit_auth_failure){call, VIEW("GET"), VIEW("/x"), v[1], VIEW("expired"),
                                        VIEW("the token ended"), VIEW("iss"), VIEW("kid"), 401}));
    assert_true(audit_denial(w, &(struct audit_denial){call, VIEW("GET"), VIEW("/x"), v[0], v[1],
                                                       v[2], v[3], VIEW("no_role"), VIEW("none"),
                                                       VIEW("rate-limiting gold"), 404}));
    assert_true(audit_stop(w, &(struct audit_stop){VIEW("SIGTERM")}));
    for (size_t i = 0; i < 4; i++)
        buf_clear(&part[i]);
}

static bool type_fits(enum audit_type type, const struct json_value *v)
{
    switch (type) {
    case AUDIT_TEXT:
        return v->type == JSON_STRING;
    case AUDIT_INTEGER:
        return v->type == JSON_NUMBER;
    case AUDIT_BOOL:
        return v->type == JSON_BOOL;
    case AUDIT_TEXTS:
        return v->type == JSON_ARRAY && v->first != NULL && v->first->type == JSON_STRING;
    case AUDIT_OBJECT:
        return v->type == JSON_OBJECT;
    case AUDIT_OBJECTS:
        return v->type == JSON_ARRAY && v->first != NULL && v->first->type == JSON_OBJECT;
    }
    return false;
}

static void hold_to_schema(const struct json_value *record, enum audit_kind kind, unsigned *used)
{
    JSON_EACH(member, record) {
        size_t i = 0;
        while (i < audit_field_count && !view_is(member->name, audit_fields[i].name))
            i++;
        if (i == audit_field_count)
            fail_msg("'%.*s' is not in the schema", VIEW_ARG(member->name));
        if ((audit_fields[i].kinds & 1u << kind) == 0)
            fail_msg("'%s' may not stand in %s", audit_fields[i].name, audit_kind_name(kind));
        if (!type_fits(audit_fields[i].type, member))
            fail_msg("'%s' has another type", audit_fields[i].name);
        used[i] |= 1u << kind;
    }
}

/* Both ways: nothing is written that the schema does not describe, and the other way round. */
static void every_record_is_as_the_schema_says(void **state)
{
    unsigned *used = calloc(audit_field_count, sizeof *used);
    const struct json_value *json;
    struct audit_merge *merge;
    struct audit_line record;
    struct arena arena;
    struct folder f;
    struct view line;
    int records = 0;

    (void)state;
    folder_make(&f);
    struct audit_log *log = open_log(&f, 0);
    struct audit_writer *w = open_writer(log, 3);
    append_everything(w);
    char big[70000];
    memset(big, 'x', sizeof big);
    assert_true(audit_intent(w, &(struct audit_intent){.values = view_of(big, sizeof big)}));
    audit_writer_close(w);
    audit_log_close(log);
    arena_init(&arena, 4096, 1 << 20);
    assert_false(failed(audit_merge_open(f.path, &merge)));
    for (; audit_merge_next(merge, &line, &record); records++) {
        enum audit_kind kind;
        arena_reset(&arena);
        assert_false(failed(json_parse(&arena, line, NULL, &json, NULL)));
        assert_true(audit_kind_by_name(record.kind, &kind));
        hold_to_schema(json, kind, used);
        assert_int_equal(record.writer, 3);
        assert_int_equal(record.seq, records + 1);
    }
    assert_int_equal(records, 11);
    for (size_t i = 0; i < audit_field_count; i++) {
        unsigned want = audit_fields[i].kinds;
        /* The first file of a writer has none before it. */
        if (strcmp(audit_fields[i].name, "previous_file") == 0)
            want = 0;
        if (used[i] != want)
            fail_msg("'%s' stands in kinds %x, not %x", audit_fields[i].name, used[i], want);
    }
    audit_merge_close(merge);
    arena_clear(&arena);
    assert_whole(&f, 11);
    folder_remove(&f);
    free(used);
}

static void texts_reach_the_record_unchanged(void **state)
{
    const struct json_value *json;
    struct view subject, node;
    struct arena arena;
    struct folder f;
    char path[512];
    size_t len;

    (void)state;
    folder_make(&f);
    struct audit_log *log = open_log(&f, 0);
    struct audit_writer *w = open_writer(log, 1);
    append_everything(w);
    audit_writer_close(w);
    assert_true(folder_find(&f, "-w1-1.jsonl", path));
    char *text = file_read(path, &len);
    char *line = line_at(text, 6); /* the intent */
    arena_init(&arena, 4096, 1 << 20);
    assert_false(failed(json_parse(&arena, view_upto(view_str(line), strcspn(line, "\n")), NULL,
                                   &json, NULL)));
    assert_true(json_get_string(json, "subject", &subject));
    assert_true(view_is(subject, "ali\"ce\\\x01\xef\xbf\xbd"));
    assert_true(json_get_string(json, "node", &node));
    assert_true(view_is(node, "node \"1\""));
    assert_true(json_get_string(json, "token_expires", &node));
    assert_true(view_is(node, "2026-01-02T03:04:05.000000Z"));
    const struct json_value *roles = json_get(json, "roles");
    assert_true(view_is(roles->raw, "[{\"role\":\"admin\",\"verdict\":\"missing_group\"},"
                                    "{\"role\":\"reader\",\"verdict\":\"chosen\"}]"));
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    arena_clear(&arena);
    free(text);
    audit_log_close(log);
    folder_remove(&f);
}

static void file_names_are_read_strictly(void **state)
{
    static const char *const bad[] = {
        "20260102t030405-0123abcd-w01-1.jsonl", "20260102t030405-0123abcd-w1-0.jsonl",
        "20260102t030405-0123abcd-w1-.jsonl",   "20260102t030405-0123abcd-w1-1.json",
        "20260102T030405-0123abcd-w1-1.jsonl",  "20260102t030405-0123abcX-w1-1.jsonl",
        "anchors.jsonl",                        ".jsonl",
        "20260102t030405-0123abcd-w1-1-1.jsonl", "20260102t030405-0123abcd.jsonl",
    };
    struct audit_file file;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        if (audit_file_parse(bad[i], &file))
            fail_msg("%s was taken", bad[i]);
    }
    assert_true(audit_file_parse("20260102t030405-0123abcd-w12-345.jsonl", &file));
    assert_string_equal(file.boot, "20260102t030405-0123abcd");
    assert_int_equal(file.writer, 12);
    assert_int_equal(file.number, 345);
    assert_false(file.anchors);
    assert_true(audit_file_parse("20260102t030405-0123abcd-anchors.jsonl", &file));
    assert_true(file.anchors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_record_is_as_the_schema_says),
        cmocka_unit_test(texts_reach_the_record_unchanged),
        cmocka_unit_test(file_names_are_read_strictly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
