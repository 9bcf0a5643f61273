#include "sql_pg/sql_named.h"

#include "base/buf.h"

const struct fault sql_named_too_large = {
    "sql_too_large", "the statement is longer than 32 KiB", NULL, 0};
const struct fault sql_named_not_utf8 = {
    "sql_not_utf8", "the statement is not UTF-8, or holds a NUL byte", NULL, 0};
const struct fault sql_named_unterminated = {
    "sql_unterminated", "a quote or comment has no end", NULL, 0};
const struct fault sql_named_positional = {
    "sql_positional_parameter", "parameters are written :name, not $1", NULL, 0};
const struct fault sql_named_touches_word = {
    "sql_parameter_touches_word", "put a blank between the word and the :parameter", NULL, 0};
const struct fault sql_named_bad_name = {
    "sql_parameter_bad_name", "a parameter's name is of letters, digits and _, at most 63",
    NULL, 0};
const struct fault sql_named_ambiguous_slice = {
    "sql_ambiguous_slice", "write a[(:n)] for a parameter, a[:(n)] for a slice", NULL, 0};
const struct fault sql_named_too_many = {
    "sql_too_many_parameters", "more than 256 different parameters, or nested too deeply", NULL,
    0};

enum { MAX_BRACKETS = 256 };

/* What encloses the present place. */
enum bracket { BRACKET_ROUND, BRACKET_SUBSCRIPT, BRACKET_CONSTRUCTOR };

/* What the last token was, comments and blanks apart. */
enum last { LAST_OTHER, LAST_OPERAND, LAST_ARRAY_WORD, LAST_SUBSCRIPT_OPENED };

struct scanner {
    struct arena *arena;
    struct buf text;
    struct view sql;
    size_t at;
    size_t copied; /* of sql: what stands before is in text */
    size_t fault_at;
    enum last last;
    size_t depth;
    unsigned char brackets[MAX_BRACKETS];
    struct view *names;
    struct sql_named_use *uses;
    size_t name_count, name_room;
    size_t use_count, use_room;
};

static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

/* ident_start and ident_cont of scan.l; every byte above 0x7f is a letter there. */
static bool is_word_start(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0x80;
}

static bool is_word(int c)
{
    return is_word_start(c) || is_digit(c) || c == '$';
}

static bool is_name_start(int c)
{
    return is_word_start(c) && c < 0x80;
}

static bool is_blank(int c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

/* The byte at offset n from here, or -1 beyond the end. */
static int peek(const struct scanner *s, size_t n)
{
    return s->sql.len - s->at > n ? (unsigned char)s->sql.data[s->at + n] : -1;
}

static err fault_at(struct scanner *s, size_t at, const struct fault *fault)
{
    s->fault_at = at;
    return fail(fault);
}

static void skip_line_comment(struct scanner *s)
{
    while (peek(s, 0) >= 0 && peek(s, 0) != '\n' && peek(s, 0) != '\r')
        s->at++;
}

static err skip_block_comment(struct scanner *s)
{
    const size_t start = s->at;
    size_t depth = 0;
    do {
        if (peek(s, 0) < 0)
            return fault_at(s, start, &sql_named_unterminated);
        if (peek(s, 0) == '/' && peek(s, 1) == '*') {
            depth++;
            s->at += 2;
        } else if (peek(s, 0) == '*' && peek(s, 1) == '/') {
            depth--;
            s->at += 2;
        } else {
            s->at++;
        }
    } while (depth > 0);
    return OK;
}

/*
 * quotecontinue of scan.l: blanks and line comments with a line break among them, then a quote,
 * continue the same literal, with the same meaning of backslashes.  Moves behind that quote.
 */
static bool continue_literal(struct scanner *s)
{
    const size_t start = s->at;
    bool line_break = false;
    for (;;) {
        int c = peek(s, 0);
        if (c == '\n' || c == '\r')
            line_break = true;
        if (is_blank(c)) {
            s->at++;
        } else if (c == '-' && peek(s, 1) == '-') {
            skip_line_comment(s);
        } else if (c == '\'' && line_break) {
            s->at++;
            return true;
        } else {
            s->at = start;
            return false;
        }
    }
}

/* From the opening quote to behind the closing one. */
static err skip_quoted(struct scanner *s, char quote, bool backslashes)
{
    const size_t start = s->at++;
    for (;;) {
        int c = peek(s, 0);
        if (c < 0)
            return fault_at(s, start, &sql_named_unterminated);
        s->at++;
        if (c == '\\' && backslashes) {
            if (peek(s, 0) >= 0)
                s->at++;
        } else if (c == quote) {
            if (peek(s, 0) == quote)
                s->at++;
            else if (quote != '\'' || !continue_literal(s))
                break;
        }
    }
    s->last = LAST_OPERAND;
    return OK;
}

/* At a '$' that is not within a word. */
static err scan_dollar(struct scanner *s)
{
    const size_t start = s->at;
    if (is_digit(peek(s, 1)))
        return fault_at(s, start, &sql_named_positional);
    size_t n = 1;
    if (is_word_start(peek(s, 1))) {
        while (is_word(peek(s, n)) && peek(s, n) != '$')
            n++;
    }
    s->last = LAST_OTHER;
    if (peek(s, n) != '$') {
        s->at++; /* a lone '$': the parser will say so */
        return OK;
    }
    const struct view tag = view_upto(view_from(s->sql, start), n + 1);
    for (s->at += n + 1; s->at < s->sql.len; s->at++) {
        if (s->sql.data[s->at] == '$' && view_starts_with(view_from(s->sql, s->at), tag)) {
            s->at += tag.len;
            s->last = LAST_OPERAND;
            return OK;
        }
    }
    return fault_at(s, start, &sql_named_unterminated);
}

static err scan_word(struct scanner *s)
{
    const size_t start = s->at;
    while (is_word(peek(s, 0)))
        s->at++;
    const struct view word = view_upto(view_from(s->sql, start), s->at - start);
    if (peek(s, 0) == '\'' && word.len == 1 && (word.data[0] == 'e' || word.data[0] == 'E'))
        return skip_quoted(s, '\'', true);
    s->last = view_eq_nocase(word, VIEW("array")) ? LAST_ARRAY_WORD : LAST_OPERAND;
    return OK;
}

/* A number, as far as it matters here: what follows a digit without a blank.  A '$' ends it. */
static void scan_number(struct scanner *s)
{
    while (is_word_start(peek(s, 0)) || is_digit(peek(s, 0)) || peek(s, 0) == '.')
        s->at++;
    s->last = LAST_OPERAND;
}

static err open_bracket(struct scanner *s, char c)
{
    if (s->depth >= MAX_BRACKETS)
        return fault_at(s, s->at, &sql_named_too_many);
    enum bracket kind = BRACKET_ROUND;
    if (c == '[') {
        bool nested = s->depth > 0 && s->brackets[s->depth - 1] == BRACKET_CONSTRUCTOR &&
                      s->last == LAST_OTHER;
        kind = nested || s->last == LAST_ARRAY_WORD ? BRACKET_CONSTRUCTOR : BRACKET_SUBSCRIPT;
    }
    s->brackets[s->depth++] = (unsigned char)kind;
    s->last = kind == BRACKET_SUBSCRIPT ? LAST_SUBSCRIPT_OPENED : LAST_OTHER;
    s->at++;
    return OK;
}

static void close_bracket(struct scanner *s)
{
    if (s->depth > 0)
        s->depth--;
    s->last = LAST_OPERAND;
    s->at++;
}

/* An array of the arena, doubled when it is full; NULL: no room. */
static void *grown(struct arena *arena, void *items, size_t count, size_t *room, size_t size)
{
    if (count < *room)
        return items;
    size_t more = *room > 0 ? *room * 2 : 8;
    void *larger = arena_array(arena, more, size);
    if (larger == NULL)
        return NULL;
    if (count > 0)
        memcpy(larger, items, count * size);
    *room = more;
    return larger;
}

static err name_index(struct scanner *s, struct view name, size_t at, size_t *index)
{
    for (size_t i = 0; i < s->name_count; i++) {
        if (view_eq(s->names[i], name)) {
            *index = i;
            return OK;
        }
    }
    if (s->name_count == SQL_NAMED_MAX_PARAMETERS)
        return fault_at(s, at, &sql_named_too_many);
    s->names = grown(s->arena, s->names, s->name_count, &s->name_room, sizeof *s->names);
    if (s->names == NULL)
        return fail(&fault_out_of_memory);
    s->names[s->name_count] = name;
    *index = s->name_count++;
    return OK;
}

/* At the colon of a `:name` that is a parameter. */
static err scan_parameter(struct scanner *s)
{
    const size_t start = s->at;
    size_t n = 1;
    while (is_word(peek(s, n)) && peek(s, n) < 0x80 && peek(s, n) != '$')
        n++;
    if (is_word(peek(s, n)) || n - 1 > SQL_NAMED_MAX_NAME_BYTES)
        return fault_at(s, start, &sql_named_bad_name);
    if (start > 0 && is_word((unsigned char)s->sql.data[start - 1]))
        return fault_at(s, start, &sql_named_touches_word);

    struct sql_named_use use = {.from = start, .from_len = n};
    TRY(name_index(s, view_upto(view_from(s->sql, start + 1), n - 1), start, &use.index));
    buf_add(&s->text, s->sql.data + s->copied, start - s->copied);
    use.to = s->text.len;
    buf_printf(&s->text, "$%zu", use.index + 1);
    use.to_len = s->text.len - use.to;
    s->at = s->copied = start + n;
    s->last = LAST_OPERAND;

    s->uses = grown(s->arena, s->uses, s->use_count, &s->use_room, sizeof *s->uses);
    if (s->uses == NULL)
        return fail(&fault_out_of_memory);
    s->uses[s->use_count++] = use;
    return OK;
}

static err scan_colon(struct scanner *s)
{
    const bool subscript = s->depth > 0 && s->brackets[s->depth - 1] == BRACKET_SUBSCRIPT;
    if (peek(s, 1) == ':' || peek(s, 1) == '=') {
        s->at += 2;
    } else if (!is_word_start(peek(s, 1)) || (subscript && (s->last == LAST_OPERAND))) {
        s->at++; /* a slice's own, or one that the parser will refuse */
    } else if (!is_name_start(peek(s, 1))) {
        return fault_at(s, s->at, &sql_named_bad_name);
    } else if (s->last == LAST_SUBSCRIPT_OPENED) {
        return fault_at(s, s->at, &sql_named_ambiguous_slice);
    } else {
        return scan_parameter(s);
    }
    s->last = LAST_OTHER;
    return OK;
}

static err scan_token(struct scanner *s)
{
    const int c = peek(s, 0);
    if (is_blank(c)) {
        s->at++;
        return OK;
    }
    if (c == '-' && peek(s, 1) == '-') {
        skip_line_comment(s);
        return OK;
    }
    if (c == '/' && peek(s, 1) == '*')
        return skip_block_comment(s);
    if (c == '\'' || c == '"')
        return skip_quoted(s, (char)c, false);
    if (c == '$')
        return scan_dollar(s);
    if (c == ':')
        return scan_colon(s);
    if (c == '(' || c == '[')
        return open_bracket(s, (char)c);
    if (is_word_start(c))
        return scan_word(s);
    if (c == ')' || c == ']')
        close_bracket(s);
    else if (is_digit(c))
        scan_number(s);
    else {
        s->at++;
        s->last = LAST_OTHER;
    }
    return OK;
}

static err scan_all(struct scanner *s)
{
    if (s->sql.len > SQL_TEXT_MAX_BYTES)
        return fault_at(s, SQL_TEXT_MAX_BYTES, &sql_named_too_large);
    const size_t nul = view_find(s->sql, '\0');
    if (nul < s->sql.len || !view_is_utf8(s->sql))
        return fault_at(s, nul < s->sql.len ? nul : 0, &sql_named_not_utf8);
    while (s->at < s->sql.len)
        TRY(scan_token(s));
    buf_add(&s->text, s->sql.data + s->copied, s->sql.len - s->copied);
    return buf_failed(&s->text) ? fail(&fault_out_of_memory) : OK;
}

err sql_named_rewrite(struct arena *arena, struct view sql, struct sql_named *out,
                      struct sql_place *where)
{
    struct scanner s = {.arena = arena, .sql = sql};
    *out = (struct sql_named){.original = sql};
    if (sql.data == NULL)
        s.sql = VIEW("");
    /* "$256" is never longer than ":a" by more than two bytes, and needs two to stand. */
    buf_init(&s.text, SQL_TEXT_MAX_BYTES * 2 + 16);
    err e = scan_all(&s);
    if (!failed(e)) {
        out->text = arena_copy(arena, buf_view(&s.text));
        if (out->text.data == NULL)
            e = fail(&fault_out_of_memory);
    }
    buf_clear(&s.text);
    if (failed(e)) {
        if (where != NULL)
            *where = sql_place_of(sql, s.fault_at);
        return e;
    }
    out->names = s.names;
    out->name_count = s.name_count;
    out->uses = s.uses;
    out->use_count = s.use_count;
    return OK;
}

static bool continues_character(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

struct sql_place sql_place_of(struct view text, size_t offset)
{
    struct sql_place place = {.line = 1, .column = 1};
    if (offset > text.len)
        offset = text.len;
    place.offset = offset;
    for (size_t i = 0; i < offset; i++) {
        if (text.data[i] == '\n') {
            place.line++;
            place.column = 1;
        } else if (!continues_character(text.data[i])) {
            place.column++;
        }
    }
    return place;
}

struct sql_place sql_named_place(const struct sql_named *named, uint32_t position)
{
    size_t at = 0;
    for (uint32_t n = 1; n < position && at < named->text.len; n++) {
        do
            at++;
        while (at < named->text.len && continues_character(named->text.data[at]));
    }
    size_t original = at;
    for (size_t i = 0; i < named->use_count && named->uses[i].to <= at; i++) {
        const struct sql_named_use *use = &named->uses[i];
        if (at < use->to + use->to_len)
            original = use->from;
        else
            original = at - (use->to + use->to_len) + use->from + use->from_len;
    }
    return sql_place_of(named->original, original);
}
