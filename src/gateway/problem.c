#include "gateway/problem.h"

#include <string.h>

#include "base/attr.h"
#include "http/http.h"
#include "json/json.h"

struct problem problem_of(const struct fault *fault, struct view request_id)
{
    struct problem p = {.status = fault->http_status, .request_id = request_id};
    if (p.status == 0)
        p.status = 500;
    /* A fault without a text for callers keeps its name to itself as well. */
    if (fault->client_text != NULL) {
        p.reason = view_str(fault->name);
        p.detail = view_str(fault->client_text);
    }
    return p;
}

static void add_member(struct buf *out, const char *name, struct view text)
{
    if (text.data == NULL)
        return;
    buf_add_char(out, ',');
    json_add_name(out, name);
    json_add_string(out, text);
}

static void add_type(struct buf *out, struct view reason)
{
    json_add_name(out, "type");
    if (reason.data == NULL) {
        json_add_string(out, VIEW("about:blank"));
        return;
    }
    /* A fault's name is snake_case and needs no escape; anything else would show as one. */
    buf_add_str(out, "\"urn:sallyport:problem:");
    for (size_t i = 0; i < reason.len; i++) {
        char c = reason.data[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
        buf_add_char(out, word ? c : '_');
    }
    buf_add_char(out, '"');
}

void problem_write(struct buf *out, const struct problem *problem)
{
    buf_add_char(out, '{');
    add_type(out, problem->reason);
    add_member(out, "title", view_str(http_status_phrase(problem->status)));
    buf_add_char(out, ',');
    json_add_name(out, "status");
    buf_add_i64(out, problem->status);
    add_member(out, "detail", problem->detail);
    add_member(out, "parameter", problem->parameter);
    add_member(out, "sqlstate", problem->sqlstate);
    add_member(out, "message", problem->message);
    add_member(out, "hint", problem->hint);
    if (problem->retry_after_s > 0) {
        buf_add_char(out, ',');
        json_add_name(out, "retry_after_s");
        buf_add_i64(out, problem->retry_after_s);
    }
    add_member(out, "request_id", problem->request_id);
    buf_add_char(out, '}');
}

static const char bad_value[] = "A value does not fit.";
static const char unavailable[] = "The database is not available at the moment.";
static const char retry[] = "The call met another one; nothing was changed.  Try again.";

/* Sorted; a code of fewer than five characters stands for all that begin with it. */
static const struct sqlstate_row {
    const char *code;
    struct sqlstate_answer answer;
} sqlstate_rows[] = {
    {"08", {502, 0, NULL}},           /* connection exceptions */
    {"08001", {503, 1, unavailable}}, /* unable to establish */
    {"08004", {503, 1, unavailable}}, /* the server rejected it */
    {"22", {400, 0, bad_value}},      /* data exceptions */
    {"23", {409, 0, "The change conflicts with other data."}},
    {"23001", {409, 0, "Other data still refers to it."}},
    {"23502", {400, 0, "A value is missing."}},
    {"23503", {409, 0, "It refers to data that does not exist, or other data refers to it."}},
    {"23505", {409, 0, "It exists already."}},
    {"23514", {400, 0, "A value is not allowed."}},
    {"25006", {405, 0, "This route only reads."}},
    {"28", {502, 0, NULL}},              /* the database refused our login, not the caller's */
    {"40001", {503, 1, retry}},          /* serialization failure */
    {"40002", {409, 0, "The change conflicts with other data."}},
    {"40P01", {503, 1, retry}},          /* deadlock */
    {"42501", {403, 0, "Your role may not do this."}},
    {"44", {400, 0, "A value is not allowed."}}, /* WITH CHECK OPTION */
    {"53", {503, 1, unavailable}},       /* insufficient resources */
    {"53400", {500, 0, NULL}},           /* configuration limit exceeded */
    {"55006", {503, 1, retry}},          /* object in use */
    {"55P03", {503, 1, retry}},          /* lock not available */
    {"57014", {504, 0, "The database took too long."}},
    {"57P01", {503, 1, unavailable}},    /* admin shutdown */
    {"57P02", {503, 1, unavailable}},    /* crash shutdown */
    {"57P03", {503, 1, unavailable}},    /* cannot connect now */
    {"57P05", {503, 1, unavailable}},    /* idle session timeout */
    {"P0001", {400, 0, "The database refused the call."}}, /* RAISE */
};

static bool sqlstate_well_formed(const char *sqlstate)
{
    if (sqlstate == NULL)
        return false;
    for (size_t i = 0; i < 5; i++) {
        char c = sqlstate[i];
        if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z')))
            return false;
    }
    return true;
}

struct sqlstate_answer sqlstate_answer(const char *sqlstate, bool authenticated)
{
    struct sqlstate_answer answer = {500, 0, NULL};
    if (!sqlstate_well_formed(sqlstate))
        return answer;
    size_t longest = 0;
    for (size_t i = 0; i < COUNT_OF(sqlstate_rows); i++) {
        size_t len = strlen(sqlstate_rows[i].code);
        if (len > longest && strncmp(sqlstate_rows[i].code, sqlstate, len) == 0) {
            longest = len;
            answer = sqlstate_rows[i].answer;
        }
    }
    if (answer.status == 403 && !authenticated)
        return (struct sqlstate_answer){401, 0, NULL};
    return answer;
}

int sqlstate_status(const char *sqlstate, bool authenticated)
{
    return sqlstate_answer(sqlstate, authenticated).status;
}
