/* The first two bytes are a type's OID; the rest is a value of the server, and then a parameter of
 * a caller.  A decoded array, written again, decodes to the same. */
#include "base/log.h"
#include "pg/value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_number_text(struct view v)
{
    for (size_t i = 0; i < v.len; i++) {
        if (strchr("0123456789+-.eE", v.data[i]) == NULL || v.data[i] == '\0')
            return false;
    }
    return v.len > 0;
}

static void check_cell(const struct cell *c, unsigned depth)
{
    ENSURE(depth <= PG_MAX_DIMENSIONS);
    if (c->kind == CELL_NUMBER)
        ENSURE(is_number_text(c->text));
    if (c->kind == CELL_TEXT || c->kind == CELL_JSON)
        ENSURE(view_is_utf8(c->text));
    for (size_t i = 0; c->kind == CELL_ARRAY && i < c->count; i++)
        check_cell(&c->items[i], depth + 1);
}

static void write_cell(struct pg_array_writer *w, const struct cell *c)
{
    if (c->kind != CELL_ARRAY) {
        pg_add_array_element(w, c->kind == CELL_NULL ? (struct view){NULL, 0} : c->text);
        return;
    }
    pg_add_array_open(w);
    for (size_t i = 0; i < c->count; i++)
        write_cell(w, &c->items[i]);
    pg_add_array_close(w);
}

static bool same(const struct cell *a, const struct cell *b)
{
    if (a->kind != b->kind || a->count != b->count || !view_eq(a->text, b->text))
        return false;
    for (size_t i = 0; a->kind == CELL_ARRAY && i < a->count; i++) {
        if (!same(&a->items[i], &b->items[i]))
            return false;
    }
    return true;
}

static void write_and_read_again(struct arena *arena, const struct cell *array)
{
    struct pg_array_writer w;
    struct buf out;
    struct cell again;

    buf_init(&out, 4 << 20);
    pg_array_init(&w, &out);
    write_cell(&w, array);
    ENSURE(!buf_failed(&out));
    err e = pg_value_to_cell(arena, 1009, buf_view(&out), &again);
    ENSURE(is_fault(e, &fault_too_large) || (!failed(e) && same(array, &again)));
    buf_clear(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct cell cell;

    if (size < 2)
        return 0;
    uint32_t oid = (uint32_t)(data[0] << 8 | data[1]);
    struct view text = view_of(data + 2, size - 2);
    arena_init(&arena, 4096, 4 << 20);
    if (!failed(pg_value_to_cell(&arena, oid, text, &cell))) {
        check_cell(&cell, 0);
        if (oid == 1009)
            write_and_read_again(&arena, &cell);
    }
    (void)!failed(pg_parameter_check(oid, text));
    (void)pg_type_oid(text);
    arena_clear(&arena);
    return 0;
}
