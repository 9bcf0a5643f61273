#include "gateway/parameters.h"

#include "base/buf.h"
#include "http/uri.h"
#include "json/json.h"
#include "pg/value.h"

#define BAD_REQUEST(fault_name, name, text, client)                                                \
    const struct fault fault_name = {name, text, client, 400}

BAD_REQUEST(parameter_missing, "parameter_missing", "a required parameter was not given",
            "A required parameter is missing.");
BAD_REQUEST(parameter_unknown, "parameter_unknown", "a parameter that the route does not know",
            "The route has no such parameter.");
BAD_REQUEST(parameter_twice, "parameter_twice", "a parameter was given twice",
            "A parameter was given twice.");
BAD_REQUEST(parameter_bad_value, "parameter_bad_value", "a parameter is not of its type",
            "A parameter is not of its type.");
BAD_REQUEST(parameter_not_text, "parameter_not_text",
            "a parameter holds NUL, is not UTF-8, or has a bad escape",
            "A parameter is not well-formed text.");
BAD_REQUEST(parameter_body_syntax, "parameter_body_syntax", "the body is not a JSON object",
            "The body is not a JSON object.");
BAD_REQUEST(parameter_body_unwanted, "parameter_body_unwanted",
            "a body was sent to a route that takes none", "The route takes no body.");
const struct fault parameter_body_type = {
    "parameter_body_type", "the body's content type is not served",
    "The body must be application/json or application/x-www-form-urlencoded.", 415};
const struct fault parameter_claim_missing = {
    "parameter_claim_missing", "the token lacks a claim that the statement needs",
    "The token lacks what this call needs.", 403};
const struct fault parameter_claim_unfit = {
    "parameter_claim_unfit", "a claim is not of its parameter's type",
    "The token lacks what this call needs.", 403};

enum { JSON_OID = 114, JSONB_OID = 3802 }; /* pg_type.dat */

/* ---- At load ---- */

static void complain(struct diagnostics *d, struct view file, const struct parameter *p,
                     const char *what, struct view which)
{
    diag_add(d, SEVERITY_ERROR, file, p->line, 0, "parameter %.*s: %s%.*s", VIEW_ARG(p->name), what,
             VIEW_ARG(which));
}

static struct parameter_type type_of(struct view name)
{
    struct parameter_type type = {.oid = pg_type_oid(name)};
    type.element_oid = pg_type_element(type.oid);
    const uint32_t scalar = type.element_oid != 0 ? type.element_oid : type.oid;
    type.json = scalar == JSON_OID || scalar == JSONB_OID;
    return type;
}

static void check_declaration(const struct statement *s, size_t at, struct parameter_type type,
                              struct view file, struct diagnostics *d)
{
    const struct parameter *p = &s->parameters[at];
    for (size_t i = 0; i < at; i++) {
        if (view_eq(s->parameters[i].name, p->name))
            complain(d, file, p, "declared twice", VIEW(""));
        else if (s->parameters[i].source == p->source && view_eq(s->parameters[i].key, p->key) &&
                 (p->source == SOURCE_PATH || p->source == SOURCE_QUERY ||
                  p->source == SOURCE_BODY))
            complain(d, file, p, "comes from the same place as ", s->parameters[i].name);
    }
    if (type.oid == 0)
        complain(d, file, p, "unknown type (for a type of your own, take text and cast it): ",
                 p->type);
    else if (p->has_default && failed(pg_parameter_check(type.oid, p->default_value)))
        complain(d, file, p, "the default is not of type ", p->type);
}

static bool placeholder_in(struct view path, struct view name)
{
    struct view segment;
    while (uri_path_next(&path, &segment)) {
        if (segment.len == name.len + 2 && segment.data[0] == '{' &&
            view_eq(view_upto(view_from(segment, 1), name.len), name))
            return true;
    }
    return false;
}

static bool path_parameter_named(const struct statement *s, struct view name)
{
    for (size_t i = 0; i < s->parameter_count; i++) {
        if (s->parameters[i].source == SOURCE_PATH && view_eq(s->parameters[i].key, name))
            return true;
    }
    return false;
}

/* Every placeholder has its parameter and every path parameter its placeholder. */
static void check_path(const struct route *route, struct view path, struct view file,
                       struct diagnostics *d)
{
    const struct statement *s = &route->statement;
    for (size_t i = 0; i < s->parameter_count; i++) {
        if (s->parameters[i].source == SOURCE_PATH && !placeholder_in(path, s->parameters[i].key))
            complain(d, file, &s->parameters[i], "no such placeholder in path ", path);
    }
    struct view rest = path, segment;
    while (uri_path_next(&rest, &segment)) {
        if (segment.len < 2 || segment.data[0] != '{')
            continue;
        const struct view name = view_upto(view_from(segment, 1), segment.len - 2);
        if (!path_parameter_named(s, name))
            diag_add(d, SEVERITY_ERROR, file, route->meta.line, 0,
                     "route %.*s: no parameter comes from the placeholder {%.*s} of %.*s",
                     VIEW_ARG(route->name), VIEW_ARG(name), VIEW_ARG(path));
    }
}

void parameters_check(const struct route *route, struct view file, struct diagnostics *diagnostics)
{
    const struct statement *s = &route->statement;
    for (size_t i = 0; i < s->parameter_count; i++)
        check_declaration(s, i, type_of(s->parameters[i].type), file, diagnostics);
}

bool parameters_compile(struct arena *arena, const struct route *route, struct view file,
                        struct diagnostics *diagnostics, const struct parameter_type **types)
{
    const struct statement *s = &route->statement;
    const size_t errors = diagnostics->errors;
    struct parameter_type *made = ARENA_ARRAY(arena, s->parameter_count + 1, struct parameter_type);
    *types = made;
    if (made == NULL)
        return false;
    for (size_t i = 0; i < s->parameter_count; i++)
        made[i] = type_of(s->parameters[i].type);
    parameters_check(route, file, diagnostics);
    for (size_t i = 0; i < route->paths.count; i++)
        check_path(route, route->paths.items[i], file, diagnostics);
    return diagnostics->errors == errors;
}

/* ---- For a request ---- */

struct binder {
    struct arena *arena;
    const struct statement *statement;
    const struct parameter_type *types;
    const struct parameter_input *input;
    struct bound_value *out;
    bool *given; /* one for each parameter */
    struct parameter_error *why;
};

/* The fault with the parameter's name.  The name is copied: it may be the request's own. */
static err blame(struct binder *b, const struct fault *fault, struct view name)
{
    b->why->name = name.data != NULL ? arena_copy(b->arena, name) : name;
    b->why->detail = view_str(fault->client_text);
    return fail(fault);
}

static err blame_type(struct binder *b, size_t i)
{
    const struct parameter *p = &b->statement->parameters[i];
    if (p->source == SOURCE_CLAIM)
        return blame(b, &parameter_claim_unfit, (struct view){NULL, 0});
    err e = blame(b, &parameter_bad_value, p->key);
    struct view detail =
        arena_printf(b->arena, "The value is not of type %.*s.", VIEW_ARG(p->type));
    if (detail.data != NULL)
        b->why->detail = detail;
    return e;
}

/* What can't be decoded is the caller's fault, unless there was no memory. */
static err blame_decoding(struct binder *b, err e, struct view name)
{
    return is_fault(e, &fault_out_of_memory) ? e : blame(b, &parameter_not_text, name);
}

static err set_text(struct binder *b, size_t i, struct view text)
{
    const struct parameter *p = &b->statement->parameters[i];
    if (view_find(text, '\0') < text.len || !view_is_utf8(text))
        return p->source == SOURCE_CLAIM ? blame_type(b, i)
                                         : blame(b, &parameter_not_text, p->key);
    if (failed(pg_parameter_check(b->types[i].oid, text)))
        return blame_type(b, i);
    b->out[i] = (struct bound_value){.text = text};
    b->given[i] = true;
    return OK;
}

static void set_null(struct binder *b, size_t i)
{
    b->out[i] = (struct bound_value){.is_null = true};
    b->given[i] = true;
}

/* The parameter of that source and key, not yet given; else the fault. */
static err find(struct binder *b, enum parameter_source source, struct view key, size_t *found)
{
    const struct statement *s = b->statement;
    for (size_t i = 0; i < s->parameter_count; i++) {
        if (s->parameters[i].source == source && view_eq(s->parameters[i].key, key)) {
            *found = i;
            return b->given[i] ? blame(b, &parameter_twice, key) : OK;
        }
    }
    return blame(b, &parameter_unknown, key);
}

static err bind_path(struct binder *b)
{
    for (size_t c = 0; c < b->input->capture_count; c++) {
        const struct capture *capture = &b->input->captures[c];
        struct view text;
        size_t i;
        TRY(find(b, SOURCE_PATH, capture->name, &i));
        err e = uri_decode_segment(b->arena, capture->raw, &text);
        if (failed(e))
            return blame_decoding(b, e, capture->name);
        TRY(set_text(b, i, text));
    }
    return OK;
}

/* name=value&… of a query or a form. */
static err bind_pairs(struct binder *b, enum parameter_source source, struct view raw)
{
    struct view raw_name, raw_value;
    while (uri_query_next(&raw, &raw_name, &raw_value)) {
        struct view name, text;
        size_t i;
        err e = uri_decode_query(b->arena, raw_name, &name);
        if (failed(e))
            return blame_decoding(b, e, (struct view){NULL, 0});
        TRY(find(b, source, name, &i));
        e = uri_decode_query(b->arena, raw_value, &text);
        if (failed(e))
            return blame_decoding(b, e, name);
        if (text.data == NULL)
            text = VIEW("");
        TRY(set_text(b, i, text));
    }
    return OK;
}

/* False: an element that can't stand in an array of this type. */
static bool write_elements(struct pg_array_writer *w, const struct json_value *array,
                           const struct parameter_type *type)
{
    pg_add_array_open(w);
    JSON_EACH(item, array)
    {
        const struct view text = type->json ? item->raw : item->text;
        if (item->type == JSON_NULL)
            pg_add_array_element(w, (struct view){NULL, 0});
        else if (item->type == JSON_ARRAY && !type->json) {
            if (!write_elements(w, item, type))
                return false;
        } else if (text.data == NULL || view_find(text, '\0') < text.len ||
                   failed(pg_parameter_check(type->element_oid, text)))
            return false;
        else
            pg_add_array_element(w, text);
    }
    pg_add_array_close(w);
    return true;
}

static err set_array(struct binder *b, size_t i, const struct json_value *array)
{
    struct buf literal;
    struct pg_array_writer w;
    /* An element of one character and its comma become four; an escape never grows as much. */
    buf_init(&literal, array->raw.len * 3 + 64);
    pg_array_init(&w, &literal);
    const bool fits = write_elements(&w, array, &b->types[i]) && !buf_failed(&literal);
    const struct view text = fits ? arena_copy(b->arena, buf_view(&literal)) : VIEW("");
    buf_clear(&literal);
    if (!fits)
        return blame_type(b, i);
    return text.data != NULL ? set_text(b, i, text) : fail(&fault_out_of_memory);
}

static err set_json(struct binder *b, size_t i, const struct json_value *value)
{
    const struct parameter_type *type = &b->types[i];
    if (value->type == JSON_NULL) {
        set_null(b, i);
        return OK;
    }
    if (type->element_oid != 0)
        return value->type == JSON_ARRAY ? set_array(b, i, value) : blame_type(b, i);
    if (type->json)
        return set_text(b, i, value->raw);
    if (value->type == JSON_ARRAY || value->type == JSON_OBJECT)
        return blame_type(b, i);
    return set_text(b, i, value->text);
}

static err bind_json(struct binder *b)
{
    const struct json_value *body;
    err e = json_parse(b->arena, b->input->body, NULL, &body, NULL);
    if (is_fault(e, &fault_out_of_memory))
        return e;
    if (is_fault(e, &json_duplicate_name))
        return blame(b, &parameter_twice, (struct view){NULL, 0});
    if (failed(e) || body->type != JSON_OBJECT)
        return blame(b, &parameter_body_syntax, (struct view){NULL, 0});
    JSON_EACH(member, body)
    {
        size_t i;
        TRY(find(b, SOURCE_BODY, member->name, &i));
        TRY(set_json(b, i, member));
    }
    return OK;
}

static bool takes_body(const struct statement *s)
{
    for (size_t i = 0; i < s->parameter_count; i++) {
        if (s->parameters[i].source == SOURCE_BODY)
            return true;
    }
    return false;
}

static err bind_body(struct binder *b)
{
    struct view media_type;
    if (b->input->body.len == 0)
        return OK;
    if (!takes_body(b->statement))
        return blame(b, &parameter_body_unwanted, (struct view){NULL, 0});
    view_cut(b->input->content_type, ';', &media_type);
    media_type = view_trim(media_type);
    if (view_eq_nocase(media_type, VIEW("application/json")))
        return bind_json(b);
    if (view_eq_nocase(media_type, VIEW("application/x-www-form-urlencoded")))
        return bind_pairs(b, SOURCE_BODY, b->input->body);
    return blame(b, &parameter_body_type, (struct view){NULL, 0});
}

/* A text claim is bound as it is; the rest as the JSON value that it is. */
static err bind_claim(struct binder *b, size_t i)
{
    const struct parameter *p = &b->statement->parameters[i];
    const struct claim *claim = principal_claim(b->input->principal, p->key);
    if (claim == NULL || claim->kind == CLAIM_NULL)
        return OK;
    if (b->types[i].element_oid == 0 && !b->types[i].json && claim->kind != CLAIM_COMPOUND)
        return set_text(b, i, claim->text);
    const struct json_value *value;
    err e = json_parse(b->arena, claim->json, NULL, &value, NULL);
    if (failed(e))
        return is_fault(e, &fault_out_of_memory) ? e : blame_type(b, i);
    return set_json(b, i, value);
}

static err bind_header(struct binder *b, size_t i)
{
    const struct parameter *p = &b->statement->parameters[i];
    struct view value;
    bool twice = false;
    if (!b->input->headers.get(b->input->headers.ctx, p->key, &value, &twice))
        return OK;
    return twice ? blame(b, &parameter_twice, p->key) : set_text(b, i, value);
}

static err bind_what_is_not_given(struct binder *b, size_t i)
{
    const struct parameter *p = &b->statement->parameters[i];
    if (p->has_default) {
        b->out[i] = (struct bound_value){.text = p->default_value};
        return OK;
    }
    if (!p->required) {
        set_null(b, i);
        return OK;
    }
    if (p->source == SOURCE_CLAIM)
        return blame(b, &parameter_claim_missing, (struct view){NULL, 0});
    return blame(b, &parameter_missing, p->key);
}

err parameters_bind(struct arena *arena, const struct route *route,
                    const struct parameter_type *types, const struct parameter_input *input,
                    struct bound_value *out, struct parameter_error *why)
{
    const struct statement *s = &route->statement;
    struct binder b = {.arena = arena,
                       .statement = s,
                       .types = types,
                       .input = input,
                       .out = out,
                       .given = ARENA_ARRAY(arena, s->parameter_count + 1, bool),
                       .why = why};
    *why = (struct parameter_error){.detail = VIEW("")};
    if (b.given == NULL)
        return fail(&fault_out_of_memory);
    TRY(bind_path(&b));
    TRY(bind_pairs(&b, SOURCE_QUERY, input->raw_query));
    TRY(bind_body(&b));
    for (size_t i = 0; i < s->parameter_count; i++) {
        if (s->parameters[i].source == SOURCE_CLAIM)
            TRY(bind_claim(&b, i));
        else if (s->parameters[i].source == SOURCE_HEADER)
            TRY(bind_header(&b, i));
        if (!b.given[i])
            TRY(bind_what_is_not_given(&b, i));
    }
    return OK;
}
