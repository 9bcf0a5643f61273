/* Any text: what parses can be written and parses to the same again; every view lies where it
 * should; and any bytes written as a string parse back. */
#include <stdint.h>
#include <stdlib.h>

#include "base/log.h"
#include "json/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool within(struct view part, struct view whole)
{
    return part.data >= whole.data && part.data + part.len <= whole.data + whole.len;
}

static void check_place(const struct json_value *v, struct view source)
{
    ENSURE(within(v->raw, source));
    size_t count = 0;
    JSON_EACH(item, v) {
        ENSURE(within(item->raw, v->raw));
        ENSURE((v->type == JSON_OBJECT) == (item->name.data != NULL));
        count++;
    }
    ENSURE(count == v->count);
    if (v->type == JSON_STRING)
        ENSURE(view_is_utf8(v->text) && v->text.len + 2 <= v->raw.len);
    else if (v->type != JSON_ARRAY && v->type != JSON_OBJECT)
        ENSURE(view_eq(v->text, v->raw));
}

static void write_value(struct buf *b, const struct json_value *v, struct view source)
{
    bool object = v->type == JSON_OBJECT;
    check_place(v, source);
    if (v->type == JSON_STRING) {
        json_add_string(b, v->text);
    } else if (!object && v->type != JSON_ARRAY) {
        buf_add_view(b, v->text);
    } else {
        buf_add_char(b, object ? '{' : '[');
        JSON_EACH(item, v) {
            if (item != v->first)
                buf_add_char(b, ',');
            if (object) {
                json_add_string(b, item->name);
                buf_add_char(b, ':');
            }
            write_value(b, item, source);
        }
        buf_add_char(b, object ? '}' : ']');
    }
}

static bool equal(const struct json_value *a, const struct json_value *b)
{
    if (a->type != b->type || a->count != b->count || !view_eq(a->text, b->text) ||
        !view_eq(a->name, b->name))
        return false;
    const struct json_value *other = b->first;
    JSON_EACH(item, a) {
        if (!equal(item, other))
            return false;
        other = other->next;
    }
    return other == NULL;
}

static void as_document(struct arena *arena, struct view source)
{
    const struct json_value *first, *second;
    size_t at = SIZE_MAX;
    struct buf written;
    err e = json_parse(arena, source, NULL, &first, &at);
    if (failed(e)) {
        ENSURE(first == NULL && (at <= source.len || is_fault(e, &fault_out_of_memory)));
        return;
    }
    buf_init(&written, SIZE_MAX);
    write_value(&written, first, source);
    ENSURE(!failed(json_parse(arena, buf_view(&written), NULL, &second, NULL)));
    ENSURE(equal(first, second));
    int64_t integer, seconds;
    if (json_to_i64(first, &integer))
        ENSURE(json_to_seconds(first, &seconds) && seconds == integer);
    buf_clear(&written);
}

static void as_string(struct arena *arena, struct view bytes)
{
    const struct json_value *value;
    struct buf written;
    buf_init(&written, SIZE_MAX);
    json_add_string(&written, bytes);
    ENSURE(!failed(json_parse(arena, buf_view(&written), NULL, &value, NULL)));
    ENSURE(value->type == JSON_STRING);
    ENSURE(view_eq(value->text, bytes) == view_is_utf8(bytes));
    buf_clear(&written);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct view source = view_of(data, size);
    struct arena arena;
    arena_init(&arena, 4096, 16 << 20);
    as_document(&arena, source);
    as_string(&arena, source);
    arena_clear(&arena);
    return 0;
}
