#include "config/value.h"

#include <stdio.h>

#include "base/attr.h"
#include "base/diag.h"
#include "model/entities.h"

static size_t count_words(const char *const *words)
{
    size_t n = 0;
    while (words[n] != NULL)
        n++;
    return n;
}

static bool find_word(const char *const *words, struct view text, size_t *at)
{
    for (size_t i = 0; words[i] != NULL; i++) {
        if (view_is(text, words[i])) {
            *at = i;
            return true;
        }
    }
    return false;
}

enum { WORDS_MAX = 32, LIST_MAX_ITEMS = 4096 };

/* "'prefer' is not one of disable, require; did you mean 'require'?" */
static void explain_words(const char *const *words, struct view text, char why[WHY_BYTES])
{
    struct view known[WORDS_MAX];
    size_t count = count_words(words), used;

    used = (size_t)snprintf(why, WHY_BYTES, "'%.*s' is not one of ", (int)view_upto(text, 64).len,
                            text.data);
    for (size_t i = 0; i < count && i < WORDS_MAX && used < WHY_BYTES; i++) {
        known[i] = view_str(words[i]);
        used += (size_t)snprintf(why + used, WHY_BYTES - used, "%s%s", i > 0 ? ", " : "", words[i]);
    }
    if (count > WORDS_MAX)
        count = WORDS_MAX;
    struct view near = diag_nearest(text, known, count);
    for (size_t i = 0; i < count; i++) {
        if (view_eq_nocase(text, known[i]))
            near = known[i];
    }
    if (near.data != NULL && used < WHY_BYTES)
        snprintf(why + used, WHY_BYTES - used, "; did you mean '%.*s'?", VIEW_ARG(near));
}

static bool refuse(char why[WHY_BYTES], const char *text)
{
    snprintf(why, WHY_BYTES, "%s", text);
    return false;
}

bool value_check_text(const struct field *f, struct view text, char why[WHY_BYTES])
{
    size_t at;

    if (text.len == 0 && !(f->flags & FIELD_MAY_BE_EMPTY))
        return refuse(why, "must not be empty");
    if (f->words != NULL && !find_word(f->words, text, &at)) {
        explain_words(f->words, text, why);
        return false;
    }
    const char *wrong = f->check == NULL ? NULL : f->check(text);
    return wrong == NULL || refuse(why, wrong);
}

static bool parse_boolean(const struct value_style *style, struct view text, bool *slot,
                          char why[WHY_BYTES])
{
    bool on = view_is(text, "true") || (style->booleans_as_on && view_is(text, "on"));
    bool off = view_is(text, "false") || (style->booleans_as_on && view_is(text, "off"));

    if (!on && !off)
        return refuse(why, style->booleans_as_on ? "must be on or off" : "must be true or false");
    *slot = on;
    return true;
}

/* 8m is 8 MiB, as nginx and so Kong write sizes. */
static uint64_t size_suffix(struct view *text)
{
    static const char suffixes[] = "kmg";

    if (text->len < 2)
        return 1;
    char last = (char)(text->data[text->len - 1] | 0x20);
    const char *at = memchr(suffixes, last, sizeof suffixes - 1);
    if (at == NULL)
        return 1;
    text->len--;
    return UINT64_C(1) << (10 * (unsigned)(at - suffixes + 1));
}

static uint64_t duration_suffix(struct view *text)
{
    static const struct {
        char letter;
        unsigned seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};

    for (size_t i = 0; i < COUNT_OF(units) && text->len > 1; i++) {
        if (text->data[text->len - 1] == units[i].letter) {
            text->len--;
            return units[i].seconds;
        }
    }
    return 1;
}

static const char *what_integer(enum field_unit unit)
{
    if (unit == UNIT_BYTES)
        return "must be a whole number of bytes, or one with k, m or g";
    if (unit == UNIT_DURATION)
        return "must be a whole number of seconds, or one with s, m, h or d";
    return "must be a whole number";
}

static bool parse_integer(const struct field *f, struct view text, int64_t *slot,
                          char why[WHY_BYTES])
{
    bool negative = text.len > 0 && text.data[0] == '-';
    struct view digits = negative ? view_from(text, 1) : text;
    uint64_t scale = f->unit == UNIT_BYTES      ? size_suffix(&digits)
                     : f->unit == UNIT_DURATION ? duration_suffix(&digits)
                                                : 1;
    uint64_t n;
    int64_t max = f->max != 0 ? f->max : INT64_MAX;

    /* The digits' own bound keeps n * scale from overflowing. */
    if (!view_to_u64(digits, INT64_MAX / scale, &n))
        return refuse(why, what_integer(f->unit));
    int64_t value = (int64_t)(n * scale);
    if (negative)
        value = -value;
    if (value < f->min || value > max) {
        snprintf(why, WHY_BYTES, "must be from %lld to %lld%s", (long long)f->min, (long long)max,
                 f->unit == UNIT_DURATION ? " seconds" : "");
        return false;
    }
    *slot = value;
    return true;
}

static bool parse_strings(const struct value_style *style, const struct field *f, struct view text,
                          struct strings *slot, char why[WHY_BYTES])
{
    size_t count = 1, n = 0;
    struct view head, rest = text;

    for (size_t i = 0; i < text.len; i++)
        count += text.data[i] == ',';
    struct view *items = count > LIST_MAX_ITEMS ? NULL
                                                : ARENA_ARRAY(style->arena, count, struct view);
    if (items == NULL)
        return refuse(why, "the list is too long");
    while (rest.data != NULL) {
        rest = view_cut(rest, ',', &head);
        head = view_trim(head);
        if (!value_check_text(f, head, why))
            return false;
        items[n] = arena_copy(style->arena, head);
        if (items[n++].data == NULL)
            return refuse(why, "there is not enough memory");
    }
    *slot = (struct strings){items, n};
    return true;
}

struct view value_path(const struct value_style *style, struct view path)
{
    if (path.len == 0 || path.data[0] == '/' || style->folder.len == 0)
        return arena_copy(style->arena, path);
    return arena_printf(style->arena, "%.*s/%.*s", VIEW_ARG(style->folder), VIEW_ARG(path));
}

static bool parse_text(const struct value_style *style, const struct field *f, struct view text,
                       struct view *slot, char why[WHY_BYTES])
{
    if (!value_check_text(f, text, why))
        return false;
    *slot = f->type == FIELD_PATH ? value_path(style, text) : arena_copy(style->arena, text);
    return slot->data != NULL || refuse(why, "there is not enough memory");
}

static bool parse_port(struct view text, uint16_t *slot, char why[WHY_BYTES])
{
    uint64_t n;

    if (!view_to_u64(text, 65535, &n) || n == 0)
        return refuse(why, "must be a port number, from 1 to 65535");
    *slot = (uint16_t)n;
    return true;
}

static bool parse_enum(const struct field *f, struct view text, void *slot, char why[WHY_BYTES])
{
    size_t at;

    if (!find_word(f->words, text, &at)) {
        explain_words(f->words, text, why);
        return false;
    }
    /* gcc and clang give every enum of the model the size of an unsigned. */
    _Static_assert(sizeof(enum sslmode) == sizeof(unsigned), "enums are unsigned");
    unsigned value = (unsigned)at;
    memcpy(slot, &value, sizeof value);
    return true;
}

bool value_parse(const struct value_style *style, const struct field *f, struct view text,
                 void *slot, char why[WHY_BYTES])
{
    switch (f->type) {
    case FIELD_STRING:
    case FIELD_PATH:
        return parse_text(style, f, text, slot, why);
    case FIELD_BOOLEAN:
        return parse_boolean(style, text, slot, why);
    case FIELD_INTEGER:
        return parse_integer(f, text, slot, why);
    case FIELD_PORT:
        return parse_port(text, slot, why);
    case FIELD_ENUM:
        return parse_enum(f, text, slot, why);
    case FIELD_STRINGS:
        return parse_strings(style, f, text, slot, why);
    case FIELD_LISTENS:
        return listens_parse(style->arena, text, slot, why);
    case FIELD_RECORD:
    case FIELD_LIST:
    case FIELD_MAP:
    case FIELD_REFERENCE:
        break;
    }
    return refuse(why, "cannot be a single value");
}
