#include "aws/profile.h"

const struct fault aws_profile_syntax = {
    "aws_profile_syntax", "a line of the AWS config or credentials file is no setting", NULL, 503};

struct parser {
    struct arena *arena;
    struct aws_profile_file *file;
    enum aws_profile_kind kind;
    enum aws_section section;
    struct view profile; /* {NULL, 0}: settings are passed over */
    bool in_section;
    bool prefixed;
    bool have_key;
    size_t key_indent;
    struct view block; /* the key without a value whose block follows */
};

static bool blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool comment(char c)
{
    return c == '#' || c == ';';
}

/* v up to a comment character that follows a blank. */
static struct view without_comment(struct view v)
{
    for (size_t i = 1; i < v.len; i++) {
        if (comment(v.data[i]) && blank(v.data[i - 1]))
            return view_upto(v, i);
    }
    return v;
}

static err add(struct parser *p, struct view service, struct view key, struct view value)
{
    struct aws_profile_file *f = p->file;

    if (f->count == AWS_PROFILE_ENTRIES_MAX)
        return fail(&fault_too_large);
    if (f->count == f->capacity) {
        size_t capacity = f->capacity == 0 ? 32 : f->capacity * 2;
        struct aws_profile_entry *more = ARENA_ARRAY(p->arena, capacity, struct aws_profile_entry);
        if (more == NULL)
            return fail(&fault_out_of_memory);
        if (f->count > 0)
            memcpy(more, f->entries, f->count * sizeof *more);
        f->entries = more;
        f->capacity = capacity;
    }
    f->entries[f->count++] = (struct aws_profile_entry){
        .section = p->section,
        .profile = p->profile,
        .service = service,
        .key = key,
        .value = value,
        .prefixed = p->prefixed,
    };
    return OK;
}

static struct view unquoted(struct view v)
{
    if (v.len >= 2 && (v.data[0] == '"' || v.data[0] == '\'') && v.data[v.len - 1] == v.data[0])
        return view_upto(view_from(v, 1), v.len - 2);
    return v;
}

/* What follows the word and a blank in the title; false when it does not begin so. */
static bool after_word(struct view title, struct view word, struct view *rest)
{
    if (!view_starts_with(title, word) || title.len == word.len || !blank(title.data[word.len]))
        return false;
    *rest = unquoted(view_trim(view_from(title, word.len)));
    return true;
}

/* The profile or section that a title names, or {NULL, 0} when it is of another kind. */
static struct view profile_of(struct parser *p, struct view title)
{
    struct view rest;

    p->section = AWS_SECTION_PROFILE;
    p->prefixed = after_word(title, VIEW("profile"), &rest);
    if (p->kind == AWS_PROFILE_CREDENTIALS)
        return p->prefixed ? (struct view){NULL, 0} : unquoted(title);
    if (p->prefixed)
        return rest;
    if (after_word(title, VIEW("sso-session"), &rest)) {
        p->section = AWS_SECTION_SSO_SESSION;
        return rest;
    }
    if (after_word(title, VIEW("services"), &rest)) {
        p->section = AWS_SECTION_SERVICES;
        return rest;
    }
    return view_is(title, "default") ? title : (struct view){NULL, 0};
}

static err take_section(struct parser *p, struct view line)
{
    struct view title;
    struct view rest = view_cut(view_from(line, 1), ']', &title);

    if (rest.data == NULL)
        return fail(&aws_profile_syntax);
    rest = view_trim(rest);
    if (rest.len > 0 && !comment(rest.data[0]))
        return fail(&aws_profile_syntax);
    p->in_section = true;
    p->have_key = false;
    p->block = (struct view){NULL, 0};
    p->profile = profile_of(p, view_trim(title));
    if (p->profile.len == 0)
        p->profile = (struct view){NULL, 0};
    /* An entry without a key says that the section is there. */
    const struct view none = {NULL, 0};
    return p->profile.data == NULL ? OK : add(p, none, none, none);
}

static err take_setting(struct parser *p, struct view line, size_t indent)
{
    struct view key, value = view_cut(line, '=', &key);

    key = view_trim(key);
    if (value.data == NULL || key.len == 0 || !p->in_section)
        return fail(&aws_profile_syntax);
    value = view_trim(without_comment(value));
    p->have_key = true;
    p->key_indent = indent;
    p->block = value.len == 0 ? key : (struct view){NULL, 0};
    if (p->profile.data == NULL)
        return OK;
    return add(p, (struct view){NULL, 0}, key, value);
}

/* A line within the block of the key before it. */
static err take_nested(struct parser *p, struct view line)
{
    struct view key, value = view_cut(line, '=', &key);

    key = view_trim(key);
    if (p->profile.data == NULL || p->section != AWS_SECTION_SERVICES || p->block.data == NULL)
        return OK;
    if (value.data == NULL || key.len == 0)
        return fail(&aws_profile_syntax);
    return add(p, p->block, key, view_trim(without_comment(value)));
}

static err take_line(struct parser *p, struct view line)
{
    size_t indent = 0;

    while (indent < line.len && blank(line.data[indent]))
        indent++;
    struct view text = view_from(line, indent);
    if (text.len == 0 || comment(text.data[0]))
        return OK;
    if (p->have_key && indent > p->key_indent)
        return take_nested(p, text);
    return text.data[0] == '[' ? take_section(p, text) : take_setting(p, text, indent);
}

err aws_profile_parse(struct arena *arena, struct view text, enum aws_profile_kind kind,
                      struct aws_profile_file *out, unsigned *line)
{
    struct parser p = {.arena = arena, .file = out, .kind = kind};

    *out = (struct aws_profile_file){0};
    *line = 0;
    if (text.len > AWS_PROFILE_FILE_MAX)
        return fail(&fault_too_large);
    for (struct view one; text.data != NULL;) {
        text = view_cut(text, '\n', &one);
        ++*line;
        if (one.len > 0 && one.data[one.len - 1] == '\r')
            one.len--;
        TRY(take_line(&p, one));
    }
    return OK;
}

static bool is_of(const struct aws_profile_entry *e, enum aws_section section, struct view name)
{
    return e->section == section && view_eq(e->profile, name);
}

bool aws_section_exists(const struct aws_profile_file *file, enum aws_section section,
                        struct view name)
{
    for (size_t i = 0; i < file->count; i++) {
        if (is_of(&file->entries[i], section, name))
            return true;
    }
    return false;
}

bool aws_profile_exists(const struct aws_profile_file *file, struct view profile)
{
    return aws_section_exists(file, AWS_SECTION_PROFILE, profile);
}

/* The last one given; prefixed ones only where there are such. */
static struct view last_value(const struct aws_profile_file *file, enum aws_section section,
                              struct view name, struct view service, const char *key)
{
    const struct aws_profile_entry *best = NULL;
    bool any_prefixed = false;

    for (size_t i = 0; i < file->count; i++) {
        const struct aws_profile_entry *e = &file->entries[i];
        if (is_of(e, section, name) && e->prefixed)
            any_prefixed = true;
    }
    for (size_t i = 0; i < file->count; i++) {
        const struct aws_profile_entry *e = &file->entries[i];
        if (e->key.data != NULL && e->prefixed == any_prefixed && is_of(e, section, name) &&
            view_eq_nocase(e->service, service) && view_eq_nocase(e->key, view_str(key)))
            best = e;
    }
    return best != NULL && best->value.len > 0 ? best->value : (struct view){NULL, 0};
}

struct view aws_profile_get(const struct aws_profile_file *file, struct view profile,
                            const char *key)
{
    return last_value(file, AWS_SECTION_PROFILE, profile, (struct view){NULL, 0}, key);
}

struct view aws_sso_session_get(const struct aws_profile_file *file, struct view session,
                                const char *key)
{
    return last_value(file, AWS_SECTION_SSO_SESSION, session, (struct view){NULL, 0}, key);
}

struct view aws_services_get(const struct aws_profile_file *file, struct view name,
                             const char *service, const char *key)
{
    return last_value(file, AWS_SECTION_SERVICES, name, view_str(service), key);
}
