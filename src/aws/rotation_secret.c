/* The secret's text: RDS's format ("JSON structure of AWS Secrets Manager secrets"). */
#include <stdio.h>
#include <string.h>

#include "aws/rotation.h"
#include "crypto/random.h"
#include "json/json.h"

const struct fault rotation_not_json = {
    "rotation_not_json", "the secret is not a JSON object as RDS has it", NULL, 0};
const struct fault rotation_engine = {
    "rotation_engine", "the secret's engine is not postgres, or is missing", NULL, 0};
const struct fault rotation_bad_field = {
    "rotation_bad_field",
    "the secret's host, port, username, password or dbname is missing or cannot be used", NULL, 0};
const struct fault rotation_name_too_long = {
    "rotation_name_too_long", "the user's name leaves no room for _clone in 63 bytes", NULL, 0};
const struct fault rotation_other_user = {
    "rotation_other_user", "AWSPENDING is for a user that this rotation is not about", NULL, 0};
const struct fault rotation_other_place = {
    "rotation_other_place", "AWSPENDING is for another host, port or database", NULL, 0};

static const char suffix[] = "_clone";
static const char unreserved[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

/* One host name or address: a comma would be a list to libpq, a slash or an at sign a socket. */
static bool is_host(struct view v)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._:";

    for (size_t i = 0; i < v.len; i++) {
        if (memchr(allowed, v.data[i], sizeof allowed - 1) == NULL)
            return false;
    }
    return v.len > 0 && v.len <= 253;
}

static bool is_name(struct view v)
{
    return v.len > 0 && v.len <= ROTATION_NAME_MAX && memchr(v.data, '\0', v.len) == NULL;
}

/* AWS's functions take a number or the same as a string. */
static bool read_port(const struct json_value *object, uint16_t *out)
{
    const struct json_value *value = json_get(object, "port");
    uint64_t n = 5432;

    if (value != NULL && value->type != JSON_NULL &&
        ((value->type != JSON_NUMBER && value->type != JSON_STRING) ||
         !view_to_u64(value->text, UINT16_MAX, &n) || n == 0))
        return false;
    *out = (uint16_t)n;
    return true;
}

static err parse(struct view secret, struct arena *arena, const struct json_value **out)
{
    err e = json_parse(arena, secret, NULL, out, NULL);

    if (is_fault(e, &fault_out_of_memory))
        return e;
    return failed(e) || !json_is(*out, JSON_OBJECT) ? fail(&rotation_not_json) : OK;
}

err rotation_login_read(struct view secret, struct arena *arena, struct rotation_login *out)
{
    const struct json_value *object;
    struct view engine;

    TRY(parse(secret, arena, &object));
    *out = (struct rotation_login){.dbname = VIEW("postgres")};
    if (!json_get_string(object, "engine", &engine) ||
        (!view_is(engine, "postgres") && !view_is(engine, "aurora-postgresql")))
        return fail(&rotation_engine);
    json_get_string(object, "dbname", &out->dbname);
    json_get_string(object, "masterarn", &out->master_arn);
    if (!json_get_string(object, "host", &out->host) || !is_host(out->host) ||
        !read_port(object, &out->port) || !json_get_string(object, "username", &out->username) ||
        !is_name(out->username) || !is_name(out->dbname) ||
        !json_get_string(object, "password", &out->password) || out->password.len == 0 ||
        memchr(out->password.data, '\0', out->password.len) != NULL)
        return fail(&rotation_bad_field);
    return OK;
}

err rotation_other_name(struct view username, struct arena *arena, struct view *out)
{
    struct view end = VIEW("_clone");

    if (username.len > end.len && view_ends_with(username, end))
        *out = arena_copy(arena, view_upto(username, username.len - end.len));
    else if (username.len + end.len > ROTATION_NAME_MAX)
        return fail(&rotation_name_too_long);
    else
        *out = arena_printf(arena, "%.*s%s", VIEW_ARG(username), suffix);
    return out->data == NULL ? fail(&fault_out_of_memory) : OK;
}

err rotation_add_secret(struct view secret, struct view username, struct view password,
                        struct arena *arena, struct buf *out)
{
    const struct json_value *object;
    const char *comma = "";

    TRY(parse(secret, arena, &object));
    buf_add_char(out, '{');
    JSON_EACH(member, object) {
        buf_add_str(out, comma);
        json_add_string(out, member->name);
        buf_add_char(out, ':');
        if (view_is(member->name, "username"))
            json_add_string(out, username);
        else if (view_is(member->name, "password"))
            json_add_string(out, password);
        else
            buf_add_view(out, member->raw);
        comma = ",";
    }
    buf_add_char(out, '}');
    return buf_failed(out) ? fail(&fault_too_large) : OK;
}

bool rotation_same_place(const struct rotation_login *a, const struct rotation_login *b)
{
    return view_eq_nocase(a->host, b->host) && a->port == b->port;
}

err rotation_check_pending(const struct rotation_login *current,
                           const struct rotation_login *pending, bool alternating,
                           struct arena *arena)
{
    struct view wanted = current->username;

    if (alternating)
        TRY(rotation_other_name(current->username, arena, &wanted));
    if (!view_eq(pending->username, wanted))
        return fail(&rotation_other_user);
    if (!rotation_same_place(current, pending) || !view_eq(current->dbname, pending->dbname))
        return fail(&rotation_other_place);
    return OK;
}

void rotation_make_password(char out[ROTATION_PASSWORD_LENGTH + 1])
{
    for (size_t i = 0; i < ROTATION_PASSWORD_LENGTH; i++)
        out[i] = unreserved[random_below(sizeof unreserved - 1)];
    out[ROTATION_PASSWORD_LENGTH] = '\0';
}

void rotation_make_version_id(char out[37])
{
    uint64_t a = random_u64(), b = random_u64();

    /* The version 4 and the variant 10 stand in fixed bits. */
    snprintf(out, 37, "%08x-%04x-4%03x-%04x-%012llx", (unsigned)(a >> 32),
             (unsigned)(a >> 16) & 0xffff, (unsigned)a & 0xfff,
             0x8000 | ((unsigned)(b >> 48) & 0x3fff), (unsigned long long)(b & 0xffffffffffffULL));
}
