/* Rules of routes, statements and parameters. */
#include "config/rules.h"

static bool header_token(struct view v)
{
    for (size_t i = 0; i < v.len; i++) {
        char c = v.data[i];
        bool alphanumeric = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                            (c >= '0' && c <= '9');
        if (!alphanumeric && strchr("!#$%&'*+-.^_`|~", c) == NULL)
            return false; /* RFC 9110 section 5.6.2 */
    }
    return v.len > 0;
}

/* Headers that carry credentials: binding one would put it into the database. */
static bool carries_credentials(struct view header)
{
    return view_eq_nocase(header, VIEW("authorization")) ||
           view_eq_nocase(header, VIEW("proxy-authorization")) ||
           view_eq_nocase(header, VIEW("cookie"));
}

static void finish_from(struct decoder *d, struct parameter *p, const struct yaml_node *at)
{
    struct view source, name = view_cut(p->from, '.', &source);

    p->key = name.len > 0 ? name : p->name;
    if (view_is(p->from, "path"))
        p->source = SOURCE_PATH;
    else if (view_is(p->from, "query"))
        p->source = SOURCE_QUERY;
    else if (view_is(p->from, "body"))
        p->source = SOURCE_BODY;
    else if (view_is(source, "claim") && name.len > 0)
        p->source = SOURCE_CLAIM;
    else if (view_is(source, "header") && header_token(name))
        p->source = SOURCE_HEADER;
    else {
        decode_error(d, at, "'from': must be path, query, body, claim.NAME or header.NAME");
        p->from = (struct view){NULL, 0}; /* no rule below may take it for a path */
        return;
    }
    if (p->source == SOURCE_HEADER && carries_credentials(name))
        decode_error(d, at, "'from': the header '%.*s' carries credentials and cannot be bound",
                     VIEW_ARG(name));
}

void finish_parameter(struct decoder *d, void *record, const struct yaml_node *mapping)
{
    struct parameter *p = record;
    const struct yaml_node *required = yaml_member(mapping, "required");
    bool said = required != NULL && !yaml_is_null(required);

    if (p->from.len > 0)
        finish_from(d, p, rules_node(mapping, "from"));
    if (!said)
        p->required = !p->has_default;
    else if (p->required && p->has_default)
        decode_error(d, required, "'required': true and a default exclude each other");
    if (p->source == SOURCE_PATH && p->from.len > 0 && (!p->required || p->has_default))
        decode_error(d, mapping, "a path parameter is always there: it takes no default and no "
                                 "required: false");
}

void finish_statement(struct decoder *d, void *record, const struct yaml_node *mapping)
{
    struct statement *s = record;
    const struct yaml_node *sql = yaml_member(mapping, "sql");

    (void)d;
    if (sql == NULL)
        return;
    s->sql_line = sql->line + (sql->literal ? 1 : 0);
    s->sql_lines = sql->literal;
    s->sql_column = sql->exact ? sql->column + (sql->plain ? 0 : 1) : 0;
}

/* --- paths and their parameters --- */

/* The next {name} of the template from *at on, or an absent view. */
static struct view next_placeholder(struct view path, size_t *at)
{
    struct view rest = view_from(path, *at), name;

    size_t open = view_find(rest, '{');
    if (open == rest.len)
        return (struct view){NULL, 0};
    rest = view_cut(view_from(rest, open + 1), '}', &name);
    *at = path.len - rest.len;
    return name;
}

static size_t count_placeholder(struct view path, struct view name)
{
    size_t at = 0, count = 0;

    for (struct view n; (n = next_placeholder(path, &at)).data != NULL;)
        count += view_eq(n, name);
    return count;
}

static const struct parameter *find_parameter(const struct statement *s, struct view name)
{
    for (size_t i = 0; i < s->parameter_count; i++) {
        if (view_eq(s->parameters[i].name, name))
            return &s->parameters[i];
    }
    return NULL;
}

static void check_placeholders(struct decoder *d, const struct route *r, struct view path,
                               const struct yaml_node *at)
{
    size_t position = 0;

    for (struct view n; (n = next_placeholder(path, &position)).data != NULL;) {
        const struct parameter *p = find_parameter(&r->statement, n);
        if (count_placeholder(view_upto(path, position), n) > 1)
            decode_error(d, at, "'paths': {%.*s} stands twice in '%.*s'", VIEW_ARG(n),
                         VIEW_ARG(path));
        else if (p == NULL || (p->from.len > 0 && p->source != SOURCE_PATH))
            decode_error(d, at, "'paths': no parameter '%.*s' with from: path takes {%.*s}",
                         VIEW_ARG(n), VIEW_ARG(n));
    }
}

/* The i-th item of the list, or the list itself when it is one value. */
static const struct yaml_node *item_node(const struct yaml_node *list, size_t i)
{
    const struct yaml_node *item = list->first;

    for (; item != NULL && i > 0; i--)
        item = item->next;
    return item != NULL ? item : list;
}

static void check_paths(struct decoder *d, const struct route *r, const struct yaml_node *mapping)
{
    const struct yaml_node *paths = rules_node(mapping, "paths");

    for (size_t i = 0; i < r->paths.count; i++) {
        const struct yaml_node *at = paths == mapping ? mapping : item_node(paths, i);
        if (r->paths.items[i].data == NULL || check_path_template(r->paths.items[i]) != NULL)
            continue; /* reported already */
        check_placeholders(d, r, r->paths.items[i], at);
        for (size_t k = 0; k < r->statement.parameter_count; k++) {
            const struct parameter *p = &r->statement.parameters[k];
            if (p->from.len > 0 && p->source == SOURCE_PATH &&
                count_placeholder(r->paths.items[i], p->name) == 0)
                decode_error_line(d, p->line,
                                  "the parameter '%.*s' comes from the path, but '%.*s' has no "
                                  "{%.*s}",
                                  VIEW_ARG(p->name), VIEW_ARG(r->paths.items[i]),
                                  VIEW_ARG(p->name));
        }
    }
}

static void check_methods(struct decoder *d, const struct route *r)
{
    bool bodiless = strings_have(r->methods, VIEW("GET")) || strings_have(r->methods, VIEW("HEAD"));

    for (size_t i = 0; bodiless && i < r->statement.parameter_count; i++) {
        const struct parameter *p = &r->statement.parameters[i];
        if (p->source == SOURCE_BODY)
            decode_error_line(d, p->line,
                              "the parameter '%.*s' comes from the body, which GET and HEAD do "
                              "not have",
                              VIEW_ARG(p->name));
    }
}

void finish_route(struct decoder *d, void *record, const struct yaml_node *mapping)
{
    struct route *r = record;

    check_paths(d, r, mapping);
    check_methods(d, r);
    if (r->rate_burst > 0 && r->rate_limit == 0)
        decode_error(d, rules_node(mapping, "rate_burst"),
                     "'rate_burst': has no effect without a rate_limit");
    if (r->rate_burst == 0)
        r->rate_burst = r->rate_limit;
    if (r->meta.id.len == 0)
        r->meta.id = rules_derive_id(d->arena, "route", r->name);
}
