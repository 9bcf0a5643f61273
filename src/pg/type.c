#include "pg/type.h"

#include "pg/value.h"

enum { MAX_NAME_BYTES = 64 };

struct type {
    struct view name;
    struct view array_name;
    uint32_t oid;
    uint32_t array_oid;
};

#define TYPE_ROW(kind, oid, array_oid, name) {VIEW(name), VIEW(name "[]"), oid, array_oid},
static const struct type types[] = {PG_TYPES(TYPE_ROW)};

/* The names of the SQL standard (chapter 8, table 8.1), for which the catalog has shorter ones. */
static const struct alias {
    struct view name;
    uint32_t oid;
} aliases[] = {
    {VIEW("bigint"), 20},
    {VIEW("bit varying"), 1562},
    {VIEW("boolean"), 16},
    {VIEW("char"), 1042},
    {VIEW("char varying"), 1043},
    {VIEW("character"), 1042},
    {VIEW("character varying"), 1043},
    {VIEW("dec"), 1700},
    {VIEW("decimal"), 1700},
    {VIEW("double precision"), 701},
    {VIEW("float"), 701},
    {VIEW("int"), 23},
    {VIEW("integer"), 23},
    {VIEW("real"), 700},
    {VIEW("smallint"), 21},
    {VIEW("time with time zone"), 1266},
    {VIEW("time without time zone"), 1083},
    {VIEW("timestamp with time zone"), 1184},
    {VIEW("timestamp without time zone"), 1114},
};

enum pg_kind pg_type_kind(uint32_t oid)
{
#define KIND_CASE(kind, oid, array_oid, name)                                                      \
    case oid:                                                                                      \
        return PG_KIND_##kind;
    switch (oid) {
        PG_TYPES(KIND_CASE)
    default:
        return PG_KIND_TEXT;
    }
}

uint32_t pg_type_element(uint32_t oid)
{
#define ELEMENT_CASE(kind, oid, array_oid, name)                                                   \
    case array_oid:                                                                                \
        return oid;
    switch (oid) {
        PG_TYPES(ELEMENT_CASE)
    default:
        return 0;
    }
}

struct view pg_type_name(uint32_t oid)
{
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        if (types[i].oid == oid)
            return types[i].name;
        if (types[i].array_oid == oid)
            return types[i].array_name;
    }
    return (struct view){NULL, 0};
}

struct plain_name {
    char text[MAX_NAME_BYTES];
    size_t len;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Lower case, one blank between words, no "(…)" modifier; false when it is no name at all. */
static bool plain_name(struct view name, struct plain_name *out)
{
    bool gap = false, in_modifier = false;

    out->len = 0;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];
        if (in_modifier || c == '(' || is_blank(c)) {
            if (in_modifier && c == '(')
                return false;
            in_modifier = (in_modifier || c == '(') && c != ')';
            gap = true;
            continue;
        }
        if (out->len + 2 > MAX_NAME_BYTES)
            return false;
        if (gap && out->len > 0 && c != '[' && c != ']')
            out->text[out->len++] = ' ';
        gap = false;
        out->text[out->len++] = (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
    }
    return !in_modifier;
}

static uint32_t scalar_oid(struct view name)
{
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        if (view_eq(types[i].name, name))
            return types[i].oid;
    }
    for (size_t i = 0; i < COUNT_OF(aliases); i++) {
        if (view_eq(aliases[i].name, name))
            return aliases[i].oid;
    }
    return 0;
}

static uint32_t array_oid(uint32_t oid)
{
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        if (types[i].oid == oid)
            return types[i].array_oid;
    }
    return 0;
}

uint32_t pg_type_oid(struct view name)
{
    static const struct view schema = VIEW("pg_catalog.");
    struct plain_name plain;
    bool is_array = false;

    if (!plain_name(name, &plain))
        return 0;
    struct view v = view_of(plain.text, plain.len);
    /* An array type is one for all numbers of dimensions. */
    while (view_ends_with(v, VIEW("[]"))) {
        v = view_upto(v, v.len - 2);
        is_array = true;
    }
    if (view_starts_with(v, schema))
        v = view_from(v, schema.len);
    return is_array ? array_oid(scalar_oid(v)) : scalar_oid(v);
}
