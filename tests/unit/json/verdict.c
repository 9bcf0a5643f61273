/*
 * For compare_python.py: reads documents, each after its length as four big-endian bytes, and
 * answers each with one line: "-" and the fault, or "+" and the document written again (numbers
 * and escapes by our writer, so that the other side sees the values as we read them).
 */
#include <stdio.h>
#include <stdlib.h>

#include "json/json.h"

static void write_value(struct buf *b, const struct json_value *v)
{
    bool object = v->type == JSON_OBJECT;
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
            write_value(b, item);
        }
        buf_add_char(b, object ? '}' : ']');
    }
}

static void answer(struct arena *arena, struct view text)
{
    const struct json_value *value;
    struct buf line;
    buf_init(&line, SIZE_MAX);
    err e = json_parse(arena, text, NULL, &value, NULL);
    if (failed(e)) {
        buf_printf(&line, "-%s", e.fault->name);
    } else {
        buf_add_char(&line, '+');
        write_value(&line, value);
    }
    buf_add_char(&line, '\n');
    fwrite(line.data, 1, line.len, stdout);
    buf_clear(&line);
}

int main(void)
{
    struct arena arena;
    unsigned char size[4];
    arena_init(&arena, 4096, 16 << 20);
    while (fread(size, 1, sizeof size, stdin) == sizeof size) {
        size_t len = (size_t)size[0] << 24 | (size_t)size[1] << 16 | (size_t)size[2] << 8 | size[3];
        char *text = malloc(len > 0 ? len : 1);
        if (text == NULL || fread(text, 1, len, stdin) != len)
            return 1;
        answer(&arena, view_of(text, len));
        free(text);
        arena_reset(&arena);
    }
    arena_clear(&arena);
    return 0;
}
