#include "config/conf_file.h"

#include "base/map.h"

/* Copies the value up to its comment, with \# made #. */
static struct view strip_comment(struct arena *arena, struct view v)
{
    char *at = arena_alloc(arena, v.len + 1);
    size_t n = 0;

    if (at == NULL)
        return (struct view){NULL, 0};
    for (size_t i = 0; i < v.len; i++) {
        char c = v.data[i];
        if (c == '#' && (i == 0 || v.data[i - 1] == ' ' || v.data[i - 1] == '\t'))
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

static const char *check_name(struct view name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '_')
            return "a property's name is made of lower-case letters, digits and '_'";
    }
    return name.len == 0 ? "a line must read 'name = value'" : NULL;
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

/* One line; *out stays NULL for a blank, a comment, or a reported mistake. */
static err parse_line(struct arena *arena, struct view text, unsigned number,
                      struct conf_line **out, const char **wrong)
{
    struct view name, value;

    text = view_trim(text);
    if (text.len == 0 || text.data[0] == '#')
        return OK;
    value = view_cut(text, '=', &name);
    name = view_trim(name);
    *wrong = value.data == NULL ? "a line must read 'name = value'" : check_name(name);
    if (*wrong == NULL)
        *wrong = check_value(value);
    if (*wrong != NULL)
        return OK;
    struct conf_line *line = ARENA_NEW(arena, struct conf_line);
    if (line == NULL)
        return fail(&fault_out_of_memory);
    *line = (struct conf_line){arena_copy(arena, name), strip_comment(arena, value), number, NULL};
    if (line->name.data == NULL || line->value.data == NULL)
        return fail(&fault_out_of_memory);
    *out = line;
    return OK;
}

/* True when the name is new; else the line is reported and left out. */
static bool remember(struct map *seen, struct conf_line *line, struct view file,
                     struct diagnostics *d, bool *no_memory)
{
    const struct conf_line *other = map_get(seen, line->name);

    if (other == NULL) {
        *no_memory = !map_put(seen, line->name, line);
        return !*no_memory;
    }
    diag_add(d, SEVERITY_ERROR, file, line->line, 0,
             "'%.*s' stands here a second time; the first is on line %u", VIEW_ARG(line->name),
             other->line);
    return false;
}

static err parse_lines(struct arena *arena, struct view file, struct view text,
                       struct conf_line **first, struct map *seen, struct diagnostics *d)
{
    struct conf_line **end = first;
    struct view line_text;
    unsigned number = 0;
    bool no_memory = false;

    while (text.data != NULL) {
        struct conf_line *line = NULL;
        const char *wrong = NULL;
        text = view_cut(text, '\n', &line_text);
        if (line_text.len > 0 && line_text.data[line_text.len - 1] == '\r')
            line_text.len--;
        if (++number > CONF_MAX_LINES) {
            diag_add(d, SEVERITY_ERROR, file, number, 0, "the file has too many lines");
            return OK;
        }
        TRY(parse_line(arena, line_text, number, &line, &wrong));
        if (wrong != NULL)
            diag_add(d, SEVERITY_ERROR, file, number, 0, "%s", wrong);
        if (line != NULL && remember(seen, line, file, d, &no_memory)) {
            *end = line;
            end = &line->next;
        }
        if (no_memory)
            return fail(&fault_out_of_memory);
    }
    return OK;
}

err conf_file_parse(struct arena *arena, struct view file, struct view text,
                    struct conf_line **first, struct diagnostics *d)
{
    struct map seen;

    *first = NULL;
    if (text.len > CONF_MAX_BYTES) {
        diag_add(d, SEVERITY_ERROR, file, 0, 0, "the file is too large");
        return OK;
    }
    map_init(&seen);
    err e = parse_lines(arena, file, text, first, &seen, d);
    map_clear(&seen);
    return e;
}
