#include "json/json.h"

#include "base/map.h"

const struct fault json_syntax = {
    "json_syntax", "the text is not JSON", "the JSON text is malformed", 400};
const struct fault json_truncated = {
    "json_truncated", "the JSON text ends too early", "the JSON text ends too early", 400};
const struct fault json_trailing = {
    "json_trailing", "something follows the JSON value", "something follows the JSON value", 400};
const struct fault json_byte_order_mark = {
    "json_byte_order_mark", "the JSON text begins with a byte order mark",
    "the JSON text begins with a byte order mark", 400};
const struct fault json_not_utf8 = {
    "json_not_utf8", "a JSON string is not UTF-8", "the JSON text is not UTF-8", 400};
const struct fault json_bad_number = {
    "json_bad_number", "a JSON number is malformed", "a JSON number is malformed", 400};
const struct fault json_bad_string = {
    "json_bad_string", "a JSON string holds a raw control character",
    "a JSON string holds a raw control character", 400};
const struct fault json_bad_escape = {
    "json_bad_escape", "a JSON string holds an invalid escape",
    "a JSON string holds an invalid escape", 400};
const struct fault json_duplicate_name = {
    "json_duplicate_name", "a JSON object names a member twice",
    "a JSON object names a member twice", 400};
const struct fault json_too_deep = {
    "json_too_deep", "the JSON text is nested too deeply", "the JSON text is nested too deeply",
    400};
const struct fault json_too_many_values = {
    "json_too_many_values", "the JSON text holds too many values",
    "the JSON text holds too many values", 400};

/* Above this many members, duplicate names are looked for with a map. */
enum { PAIRWISE_MEMBERS = 12 };

/* A container whose end has not come. */
struct open_container {
    struct json_value *value;
    struct json_value *last;
};

struct parser {
    struct arena *arena;
    const char *start;
    const char *at; /* after a failure: what was refused */
    const char *end;
    struct open_container *open;
    size_t depth;
    size_t max_depth;
    size_t values_left;
};

static err refuse(struct parser *p, const char *at, const struct fault *fault)
{
    p->at = at;
    return fail(at == p->end ? &json_truncated : fault);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static void skip_blanks(struct parser *p)
{
    while (p->at < p->end && (*p->at == ' ' || *p->at == '\n' || *p->at == '\r' || *p->at == '\t'))
        p->at++;
}

static bool take(struct parser *p, char c)
{
    if (p->at == p->end || *p->at != c)
        return false;
    p->at++;
    return true;
}

static bool take_digits(struct parser *p)
{
    const char *first = p->at;
    while (p->at < p->end && is_digit(*p->at))
        p->at++;
    return p->at > first;
}

/* RFC 8259 section 6. */
static err parse_number(struct parser *p)
{
    take(p, '-');
    if (!take(p, '0') && !take_digits(p))
        return refuse(p, p->at, &json_bad_number);
    if (take(p, '.') && !take_digits(p))
        return refuse(p, p->at, &json_bad_number);
    if (take(p, 'e') || take(p, 'E')) {
        if (!take(p, '+'))
            take(p, '-');
        if (!take_digits(p))
            return refuse(p, p->at, &json_bad_number);
    }
    /* "01", "1.2.3", "0x1": said as what they are, not as a missing comma. */
    if (p->at < p->end) {
        char c = *p->at;
        bool letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
        if (is_digit(c) || c == '.' || c == '+' || c == '-' || letter)
            return refuse(p, p->at, &json_bad_number);
    }
    return OK;
}

static bool hex4(const char *at, const char *end, unsigned *out)
{
    unsigned n = 0;
    if (end - at < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        char c = at[i];
        char letter = (char)(c | 0x20);
        if (is_digit(c))
            n = n << 4 | (unsigned)(c - '0');
        else if (letter >= 'a' && letter <= 'f')
            n = n << 4 | (unsigned)(letter - 'a' + 10);
        else
            return false;
    }
    *out = n;
    return true;
}

static char *put_utf8(char *to, unsigned c)
{
    if (c < 0x80) {
        *to++ = (char)c;
    } else if (c < 0x800) {
        *to++ = (char)(0xC0 | c >> 6);
        *to++ = (char)(0x80 | (c & 0x3F));
    } else if (c < 0x10000) {
        *to++ = (char)(0xE0 | c >> 12);
        *to++ = (char)(0x80 | (c >> 6 & 0x3F));
        *to++ = (char)(0x80 | (c & 0x3F));
    } else {
        *to++ = (char)(0xF0 | c >> 18);
        *to++ = (char)(0x80 | (c >> 12 & 0x3F));
        *to++ = (char)(0x80 | (c >> 6 & 0x3F));
        *to++ = (char)(0x80 | (c & 0x3F));
    }
    return to;
}

/* What follows "\u": four digits, or a surrogate pair (RFC 8259 section 7).  NULL: neither. */
static const char *unicode_escape(const char *at, const char *end, unsigned *out)
{
    unsigned high, low;
    if (!hex4(at, end, &high))
        return NULL;
    at += 4;
    if (high < 0xD800 || high > 0xDFFF) {
        *out = high;
        return at;
    }
    if (high > 0xDBFF || end - at < 6 || at[0] != '\\' || at[1] != 'u' || !hex4(at + 2, end, &low))
        return NULL;
    if (low < 0xDC00 || low > 0xDFFF)
        return NULL;
    *out = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
    return at + 6;
}

/* The character that a backslash and c stand for; 0 when there is none. */
static char short_escape(char c)
{
    switch (c) {
    case '"':
    case '\\':
    case '/':
        return c;
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default:
        return 0;
    }
}

/* The inside of a string that has escapes, into the arena: never longer than it was. */
static err unescape(struct parser *p, struct view inside, struct view *out)
{
    const char *from = inside.data, *end = inside.data + inside.len;
    char *text = arena_alloc(p->arena, inside.len);
    char *to = text;

    if (text == NULL)
        return fail(&fault_out_of_memory);
    while (from < end) {
        if (*from != '\\') {
            *to++ = *from++;
            continue;
        }
        const char *escape = from++;
        if (*from == 'u') {
            unsigned c = 0;
            from = unicode_escape(from + 1, end, &c);
            if (from == NULL)
                return refuse(p, escape, &json_bad_escape);
            to = put_utf8(to, c);
        } else {
            char c = short_escape(*from++);
            if (c == 0)
                return refuse(p, escape, &json_bad_escape);
            *to++ = c;
        }
    }
    *out = view_of(text, (size_t)(to - text));
    return OK;
}

/* At the opening quote; leaves after the closing one. */
static err parse_string(struct parser *p, struct view *out)
{
    const char *quote = p->at, *at = quote + 1;
    bool escapes = false, ascii = true;

    for (; at < p->end && *at != '"'; at++) {
        unsigned char c = (unsigned char)*at;
        if (c < 0x20)
            return refuse(p, at, &json_bad_string);
        if (c >= 0x80) {
            ascii = false;
        } else if (c == '\\') {
            escapes = true;
            /* Steps over the escaped byte, which may be a quote; a control character is no escape
             * and is met here, so that unescape never reads past the end. */
            if (++at == p->end)
                break;
            if ((unsigned char)*at < 0x20 || (unsigned char)*at >= 0x80)
                return refuse(p, at - 1, &json_bad_escape);
        }
    }
    if (at == p->end)
        return refuse(p, at, &json_truncated);
    struct view inside = view_of(quote + 1, (size_t)(at - quote - 1));
    if (!ascii && !view_is_utf8(inside))
        return refuse(p, quote, &json_not_utf8);
    *out = inside;
    if (escapes)
        TRY(unescape(p, inside, out));
    p->at = at + 1;
    return OK;
}

static err parse_word(struct parser *p, const char *word)
{
    for (; *word != '\0'; word++) {
        if (!take(p, *word))
            return refuse(p, p->at, &json_syntax);
    }
    return OK;
}

static err open_container(struct parser *p, struct json_value *value)
{
    if (p->depth == p->max_depth)
        return refuse(p, p->at, &json_too_deep);
    p->open[p->depth++] = (struct open_container){value, NULL};
    p->at++;
    return OK;
}

/* A scalar to its end, or a container's opening bracket. */
static err parse_value(struct parser *p, struct json_value *value)
{
    const char *first = p->at;
    if (first == p->end)
        return refuse(p, first, &json_truncated);
    switch (*first) {
    case '{':
        value->type = JSON_OBJECT;
        return open_container(p, value);
    case '[':
        value->type = JSON_ARRAY;
        return open_container(p, value);
    case '"':
        value->type = JSON_STRING;
        TRY(parse_string(p, &value->text));
        break;
    case 't':
    case 'f':
        value->type = JSON_BOOL;
        TRY(parse_word(p, *first == 't' ? "true" : "false"));
        break;
    case 'n':
        value->type = JSON_NULL;
        TRY(parse_word(p, "null"));
        break;
    default:
        if (*first != '-' && !is_digit(*first))
            return refuse(p, first, &json_syntax);
        value->type = JSON_NUMBER;
        TRY(parse_number(p));
    }
    value->raw = view_of(first, (size_t)(p->at - first));
    if (value->type != JSON_STRING)
        value->text = value->raw;
    return OK;
}

static err new_value(struct parser *p, struct json_value **out)
{
    if (p->values_left == 0)
        return refuse(p, p->at, &json_too_many_values);
    p->values_left--;
    *out = ARENA_NEW(p->arena, struct json_value);
    return *out == NULL ? fail(&fault_out_of_memory) : OK;
}

/* The next element or member of the innermost container. */
static err parse_item(struct parser *p)
{
    struct open_container *open = &p->open[p->depth - 1];
    struct json_value *item;
    struct view name = {NULL, 0};

    skip_blanks(p);
    if (open->value->type == JSON_OBJECT) {
        if (p->at == p->end || *p->at != '"')
            return refuse(p, p->at, &json_syntax);
        TRY(parse_string(p, &name));
        skip_blanks(p);
        if (!take(p, ':'))
            return refuse(p, p->at, &json_syntax);
        skip_blanks(p);
    }
    if (p->at == p->end)
        return refuse(p, p->at, &json_truncated);
    TRY(new_value(p, &item));
    item->name = name;
    item->raw.data = p->at;
    if (open->last == NULL)
        open->value->first = item;
    else
        open->last->next = item;
    open->last = item;
    open->value->count++;
    return parse_value(p, item);
}

static err check_names_pairwise(struct parser *p, const struct json_value *object)
{
    JSON_EACH(member, object) {
        for (const struct json_value *other = object->first; other != member; other = other->next) {
            if (view_eq(other->name, member->name))
                return refuse(p, member->raw.data, &json_duplicate_name);
        }
    }
    return OK;
}

static err check_names(struct parser *p, const struct json_value *object)
{
    if (object->count <= PAIRWISE_MEMBERS)
        return check_names_pairwise(p, object);

    struct map seen;
    err e = OK;
    map_init(&seen);
    JSON_EACH(member, object) {
        if (map_get(&seen, member->name) != NULL)
            e = refuse(p, member->raw.data, &json_duplicate_name);
        else if (!map_put(&seen, member->name, p))
            e = fail(&fault_out_of_memory);
        if (failed(e))
            break;
    }
    map_clear(&seen);
    return e;
}

/* After a value or an opening bracket: closes what closes here, and says by p->depth whether more
 * is to come. */
static err close_containers(struct parser *p)
{
    while (p->depth > 0) {
        struct json_value *value = p->open[p->depth - 1].value;
        skip_blanks(p);
        if (!take(p, value->type == JSON_OBJECT ? '}' : ']'))
            return OK;
        value->raw.len = (size_t)(p->at - value->raw.data);
        if (value->type == JSON_OBJECT)
            TRY(check_names(p, value));
        p->depth--;
    }
    return OK;
}

static err parse_document(struct parser *p, struct json_value **out)
{
    if (view_starts_with(view_of(p->at, (size_t)(p->end - p->at)), VIEW("\xEF\xBB\xBF")))
        return refuse(p, p->at, &json_byte_order_mark);
    skip_blanks(p);
    TRY(new_value(p, out));
    (*out)->raw.data = p->at;
    TRY(parse_value(p, *out));
    TRY(close_containers(p));
    while (p->depth > 0) {
        if (p->open[p->depth - 1].last != NULL && !take(p, ','))
            return refuse(p, p->at, &json_syntax);
        TRY(parse_item(p));
        /* A bracket may close here only after an item, or at once after its opening. */
        TRY(close_containers(p));
    }
    skip_blanks(p);
    return p->at == p->end ? OK : refuse(p, p->at, &json_trailing);
}

err json_parse(struct arena *arena, struct view text, const struct json_limits *limits,
               const struct json_value **out, size_t *error_at)
{
    struct view source = text.data != NULL ? text : VIEW("");
    struct parser p = {
        .arena = arena,
        .start = source.data,
        .at = source.data,
        .end = source.data + source.len,
        .max_depth = limits != NULL ? limits->max_depth : JSON_DEFAULT_DEPTH,
        .values_left = limits != NULL ? limits->max_values : JSON_DEFAULT_VALUES,
    };
    struct json_value *value = NULL;
    err e = OK;

    *out = NULL;
    p.open = ARENA_ARRAY(arena, p.max_depth > 0 ? p.max_depth : 1, struct open_container);
    e = p.open == NULL ? fail(&fault_out_of_memory) : parse_document(&p, &value);
    if (!failed(e))
        *out = value;
    else if (error_at != NULL)
        *error_at = (size_t)(p.at - p.start);
    return e;
}
