/* A statement's text: rewritten, led back, analysed.  What the rewriting promises is asserted. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "sql_pg/sql_analysis.h"
#include "sql_pg/sql_named.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void check_uses(const struct sql_named *named)
{
    size_t original = 0, text = 0;
    for (size_t i = 0; i < named->use_count; i++) {
        const struct sql_named_use *use = &named->uses[i];
        const size_t between = use->from - original;
        check(use->from >= original && use->to >= text && use->to - text == between);
        check(view_eq(view_upto(view_from(named->original, original), between),
                      view_upto(view_from(named->text, text), between)));
        check(named->original.data[use->from] == ':');
        check(view_eq(view_upto(view_from(named->original, use->from + 1), use->from_len - 1),
                      named->names[use->index]));
        original = use->from + use->from_len;
        text = use->to + use->to_len;
    }
    check(view_eq(view_from(named->original, original), view_from(named->text, text)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct sql_named named;
    struct sql_analysis analysis;
    struct sql_place place;
    arena_init(&arena, 65536, 8 << 20);
    err e = sql_named_rewrite(&arena, view_of(data, size), &named, &place);
    check(!failed(e) || place.offset <= size);
    if (!failed(e)) {
        check_uses(&named);
        e = sql_analyse(&arena, named.text, &analysis);
        place = sql_named_place(&named, analysis.position);
        check(place.offset <= size && place.line >= 1 && place.column >= 1);
        /* PostgreSQL's parser knows the parameters that the rewriting made and no other: else a
         * quote or comment was read differently by the two. */
        check(failed(e) || analysis.max_parameter == named.name_count);
    }
    arena_clear(&arena);
    return 0;
}
