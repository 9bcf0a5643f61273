/* Checks of single values. */
#include "config/rules.h"

enum { NAME_MAX_BYTES = 128, DATABASE_NAME_MAX_BYTES = 63, HOST_MAX_BYTES = 253 };

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_control(char c)
{
    return (unsigned char)c < 0x20 || c == 0x7f;
}

const char *check_no_control(struct view v)
{
    for (size_t i = 0; i < v.len; i++) {
        if (is_control(v.data[i]))
            return "must not hold control characters";
    }
    return NULL;
}

/* Kong's rule for names, less the non-ASCII (Kong, kong/db/schema/typedefs.lua, utf8_name). */
const char *check_name(struct view v)
{
    for (size_t i = 0; i < v.len; i++) {
        char c = v.data[i];
        if (!is_letter(c) && !is_digit(c) && strchr("._~-", c) == NULL)
            return "may hold only letters, digits, '.', '_', '~' and '-'";
    }
    return v.len > NAME_MAX_BYTES ? "is longer than 128 characters" : NULL;
}

const char *check_uuid(struct view v)
{
    static const char wrong[] = "must be a UUID, in lower case";

    if (v.len != 36)
        return wrong;
    for (size_t i = 0; i < v.len; i++) {
        char c = v.data[i];
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? c != '-' : !is_digit(c) && !(c >= 'a' && c <= 'f'))
            return wrong;
    }
    return NULL;
}

/* As long as a claim may be, and within what PostgreSQL can index. */
const char *check_consumer_name(struct view v)
{
    return v.len > 255 ? "must be at most 255 bytes long" : check_no_control(v);
}

static struct view host_of_url(struct view rest)
{
    size_t end = 0;

    if (rest.len > 0 && rest.data[0] == '[')
        return view_upto(view_from(rest, 1), view_find(view_from(rest, 1), ']'));
    while (end < rest.len && strchr("/:?#", rest.data[end]) == NULL)
        end++;
    return view_upto(rest, end);
}

const char *check_https_url(struct view v)
{
    struct view https = VIEW("https://"), http = VIEW("http://");

    for (size_t i = 0; i < v.len; i++) {
        if (is_control(v.data[i]) || v.data[i] == ' ' || v.data[i] == '#' || v.data[i] == '@')
            return "must be a URL without blanks, user or fragment";
    }
    if (view_starts_with(v, https))
        return host_of_url(view_from(v, https.len)).len > 0 ? NULL : "must be a URL with a host";
    if (view_starts_with(v, http) && host_is_loopback(host_of_url(view_from(v, http.len))))
        return NULL;
    return "must begin with https:// (http:// only to loopback)";
}

/* An identifier of PostgreSQL as data: any text that fits into a name of 63 bytes
 * (PostgreSQL 15, chapter 4.1.1). */
const char *check_identifier(struct view v)
{
    if (v.len > DATABASE_NAME_MAX_BYTES)
        return "is longer than 63 bytes";
    return check_no_control(v);
}

const char *check_schema_name(struct view v)
{
    if (view_is(v, "pg_temp"))
        return "pg_temp is put last by itself and must not be listed";
    return check_identifier(v);
}

const char *check_role_name(struct view v)
{
    /* SET ROLE NONE goes back to the login (PostgreSQL 15, SET ROLE). */
    if (view_eq_nocase(v, VIEW("none")))
        return "'none' would leave the statement to the login itself";
    return check_identifier(v);
}

const char *check_database_host(struct view v)
{
    if (v.len > HOST_MAX_BYTES)
        return "is longer than a host name can be";
    for (size_t i = 0; i < v.len; i++) {
        char c = v.data[i];
        if (!is_letter(c) && !is_digit(c) && strchr(".-_:", c) == NULL)
            return "must be a host name or an IP address";
    }
    return NULL;
}

const char *check_sslrootcert(struct view v)
{
    if (view_is(v, "rds") || view_is(v, "system") || view_is(v, "rds+system"))
        return NULL;
    if (memchr(v.data, '/', v.len) == NULL && memchr(v.data, '.', v.len) == NULL)
        return "must be rds, system, rds+system, or a file with a '/' or '.' in its name";
    return check_no_control(v);
}

/* NAME, SCHEMA.NAME, "double precision", timestamp(3), each perhaps with [].  Whether the type
 * exists only the database can say. */
const char *check_type_name(struct view v)
{
    struct view element = view_ends_with(v, VIEW("[]")) ? view_upto(v, v.len - 2) : v;

    for (size_t i = 0; i < element.len; i++) {
        char c = element.data[i];
        bool inner = is_digit(c) || strchr(" ().,\"", c) != NULL;
        if (!is_letter(c) && c != '_' && !(i > 0 && inner))
            return "must be the name of a PostgreSQL type, as bigint, numeric(10,2) or text[]";
    }
    if (element.len == 0)
        return "must be the name of a PostgreSQL type";
    return v.len > 2 * DATABASE_NAME_MAX_BYTES ? "is longer than a type's name can be" : NULL;
}

const char *check_format_version(struct view v)
{
    return view_is(v, "3.0") ? NULL : "must be \"3.0\"";
}

static const char *check_placeholder(struct view name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];
        if (!is_letter(c) && c != '_' && !(i > 0 && is_digit(c)))
            return "a {name} in a path must be letters, digits and '_', not beginning with a digit";
    }
    return name.len == 0 || name.len > DATABASE_NAME_MAX_BYTES
               ? "a {name} in a path must have 1 to 63 characters"
               : NULL;
}

static const char *check_segment(struct view segment)
{
    if (view_is(segment, ".") || view_is(segment, ".."))
        return "must not hold the segments '.' and '..'";
    if (segment.len >= 2 && segment.data[0] == '{' && segment.data[segment.len - 1] == '}')
        return check_placeholder(view_upto(view_from(segment, 1), segment.len - 2));
    for (size_t i = 0; i < segment.len; i++) {
        char c = segment.data[i];
        if (c == '{' || c == '}')
            return "a {name} must be a whole segment between two '/'";
        if (is_control(c) || strchr(" ?#%\\", c) != NULL)
            return "must not hold blanks, '?', '#', '%' or '\\'; write the characters themselves";
    }
    return NULL;
}

const char *check_path_template(struct view v)
{
    struct view segment, rest;

    if (v.len > 0 && v.data[0] == '~')
        return "regular expressions ('~') are not supported yet by this version";
    if (v.len == 0 || v.data[0] != '/')
        return "must begin with '/'";
    if (v.len > 2048)
        return "is longer than 2048 characters";
    for (rest = view_from(v, 1); rest.data != NULL;) {
        rest = view_cut(rest, '/', &segment);
        if (segment.len == 0 && rest.data != NULL)
            return "must not hold '//'";
        const char *wrong = check_segment(segment);
        if (wrong != NULL)
            return wrong;
    }
    return NULL;
}
