/*
 *   NEW --start--> ASKED --cleartext, (md5)--> ANSWERED ----AuthenticationOk----> SETTINGS
 *                    |                            ^                                  |
 *                    |--SASL--> SASL_FIRST --Continue--> SASL_FINAL --Final--^       |
 *                    |                                                               |
 *                    '--AuthenticationOk, allow_trust--> SETTINGS      ReadyForQuery 'I'
 *                                                                                    v
 *   any --ErrorResponse or a fault--> FAILED                                       DONE
 *
 * Each arrow is a row of `handlers`; what has no row is refused as out of turn.  ANSWERED means
 * that our proof was sent, and by SCRAM also that the server's was checked: an AuthenticationOk
 * that skips AuthenticationSASLFinal meets no handler.
 */
#include "pg/login.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/secret.h"
#include "crypto/tls.h"
#include "pg/scram.h"

enum { LOGIN_ARENA_BLOCK_BYTES = 4096, LOGIN_ARENA_MAX_BYTES = 256 * 1024, OWN_SETTINGS = 4 };

enum login_state {
    LOGIN_NEW,
    LOGIN_ASKED,
    LOGIN_SASL_FIRST,
    LOGIN_SASL_FINAL,
    LOGIN_ANSWERED,
    LOGIN_SETTINGS,
    LOGIN_DONE,
    LOGIN_FAILED,
    LOGIN_STATE_COUNT,
};

enum login_event {
    EVENT_UNKNOWN,
    EVENT_AUTH_OK,
    EVENT_AUTH_CLEARTEXT,
    EVENT_AUTH_SASL,
    EVENT_AUTH_SASL_CONTINUE,
    EVENT_AUTH_SASL_FINAL,
    EVENT_AUTH_OTHER,
    EVENT_ERROR,
    EVENT_NOTICE,
    EVENT_PARAMETER_STATUS,
    EVENT_KEY_DATA,
    EVENT_READY,
    EVENT_COUNT,
};

struct pg_login {
    enum login_state state;
    struct arena arena; /* settings, parameters, the error's texts */
    struct pg_setting *settings;
    size_t setting_count;
    struct view nonce;
    struct secret password;
    bool has_password;
    bool allow_cleartext;
    bool allow_trust;
    bool require_channel_binding;
    uint8_t channel_binding[TLS_END_POINT_MAX_BYTES];
    size_t channel_binding_len;
    struct scram scram;
    const char *method;
    struct pg_setting parameters[PG_LOGIN_MAX_PARAMETERS];
    size_t parameter_count;
    bool has_key;
    uint32_t pid;
    uint32_t key;
    bool has_error;
    struct database_error error;
};

/* A server's message, taken apart as far as the choice of its handler needs. */
struct login_message {
    enum login_event event;
    struct view body; /* of an Authentication message: what follows its code */
};

typedef err login_handler(struct pg_login *l, struct view body, struct buf *out);

/* ---- Birth and death ---- */

static bool has_nul(struct view v)
{
    return view_find(v, '\0') != v.len;
}

static bool is_own_setting(struct view name)
{
    return view_is(name, "user") || view_is(name, "database") ||
           view_eq_nocase(name, VIEW("client_encoding")) || view_eq_nocase(name, VIEW("DateStyle"));
}

static bool options_can_be(const struct pg_login_options *o)
{
    if (o->user.len == 0 || has_nul(o->user) || has_nul(o->database) || has_nul(o->password))
        return false;
    for (size_t i = 0; i < o->setting_count; i++) {
        const struct pg_setting *s = &o->settings[i];
        if (s->name.len == 0 || has_nul(s->name) || has_nul(s->value) || is_own_setting(s->name))
            return false;
    }
    return o->channel_binding.len <= TLS_END_POINT_MAX_BYTES &&
           (o->channel_binding.len > 0 || !o->require_channel_binding);
}

/* False when a copy found no room. */
static bool add_setting(struct pg_login *l, struct view name, struct view value)
{
    struct pg_setting copy = {arena_copy(&l->arena, name), arena_copy(&l->arena, value)};

    l->settings[l->setting_count++] = copy;
    return copy.name.data != NULL && copy.value.data != NULL;
}

static bool copy_options(struct pg_login *l, const struct pg_login_options *o)
{
    l->allow_cleartext = o->allow_cleartext;
    l->allow_trust = o->allow_trust;
    l->require_channel_binding = o->require_channel_binding;
    l->channel_binding_len = o->channel_binding.len;
    if (o->channel_binding.len > 0)
        memcpy(l->channel_binding, o->channel_binding.data, o->channel_binding.len);
    l->has_password = o->password.data != NULL;
    if (l->has_password && !secret_init(&l->password, o->password))
        return false;
    if (o->nonce.data != NULL && (l->nonce = arena_copy(&l->arena, o->nonce)).data == NULL)
        return false;
    if (o->setting_count > SIZE_MAX - OWN_SETTINGS)
        return false;
    l->settings = ARENA_ARRAY(&l->arena, o->setting_count + OWN_SETTINGS, struct pg_setting);
    if (l->settings == NULL || !add_setting(l, VIEW("user"), o->user) ||
        (o->database.len > 0 && !add_setting(l, VIEW("database"), o->database)) ||
        !add_setting(l, VIEW("client_encoding"), VIEW("UTF8")) ||
        !add_setting(l, VIEW("DateStyle"), VIEW("ISO")))
        return false;
    for (size_t i = 0; i < o->setting_count; i++) {
        if (!add_setting(l, o->settings[i].name, o->settings[i].value))
            return false;
    }
    return true;
}

struct pg_login *pg_login_new(const struct pg_login_options *options)
{
    struct pg_login *l = options_can_be(options) ? calloc(1, sizeof *l) : NULL;

    if (l == NULL)
        return NULL;
    arena_init(&l->arena, LOGIN_ARENA_BLOCK_BYTES, LOGIN_ARENA_MAX_BYTES);
    if (!copy_options(l, options)) {
        pg_login_free(l);
        return NULL;
    }
    return l;
}

static void forget_secrets(struct pg_login *l)
{
    secret_clear(&l->password);
    scram_clear(&l->scram);
}

void pg_login_free(struct pg_login *l)
{
    if (l == NULL)
        return;
    forget_secrets(l);
    arena_clear(&l->arena);
    free(l);
}

err pg_login_start(struct pg_login *l, struct buf *out)
{
    ENSURE(l->state == LOGIN_NEW);
    pg_add_startup(out, l->settings, l->setting_count);
    l->state = buf_failed(out) ? LOGIN_FAILED : LOGIN_ASKED;
    return buf_failed(out) ? fail(&fault_too_large) : OK;
}

/* ---- The proof ---- */

static err take_trust(struct pg_login *l, struct view body, struct buf *out)
{
    (void)body, (void)out;
    if (l->require_channel_binding)
        return fail(&pg_channel_binding_missing);
    if (!l->allow_trust)
        return fail(&pg_trust_refused);
    l->method = "trust";
    l->state = LOGIN_SETTINGS;
    return OK;
}

static err answer_cleartext(struct pg_login *l, struct view body, struct buf *out)
{
    (void)body;
    if (l->require_channel_binding)
        return fail(&pg_channel_binding_missing);
    if (!l->allow_cleartext)
        return fail(&pg_cleartext_refused);
    if (!l->has_password)
        return fail(&pg_password_missing);
    pg_add_password(out, secret_view(&l->password));
    forget_secrets(l);
    l->method = "cleartext";
    l->state = LOGIN_ANSWERED;
    return OK;
}

struct mechanisms {
    bool scram;
    bool scram_plus;
};

static err read_mechanisms(struct view list, struct mechanisms *out)
{
    struct view name;

    *out = (struct mechanisms){0};
    for (;;) {
        TRY(pg_read_sasl_mechanism(&list, &name));
        if (name.data == NULL)
            return OK;
        if (view_is(name, "SCRAM-SHA-256"))
            out->scram = true;
        else if (view_is(name, "SCRAM-SHA-256-PLUS"))
            out->scram_plus = true;
    }
}

static err choose_mechanism(const struct pg_login *l, struct mechanisms offered,
                            enum scram_binding *out)
{
    bool can_bind = l->channel_binding_len > 0;

    if (offered.scram_plus && can_bind)
        *out = SCRAM_BINDING_USED;
    else if (l->require_channel_binding)
        return fail(&pg_channel_binding_missing);
    else if (!offered.scram)
        return fail(&pg_auth_unsupported);
    else
        *out = can_bind ? SCRAM_BINDING_NOT_OFFERED : SCRAM_BINDING_NONE;
    return OK;
}

static err answer_sasl(struct pg_login *l, struct view body, struct buf *out)
{
    struct mechanisms offered;
    struct scram_options options = {
        .user = VIEW(""),
        .nonce = l->nonce,
        .channel_binding = view_of(l->channel_binding, l->channel_binding_len),
    };
    struct buf text;

    TRY(read_mechanisms(body, &offered));
    TRY(choose_mechanism(l, offered, &options.binding));
    if (!l->has_password)
        return fail(&pg_password_missing);
    TRY(scram_init(&l->scram, &options));
    bool plus = options.binding == SCRAM_BINDING_USED;
    buf_init(&text, PG_LOGIN_MAX_MESSAGE_BYTES);
    scram_first(&l->scram, &text);
    if (buf_failed(&text))
        out->failed = true;
    pg_add_sasl_initial(out, plus ? VIEW("SCRAM-SHA-256-PLUS") : VIEW("SCRAM-SHA-256"),
                        buf_view(&text));
    buf_clear_secure(&text);
    l->method = plus ? "scram-sha-256-plus" : "scram-sha-256";
    l->state = LOGIN_SASL_FIRST;
    return OK;
}

static err answer_sasl_continue(struct pg_login *l, struct view body, struct buf *out)
{
    struct buf text;

    buf_init(&text, 2 * PG_LOGIN_MAX_MESSAGE_BYTES);
    err e = scram_continue(&l->scram, body, secret_view(&l->password), &text);
    if (!failed(e)) {
        if (buf_failed(&text))
            out->failed = true;
        pg_add_sasl_response(out, buf_view(&text));
        secret_clear(&l->password);
        l->state = LOGIN_SASL_FINAL;
    }
    buf_clear_secure(&text);
    return e;
}

static err check_sasl_final(struct pg_login *l, struct view body, struct buf *out)
{
    (void)out;
    TRY(scram_finish(&l->scram, body));
    forget_secrets(l);
    l->state = LOGIN_ANSWERED;
    return OK;
}

static err refuse_auth(struct pg_login *l, struct view body, struct buf *out)
{
    (void)l, (void)body, (void)out;
    return fail(&pg_auth_unsupported);
}

static err take_auth_ok(struct pg_login *l, struct view body, struct buf *out)
{
    (void)body, (void)out;
    l->state = LOGIN_SETTINGS;
    return OK;
}

/* ---- What comes around it ---- */

static err take_error(struct pg_login *l, struct view body, struct buf *out)
{
    struct database_error error;

    (void)out;
    TRY(pg_read_error(body, &error, NULL));
    l->error = pg_copy_error(&l->arena, &error);
    l->has_error = true;
    return fail(&pg_login_refused);
}

static err take_notice(struct pg_login *l, struct view body, struct buf *out)
{
    struct database_error notice;

    (void)l, (void)out;
    return pg_read_error(body, &notice, NULL);
}

/* The index of the parameter, or parameter_count when there is none. */
static size_t find_parameter(const struct pg_login *l, struct view name)
{
    size_t i = 0;

    while (i < l->parameter_count && !view_eq(l->parameters[i].name, name))
        i++;
    return i;
}

static err take_parameter(struct pg_login *l, struct view body, struct buf *out)
{
    struct pg_setting told;

    (void)out;
    TRY(pg_read_parameter_status(body, &told));
    size_t at = find_parameter(l, told.name);
    if (at == PG_LOGIN_MAX_PARAMETERS)
        return fail(&fault_too_large);
    struct pg_setting *p = &l->parameters[at];
    if (at == l->parameter_count) {
        p->name = arena_copy(&l->arena, told.name);
        l->parameter_count++;
    }
    p->value = arena_copy(&l->arena, told.value);
    return p->name.data != NULL && p->value.data != NULL ? OK : fail(&fault_too_large);
}

static err take_key(struct pg_login *l, struct view body, struct buf *out)
{
    (void)out;
    if (l->has_key)
        return fail(&pg_message_unexpected);
    l->has_key = true;
    return pg_read_backend_key_data(body, &l->pid, &l->key);
}

/* The values of value.h are read by these two; a server (or a proxy before it) that tells others
 * than we asked for would have its rows misread. */
static bool speaks_as_asked(const struct pg_login *l)
{
    struct view encoding = pg_login_parameter(l, VIEW("client_encoding"));
    struct view dates = pg_login_parameter(l, VIEW("DateStyle"));

    return (encoding.data == NULL || view_is(encoding, "UTF8")) &&
           (dates.data == NULL || view_starts_with(dates, VIEW("ISO")));
}

static err take_ready(struct pg_login *l, struct view body, struct buf *out)
{
    char status;

    (void)out;
    TRY(pg_read_ready_for_query(body, &status));
    if (status != 'I')
        return fail(&pg_message_unexpected);
    if (!speaks_as_asked(l))
        return fail(&pg_login_encoding);
    l->state = LOGIN_DONE;
    return OK;
}

/* ---- The machine ---- */

static login_handler *const handlers[LOGIN_STATE_COUNT][EVENT_COUNT] = {
    [LOGIN_ASKED] =
        {
            [EVENT_AUTH_OK] = take_trust,
            [EVENT_AUTH_CLEARTEXT] = answer_cleartext,
            [EVENT_AUTH_SASL] = answer_sasl,
            [EVENT_AUTH_OTHER] = refuse_auth,
            [EVENT_ERROR] = take_error,
            [EVENT_NOTICE] = take_notice,
        },
    [LOGIN_SASL_FIRST] =
        {
            [EVENT_AUTH_SASL_CONTINUE] = answer_sasl_continue,
            [EVENT_ERROR] = take_error,
            [EVENT_NOTICE] = take_notice,
        },
    [LOGIN_SASL_FINAL] =
        {
            [EVENT_AUTH_SASL_FINAL] = check_sasl_final,
            [EVENT_ERROR] = take_error,
            [EVENT_NOTICE] = take_notice,
        },
    [LOGIN_ANSWERED] =
        {
            [EVENT_AUTH_OK] = take_auth_ok,
            [EVENT_ERROR] = take_error,
            [EVENT_NOTICE] = take_notice,
        },
    [LOGIN_SETTINGS] =
        {
            [EVENT_ERROR] = take_error,
            [EVENT_NOTICE] = take_notice,
            [EVENT_PARAMETER_STATUS] = take_parameter,
            [EVENT_KEY_DATA] = take_key,
            [EVENT_READY] = take_ready,
        },
};

static enum login_event authentication_event(uint32_t code)
{
    switch (code) {
    case PG_AUTH_OK:
        return EVENT_AUTH_OK;
    case PG_AUTH_CLEARTEXT:
        return EVENT_AUTH_CLEARTEXT;
    case PG_AUTH_SASL:
        return EVENT_AUTH_SASL;
    case PG_AUTH_SASL_CONTINUE:
        return EVENT_AUTH_SASL_CONTINUE;
    case PG_AUTH_SASL_FINAL:
        return EVENT_AUTH_SASL_FINAL;
    default:
        return EVENT_AUTH_OTHER;
    }
}

/* NegotiateProtocolVersion is unknown here: it answers a newer minor version or a _pq_ option
 * (chapter 55.2.1), and we send neither. */
static err classify(const struct pg_frame *frame, struct login_message *out)
{
    uint32_t code;

    *out = (struct login_message){EVENT_UNKNOWN, frame->body};
    switch (frame->type) {
    case PG_AUTHENTICATION:
        TRY(pg_read_authentication(frame->body, &code, &out->body));
        out->event = authentication_event(code);
        break;
    case PG_ERROR_RESPONSE:
        out->event = EVENT_ERROR;
        break;
    case PG_NOTICE_RESPONSE:
        out->event = EVENT_NOTICE;
        break;
    case PG_PARAMETER_STATUS:
        out->event = EVENT_PARAMETER_STATUS;
        break;
    case PG_BACKEND_KEY_DATA:
        out->event = EVENT_KEY_DATA;
        break;
    case PG_READY_FOR_QUERY:
        out->event = EVENT_READY;
        break;
    default:
        break;
    }
    return OK;
}

static err take_frame(struct pg_login *l, const struct pg_frame *frame, struct buf *out)
{
    struct login_message message;

    TRY(classify(frame, &message));
    login_handler *handler = handlers[l->state][message.event];
    if (handler == NULL)
        return fail(&pg_message_unexpected);
    TRY(handler(l, message.body, out));
    return buf_failed(out) ? fail(&fault_too_large) : OK;
}

static err take_frames(struct pg_login *l, struct view in, size_t *consumed, struct buf *out)
{
    struct pg_frame frame;
    bool complete;

    while (l->state != LOGIN_DONE) {
        TRY(pg_frame_next(view_from(in, *consumed), PG_LOGIN_MAX_MESSAGE_BYTES, &frame,
                          &complete));
        if (!complete)
            break;
        TRY(take_frame(l, &frame, out));
        *consumed += frame.size;
    }
    return OK;
}

err pg_login_feed(struct pg_login *l, struct view in, size_t *consumed, struct buf *out,
                  bool *done)
{
    *consumed = 0;
    *done = false;
    err e = l->state == LOGIN_FAILED || l->state == LOGIN_NEW ? fail(&pg_message_unexpected)
                                                              : take_frames(l, in, consumed, out);
    if (failed(e)) {
        l->state = LOGIN_FAILED;
        forget_secrets(l);
        return e;
    }
    *done = l->state == LOGIN_DONE;
    return OK;
}

/* ---- What was learned ---- */

uint32_t pg_login_pid(const struct pg_login *l)
{
    return l->pid;
}

uint32_t pg_login_key(const struct pg_login *l)
{
    return l->key;
}

struct view pg_login_parameter(const struct pg_login *l, struct view name)
{
    size_t at = find_parameter(l, name);

    return at < l->parameter_count ? l->parameters[at].value : (struct view){NULL, 0};
}

const struct pg_setting *pg_login_parameters(const struct pg_login *l, size_t *count)
{
    *count = l->parameter_count;
    return l->parameters;
}

const char *pg_login_method(const struct pg_login *l)
{
    return l->method;
}

const struct database_error *pg_login_error(const struct pg_login *l)
{
    return l->has_error ? &l->error : NULL;
}
