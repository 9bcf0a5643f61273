#include "config/conf_file.h"

#include "base/buf.h"
#include "base/map.h"
#include "base/secret.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Whether the # there begins a comment. */
static bool begins_comment(struct view v, size_t i, enum conf_form form)
{
    if (form == CONF_OF_KONG)
        return i == 0 || v.data[i - 1] != '\\';
    return i == 0 || is_blank(v.data[i - 1]);
}

/* Copies the value up to its comment, with \# made #. */
static struct view strip_comment(struct arena *arena, struct view v, enum conf_form form)
{
    char *at = arena_alloc(arena, v.len + 1);
    size_t n = 0;

    if (at == NULL)
        return (struct view){NULL, 0};
    for (size_t i = 0; i < v.len; i++) {
        char c = v.data[i];
        if (c == '#' && begins_comment(v, i, form))
            break;
        if (c == '\\' && i + 1 < v.len && v.data[i + 1] == '#')
            c = v.data[++i];
        at[n++] = c;
    }
    at[n] = '\0';
    struct view kept = view_trim(view_of(at, n));
    at[(size_t)(kept.data - at) + kept.len] = '\0';
    return kept;
}

static bool is_letter_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static const char *check_name(struct view name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '_')
            return "a property's name is made of lower-case letters, digits and '_'";
    }
    return name.len == 0 ? "a line must read 'name = value'" : NULL;
}

/* As Penlight makes names of what stands before the =. */
static struct view kongs_name(struct arena *arena, struct view name)
{
    char *at = arena_alloc(arena, name.len + 1);

    if (at == NULL)
        return (struct view){NULL, 0};
    for (size_t i = 0; i < name.len; i++)
        at[i] = is_letter_or_digit(name.data[i]) ? name.data[i] : '_';
    at[name.len] = '\0';
    return view_of(at, name.len);
}

static const char *check_value(struct view value)
{
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.data[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return "a value may not hold control characters";
    }
    return view_is_utf8(value) ? NULL : "the line is not a text in UTF-8";
}

static const char *check_line(struct view text, struct view name, struct view value,
                              enum conf_form form)
{
    const char *wrong = "a line must read 'name = value'";

    if (form == CONF_OF_KONG && text.data[0] == '[')
        return "a [section] makes Kong pass over every line after it; remove it";
    if (value.data == NULL || name.len == 0)
        return wrong;
    wrong = form == CONF_OURS ? check_name(name) : NULL;
    return wrong != NULL ? wrong : check_value(value);
}

/* What the parser knows between lines. */
struct parser {
    struct arena *arena;
    struct view file;
    enum conf_form form;
    struct diagnostics *d;
    struct map seen; /* struct conf_line by name: the one that holds */
    struct conf_line **end;
    struct buf joined; /* of lines that go on; wiped, as a password may stand there */
    unsigned joined_from;
};

static void complain(const struct parser *p, unsigned line, const char *wrong)
{
    diag_add(p->d, SEVERITY_ERROR, p->file, line, 0, "%s", wrong);
}

/* Another line of the name. */
static void repeat(const struct parser *p, struct conf_line *line, struct conf_line *other)
{
    if (p->form == CONF_OURS) {
        diag_add(p->d, SEVERITY_ERROR, p->file, line->line, 0,
                 "'%.*s' stands here a second time; the first is on line %u",
                 VIEW_ARG(line->name), other->line);
        line->replaced = true;
        return;
    }
    diag_add(p->d, SEVERITY_WARNING, p->file, line->line, 0,
             "'%.*s' stands here a second time; as in Kong this line holds, not line %u",
             VIEW_ARG(line->name), other->line);
    other->replaced = true;
}

static err add_line(struct parser *p, struct view name, struct view value, unsigned number)
{
    struct conf_line *line = ARENA_NEW(p->arena, struct conf_line);

    if (line == NULL)
        return fail(&fault_out_of_memory);
    line->name = p->form == CONF_OURS ? arena_copy(p->arena, name) : kongs_name(p->arena, name);
    line->value = strip_comment(p->arena, value, p->form);
    line->line = number;
    if (line->name.data == NULL || line->value.data == NULL)
        return fail(&fault_out_of_memory);
    *p->end = line;
    p->end = &line->next;
    struct conf_line *other = map_get(&p->seen, line->name);
    if (other != NULL)
        repeat(p, line, other);
    if (!line->replaced && !map_put(&p->seen, line->name, line))
        return fail(&fault_out_of_memory);
    return OK;
}

/* One line, as a whole. */
static err parse_line(struct parser *p, struct view text, unsigned number)
{
    struct view name, value;

    text = view_trim(text);
    if (text.len == 0 || text.data[0] == '#')
        return OK;
    value = view_cut(text, '=', &name);
    name = view_trim(name);
    const char *wrong = check_line(text, name, value, p->form);
    if (wrong == NULL)
        return add_line(p, name, value, number);
    complain(p, number, wrong);
    return OK;
}

/* Kong's lines that go on: true when the text is used up, else it is the whole line, of which
 * *number is the first. */
static bool join(struct parser *p, struct view *text, unsigned *number)
{
    struct view bare = view_trim(*text);

    if (bare.len == 0 || bare.data[0] == '#' || bare.data[0] == ';')
        return true;
    if (p->joined_from == 0)
        p->joined_from = *number;
    *number = p->joined_from;
    if (bare.data[bare.len - 1] == '\\') {
        buf_add(&p->joined, text->data, (size_t)(bare.data + bare.len - 1 - text->data));
        return true;
    }
    p->joined_from = 0;
    if (p->joined.len == 0)
        return false;
    buf_add_view(&p->joined, *text);
    *text = buf_view(&p->joined);
    return false;
}

static err take_line(struct parser *p, struct view text, unsigned number)
{
    if (text.len > 0 && text.data[text.len - 1] == '\r')
        text.len--;
    if (p->form == CONF_OF_KONG && join(p, &text, &number))
        return OK;
    if (buf_failed(&p->joined))
        return fail(&fault_out_of_memory);
    err e = parse_line(p, text, number);
    if (p->joined.len > 0) {
        secret_wipe(p->joined.data, p->joined.len);
        buf_reset(&p->joined);
    }
    return e;
}

static err parse_lines(struct parser *p, struct view text)
{
    struct view line;
    unsigned number = 0;

    while (text.data != NULL) {
        text = view_cut(text, '\n', &line);
        if (++number > CONF_MAX_LINES) {
            complain(p, number, "the file has too many lines");
            return OK;
        }
        TRY(take_line(p, line, number));
    }
    if (p->joined_from > 0)
        complain(p, p->joined_from, "the line is to be continued, but the file ends");
    return OK;
}

err conf_file_parse(struct arena *arena, struct view file, struct view text, enum conf_form form,
                    struct conf_line **first, struct diagnostics *d)
{
    struct parser p = {.arena = arena, .file = file, .form = form, .d = d, .end = first};

    *first = NULL;
    if (text.len > CONF_MAX_BYTES) {
        diag_add(d, SEVERITY_ERROR, file, 0, 0, "the file is too large");
        return OK;
    }
    map_init(&p.seen);
    buf_init(&p.joined, CONF_MAX_BYTES);
    err e = parse_lines(&p, text);
    buf_clear_secure(&p.joined);
    map_clear(&p.seen);
    return e;
}

bool conf_file_switches_on(struct view text, const char *property)
{
    struct view line, name, value, word;
    bool on = false;

    while (text.data != NULL) {
        text = view_cut(text, '\n', &line);
        value = view_cut(line, '=', &name);
        if (value.data == NULL || !view_is(view_trim(name), property))
            continue;
        view_cut(view_trim(value), '#', &word);
        word = view_trim(word);
        on = view_is(word, "on") || view_is(word, "true");
    }
    return on;
}
