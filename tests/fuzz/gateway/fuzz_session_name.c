/*
 * A template, and two callers that differ somewhere; lines.  What a template names is told from the
 * text by another way than the code's.  Two callers have the same name only when they are the same
 * in all that the template names; every name is one that STS takes.
 */
#include <stdint.h>
#include <stdlib.h>

#include "gateway/session_name.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FIELDS = 5 };
static const struct view words[FIELDS - 1] = {{"{subject}", 9}, {"{client}", 8}, {"{role}", 6},
                                              {"{issuer}", 8}};

static void check(bool holds)
{
    if (!holds)
        abort();
}

static bool names(struct view text, struct view word)
{
    for (size_t i = 0; i + word.len <= text.len; i++) {
        if (view_eq(view_upto(view_from(text, i), word.len), word))
            return true;
    }
    return false;
}

/* The values of a caller, one a line; an absent one is told from an empty one. */
static struct view take_caller(struct view input, struct view fields[FIELDS])
{
    for (size_t i = 0; i < FIELDS; i++) {
        input = view_cut(input, '\n', &fields[i]);
        if (view_is(fields[i], "?"))
            fields[i] = (struct view){NULL, 0};
    }
    return input;
}

static struct session_caller caller_of(const struct view f[FIELDS], bool only_issuer)
{
    return (struct session_caller){f[4], f[3], f[0], f[1], f[2], only_issuer};
}

static bool same(struct view a, struct view b)
{
    return view_eq(a, b) && (a.data == NULL) == (b.data == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct view text, one[FIELDS], two[FIELDS], a, b;
    struct view rest = view_cut(view_of(data, size), '\n', &text);
    rest = take_caller(rest, one);
    rest = take_caller(rest, two);
    enum session_text kind = rest.len > 0 && rest.data[0] == 't' ? SESSION_TEXT_TAG
                                                                 : SESSION_TEXT_NAME;
    bool only_issuer = rest.len > 1;
    if (session_template_check(text, kind) != NULL)
        return 0;
    if (only_issuer) /* then all callers are its */
        two[3] = one[3], two[4] = one[4];
    struct arena arena;
    arena_init(&arena, 4096, 4 << 20);
    const struct session_caller x = caller_of(one, only_issuer), y = caller_of(two, only_issuer);
    check(!failed(session_text_render(&arena, text, kind, &x, &a)));
    check(!failed(session_text_render(&arena, text, kind, &y, &b)));
    bool alike = true;
    for (size_t i = 0; i < FIELDS - 1; i++)
        alike = alike && (!names(text, words[i]) || same(one[i], two[i]));
    if (names(text, words[0]) || names(text, words[1]))
        alike = alike && same(one[4], two[4]);
    check(view_eq(a, b) == alike);
    check(a.len <= session_text_max(kind) && (kind == SESSION_TEXT_TAG || a.len >= 2));
    for (size_t i = 0; i < a.len; i++)
        check(session_text_may_have(kind, a.data[i]));
    arena_clear(&arena);
    return 0;
}
