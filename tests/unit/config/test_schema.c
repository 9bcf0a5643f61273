/* The schema is data that nothing else checks: these are its own rules. */
#include "config_test.h"

#include "config/rules.h"
#include "config/schema.h"
#include "config/value.h"

static const struct record *const records[] = {&schema_file, &schema_node};

static size_t size_of(const struct field *f)
{
    switch (f->type) {
    case FIELD_STRING:
    case FIELD_PATH:
        return sizeof(struct view);
    case FIELD_BOOLEAN:
        return sizeof(bool);
    case FIELD_INTEGER:
        return sizeof(int64_t);
    case FIELD_PORT:
        return sizeof(uint16_t);
    case FIELD_ENUM:
        return sizeof(unsigned);
    case FIELD_STRINGS:
        return sizeof(struct strings);
    case FIELD_LISTENS:
        return sizeof(struct listens);
    case FIELD_RECORD:
        return f->record != NULL ? f->record->size : 0; /* a plugin's config */
    case FIELD_LIST:
    case FIELD_MAP:
    case FIELD_REFERENCE:
        return sizeof(void *);
    }
    return SIZE_MAX;
}

static void check_fallback(const struct field *f)
{
    union {
        struct listens listens;
        struct strings strings;
        int64_t integer;
        char bytes[64];
    } slot;
    char why[WHY_BYTES];
    struct arena arena;

    arena_init(&arena, 4096, 1 << 20);
    struct value_style style = {.arena = &arena, .booleans_as_on = true};
    if (!value_parse(&style, f, view_str(f->fallback), &slot, why))
        fail_msg("the default of %s: %s", f->name, why);
    arena_clear(&arena);
}

static void check_field(const struct record *r, const struct field *f)
{
    size_t len = strlen(f->doc);

    if (len < 8 || f->doc[len - 1] != '.')
        fail_msg("%s.%s is not documented by a sentence", r->kind, f->name);
    assert_true(len < 200);
    assert_string_equal(f->since, "0.1.0");
    assert_true(f->offset + size_of(f) <= r->size);
    assert_true(f->present_offset == NO_OFFSET || f->present_offset < r->size);
    if (f->take != take_nothing)
        assert_true((f->type == FIELD_RECORD || f->type == FIELD_LIST || f->type == FIELD_MAP) ==
                    (f->record != NULL));
    assert_true(f->type != FIELD_ENUM || f->words != NULL);
    assert_true(f->max == 0 || f->min < f->max);
    assert_false((f->flags & FIELD_REQUIRED) && f->fallback != NULL);
    assert_true(!(f->flags & FIELD_SECRET) || f->type == FIELD_STRING ||
                (f->type == FIELD_STRINGS && (f->flags & FIELD_READ_LATER)));
    if (f->fallback != NULL)
        check_fallback(f);
    for (const struct field *other = r->fields; other != f; other++) {
        if (strcmp(other->name, f->name) == 0)
            fail_msg("%s.%s stands twice", r->kind, f->name);
    }
}

static size_t check_record(const struct record *r, int depth)
{
    size_t fields = r->field_count;

    assert_true(depth < 8);
    assert_true(r->line_offset == NO_OFFSET || r->line_offset + sizeof(unsigned) <= r->size);
    for (size_t i = 0; i < r->field_count; i++) {
        check_field(r, &r->fields[i]);
        if (r->fields[i].record != NULL)
            fields += check_record(r->fields[i].record, depth + 1);
    }
    for (size_t i = 0; r == &schema_plugin && i < PLUGIN_KINDS; i++)
        fields += check_record(schema_plugin_configs[i], depth + 1);
    for (size_t i = 0; r->kong != NULL && r->kong[i] != NULL; i++) {
        if (schema_field(r, view_str(r->kong[i])) != NULL)
            fail_msg("%s.%s is both supported and not", r->kind, r->kong[i]);
    }
    return fields;
}

static void every_field_is_whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(records); i++)
        assert_true(check_record(records[i], 0) > 15);
}

static void the_manual_names_every_section_and_default(void **state)
{
    static const char *const lines[] = {
        ".SS The file\n",
        ".SS services[].routes[].statement.parameters.NAME\n",
        ".SS roles[].when\n",
        ".SS services[].read\n",
        ".SS plugins[]\n",
        ".SS plugins[].config of rate\\-limiting\n",
        ".B idle_timeout_ms\n(integer, milliseconds, 0 to 86400000; default 60000)\n.br\nAn unused "
        "connection is closed after this time; 0: never.\n",
        ".B sslmode\n(string: disable, require, verify\\-ca, verify\\-full; default "
        "verify\\-full)\n",
        ".B password\n(string, secret)\n",
        ".B claims\n(mapping of lists by name)\n",
    };
    struct buf out;
    (void)state;

    buf_init(&out, 1 << 20);
    schema_man_yaml(&out);
    buf_add_char(&out, '\0');
    assert_false(buf_failed(&out));
    for (size_t i = 0; i < COUNT_OF(lines); i++) {
        if (strstr(out.data, lines[i]) == NULL)
            fail_msg("the manual lacks: %s", lines[i]);
    }
    buf_reset(&out);
    schema_man_conf(&out);
    buf_add_char(&out, '\0');
    assert_non_null(strstr(out.data, ".B proxy_listen\n(list of addresses; default "
                                     "127.0.0.1:8000)\n.br\nWhere callers are served"));
    buf_clear(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_is_whole),
        cmocka_unit_test(the_manual_names_every_section_and_default),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
