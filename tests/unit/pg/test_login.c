#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "pg/login.h"
#include "pg/scram.h"

#include <cmocka.h> /* last: its fail() would hide ours */

#define assert_fault(expression, row) assert_ptr_equal((expression).fault, &(row))
#define assert_ok(expression) assert_null((expression).fault)
#define assert_view(v, text) assert_true(view_is((v), (text)))

/* Messages of the server.  A length is one byte here: none is longer than 255. */
#define MESSAGE(type, length, body) type "\0\0\0" length body
#define AUTH_OK MESSAGE("R", "\x08", "\0\0\0\0")
#define AUTH_CLEARTEXT MESSAGE("R", "\x08", "\0\0\0\3")
#define AUTH_MD5 MESSAGE("R", "\x0c", "\0\0\0\5salt")
#define AUTH_SCRAM MESSAGE("R", "\x17", "\0\0\0\x0a" "SCRAM-SHA-256\0\0")
#define AUTH_SCRAM_PLUS MESSAGE("R", "\x2a", "\0\0\0\x0a" "SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0")
#define AUTH_PLUS_ONLY MESSAGE("R", "\x1c", "\0\0\0\x0a" "SCRAM-SHA-256-PLUS\0\0")
#define AUTH_OAUTH MESSAGE("R", "\x15", "\0\0\0\x0a" "OAUTHBEARER\0\0")
#define PARAMETER_ENCODING MESSAGE("S", "\x19", "client_encoding\0UTF8\0")
#define PARAMETER_HOT MESSAGE("S", "\x17", "in_hot_standby\0off\0")
#define KEY MESSAGE("K", "\x0c", "\0\0\0\x2a\x12\x34\x56\x78")
#define READY MESSAGE("Z", "\5", "I")
#define NOTICE MESSAGE("N", "\x11", "SNOTICE\0Mhi\0\0")
#define REFUSED MESSAGE("E", "\x1e", "SFATAL\0VFATAL\0C28P01\0Mno\0\0")
#define SETTINGS_DONE PARAMETER_ENCODING PARAMETER_HOT KEY READY

/* Computed with Python's hashlib for the password "pencil" and the salt 00 01 … 0f: an oracle that
 * shares no code with us. */
#define SERVER_FIRST "r=clientnonceSERVERnonce,s=AAECAwQFBgcICQoLDA0ODw==,i=4096"
#define FINAL_N "c=biws,r=clientnonceSERVERnonce,p=Ete1DYz03ZlsyEFfmSQe5cNBZmqLuNDxh1JUamMnFdA="
#define VERIFIER_N "v=6pKNiJka8qJi8QP1vWylwX+6wBCf5EnuQw935jcznPQ="
#define FINAL_Y "c=eSws,r=clientnonceSERVERnonce,p=jWuQd4OzQFXh48GTmGHXBkX+wCcxF8jQ88kGtm2tPPY="
#define VERIFIER_Y "v=5LjETvZ3M/F+DW4AZnOvFs1IC5RVCvgAew7MFHnOItk="
#define FINAL_P                                                                                    \
    "c=cD10bHMtc2VydmVyLWVuZC1wb2ludCwsAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=,"              \
    "r=clientnonceSERVERnonce,p=O9plrmuQyDk+rNXne6XADJk5rBDr22QBRKFEwd98MI4="
#define VERIFIER_P "v=0R4exxNLjf6jjyjD27HtPYNZUCguZBSAeOP5kB3SFoE="

static struct buf out;
static struct buf in;

static int set_up(void **state)
{
    (void)state;
    buf_init(&out, 64 * 1024);
    buf_init(&in, 256 * 1024);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    buf_clear(&out);
    buf_clear(&in);
    return 0;
}

static struct pg_login_options usual(void)
{
    return (struct pg_login_options){
        .user = VIEW("app"),
        .database = VIEW("shop"),
        .password = VIEW("pencil"),
        .nonce = VIEW("clientnonce"),
    };
}

/* A login whose StartupMessage is out of the way. */
static struct pg_login *begin(const struct pg_login_options *options)
{
    struct pg_login *l = pg_login_new(options);

    assert_non_null(l);
    buf_reset(&out);
    assert_ok(pg_login_start(l, &out));
    buf_reset(&out);
    return l;
}

static err feed(struct pg_login *l, struct view bytes, bool *done)
{
    size_t consumed;
    err e = pg_login_feed(l, bytes, &consumed, &out, done);

    if (!failed(e))
        assert_int_equal(consumed, bytes.len);
    return e;
}

/* An Authentication message of any length. */
static struct view authentication(uint32_t code, const char *data)
{
    buf_reset(&in);
    buf_add_char(&in, 'R');
    buf_add_be32(&in, (uint32_t)(8 + strlen(data)));
    buf_add_be32(&in, code);
    buf_add_str(&in, data);
    return buf_view(&in);
}

/* The fault of the first thing that the server says. */
static void answers(const struct pg_login_options *options, struct view first,
                    const struct fault *expected)
{
    struct pg_login *l = begin(options);
    bool done;

    assert_ptr_equal(feed(l, first, &done).fault, expected);
    assert_false(done);
    if (expected != NULL)
        assert_ptr_equal(feed(l, VIEW(AUTH_OK), &done).fault, &pg_message_unexpected);
    pg_login_free(l);
}

/* ---- SCRAM alone ---- */

static void scram_follows_rfc_7677_section_3(void **state)
{
    struct scram_options options = {.user = VIEW("user"), .nonce = VIEW("rOprNGfwEbeRWgbNEkqO")};
    struct scram s;

    (void)state;
    buf_reset(&out);
    assert_ok(scram_init(&s, &options));
    scram_first(&s, &out);
    assert_view(buf_view(&out), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
    buf_reset(&out);
    assert_ok(scram_continue(&s,
                             VIEW("r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
                                  "s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"),
                             VIEW("pencil"), &out));
    assert_view(buf_view(&out), "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
                                "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
    assert_ok(scram_finish(&s, VIEW("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")));
    assert_fault(scram_finish(&s, VIEW("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5=")),
                 pg_scram_malformed); /* bits beyond the last byte */
    assert_fault(scram_finish(&s, VIEW("v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")),
                 pg_scram_signature);
    scram_clear(&s);
}

static void scram_escapes_the_name_and_invents_nonces(void **state)
{
    struct scram_options options = {.user = VIEW("a,b=c")};
    struct scram one, two;

    (void)state;
    buf_reset(&out);
    assert_ok(scram_init(&one, &options));
    assert_ok(scram_init(&two, &options));
    scram_first(&one, &out);
    assert_true(view_starts_with(buf_view(&out), VIEW("n,,n=a=2Cb=3Dc,r=")));
    assert_int_equal(out.len, sizeof "n,,n=a=2Cb=3Dc,r=" - 1 + 24);
    assert_false(view_eq(buf_view(&one.bare), buf_view(&two.bare)));
    scram_clear(&one);
    scram_clear(&two);
}

static void a_hostile_server_first_is_refused(void **state)
{
    static const struct {
        struct view text;
        const struct fault *fault;
    } cases[] = {
        {VIEW(""), &pg_scram_malformed},
        {VIEW("r=clientnonceX"), &pg_scram_malformed},
        {VIEW("r=clientnonceX,s=AAEC"), &pg_scram_malformed},
        {VIEW("s=AAEC,r=clientnonceX,i=4096"), &pg_scram_malformed},
        {VIEW("m=x,r=clientnonceX,s=AAEC,i=4096"), &pg_scram_malformed},
        {VIEW("r=clientnonceX,s=AAEC,i=4096,x=1"), &pg_scram_malformed},
        {VIEW("r=clientnonceX,s=AAEC,i=4096,"), &pg_scram_malformed},
        {VIEW("r=,s=AAEC,i=4096"), &pg_scram_malformed},
        {VIEW("r=client\0nonce,s=AAEC,i=4096"), &pg_scram_malformed},
        {VIEW("r=clientnonce\xff,s=AAEC,i=4096"), &pg_scram_malformed},
        {VIEW("r=clientnonceX,s=,i=4096"), &pg_scram_malformed},
        {VIEW("r=clientnonceX,s=AAE,i=4096"), &pg_scram_malformed},
        {VIEW("r=clientnonceX,s=AAF=,i=4096"), &pg_scram_malformed},
        {VIEW("r=clientnonceX,s=A A=,i=4096"), &pg_scram_malformed},
        {VIEW("r=clientnonceX,s=AAEC,i="), &pg_scram_malformed},
        {VIEW("r=clientnonceX,s=AAEC,i=-1"), &pg_scram_malformed},
        {VIEW("r=clientnonceX,s=AAEC,i=4096x"), &pg_scram_malformed},
        {VIEW("r=clientnonceX,s=AAEC,i=04096"), &pg_scram_malformed},
        {VIEW("r=clientnonceX,s=AAEC,i=0"), &pg_scram_iterations},
        {VIEW("r=clientnonceX,s=AAEC,i=1000001"), &pg_scram_iterations},
        {VIEW("r=clientnonceX,s=AAEC,i=4294967297"), &pg_scram_iterations},
        {VIEW("r=clientnonce,s=AAEC,i=4096"), &pg_scram_nonce}, /* nothing of the server's */
        {VIEW("r=clientnoncf,s=AAEC,i=4096"), &pg_scram_nonce},
        {VIEW("r=clientnonc,s=AAEC,i=4096"), &pg_scram_nonce},
        {VIEW("r=Xclientnonce,s=AAEC,i=4096"), &pg_scram_nonce},
    };
    struct scram_options options = {.user = VIEW(""), .nonce = VIEW("clientnonce")};
    struct scram s;

    (void)state;
    assert_ok(scram_init(&s, &options));
    buf_reset(&out);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        err e = scram_continue(&s, cases[i].text, VIEW("pencil"), &out);
        assert_ptr_equal(e.fault, cases[i].fault);
        assert_int_equal(out.len, 0);
    }
    scram_clear(&s);
}

/* CVE-2026-6664, CVE-2026-6665: texts of the server as long as one message may be. */
static void a_huge_server_first_breaks_nothing(void **state)
{
    struct scram_options options = {.user = VIEW(""), .nonce = VIEW("clientnonce")};
    struct scram s;
    struct buf text;

    (void)state;
    buf_init(&text, 64 * 1024);
    assert_ok(scram_init(&s, &options));
    buf_reset(&out);
    buf_add_str(&text, "r=clientnonce");
    while (text.len < PG_LOGIN_MAX_MESSAGE_BYTES - 50)
        buf_add_char(&text, 'x');
    buf_add_str(&text, ",s=AAEC,i=1");
    assert_ok(scram_continue(&s, buf_view(&text), VIEW("pencil"), &out));
    assert_true(out.len > PG_LOGIN_MAX_MESSAGE_BYTES - 50);
    buf_reset(&text);
    buf_reset(&out);
    buf_add_str(&text, "r=clientnonceX,s=");
    while (text.len < 30000)
        buf_add_str(&text, "AAEC");
    buf_add_str(&text, ",i=1");
    assert_fault(scram_continue(&s, buf_view(&text), VIEW("pencil"), &out), pg_scram_malformed);
    scram_clear(&s);
    buf_clear(&text);
}

static void a_hostile_server_final_is_refused(void **state)
{
    static const struct {
        struct view text;
        const struct fault *fault;
    } cases[] = {
        {VIEW(""), &pg_scram_malformed},
        {VIEW("v="), &pg_scram_malformed},
        {VIEW("v=AAEC"), &pg_scram_malformed},
        {VIEW("x=6pKNiJka8qJi8QP1vWylwX+6wBCf5EnuQw935jcznPQ="), &pg_scram_malformed},
        {VIEW(VERIFIER_N ",x=1"), &pg_scram_malformed},
        {VIEW(VERIFIER_N "\n"), &pg_scram_malformed},
        {VIEW("v=6pKNiJka8qJi8QP1vWylwX+6wBCf5EnuQw935jcznPQ=AAAA"), &pg_scram_malformed},
        {VIEW("v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="), &pg_scram_signature},
        {VIEW(VERIFIER_Y), &pg_scram_signature},
        {VIEW("e=invalid-proof"), &pg_scram_refused},
        {VIEW(VERIFIER_N), NULL},
    };
    struct scram_options options = {.user = VIEW(""), .nonce = VIEW("clientnonce")};
    struct scram s;

    (void)state;
    assert_ok(scram_init(&s, &options));
    buf_reset(&out);
    assert_ok(scram_continue(&s, VIEW(SERVER_FIRST), VIEW("pencil"), &out));
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_ptr_equal(scram_finish(&s, cases[i].text).fault, cases[i].fault);
    scram_clear(&s);
}

/* ---- The login ---- */

static void the_startup_says_who_and_how(void **state)
{
    static const struct pg_setting settings[] = {{VIEW("application_name"), VIEW("sallyport")}};
    struct pg_login_options options = usual();
    struct pg_login *l;

    (void)state;
    options.settings = settings;
    options.setting_count = 1;
    l = pg_login_new(&options);
    buf_reset(&out);
    assert_ok(pg_login_start(l, &out));
    assert_true(view_eq(buf_view(&out),
                        VIEW("\0\0\0\x5e\0\3\0\0user\0app\0database\0shop\0client_encoding\0UTF8\0"
                             "DateStyle\0ISO\0application_name\0sallyport\0\0")));
    assert_int_equal(out.len, 0x5e);
    pg_login_free(l);
    pg_login_free(NULL);
}

static void options_that_cannot_be_are_refused(void **state)
{
    static const struct pg_setting own[] = {
        {VIEW("user"), VIEW("root")},          {VIEW("database"), VIEW("x")},
        {VIEW("Client_Encoding"), VIEW("x")},  {VIEW("datestyle"), VIEW("x")},
        {VIEW(""), VIEW("x")},                 {VIEW("a\0user"), VIEW("x")},
        {VIEW("a"), VIEW("x\0user\0root")},
    };
    static const char long_binding[65];
    struct pg_login_options options = usual();

    (void)state;
    options.setting_count = 1;
    for (size_t i = 0; i < COUNT_OF(own); i++) {
        options.settings = &own[i];
        assert_null(pg_login_new(&options));
    }
    options = usual();
    options.user = VIEW("");
    assert_null(pg_login_new(&options));
    options.user = VIEW("a\0b");
    assert_null(pg_login_new(&options));
    options = usual();
    options.password = VIEW("a\0b");
    assert_null(pg_login_new(&options));
    options = usual();
    options.require_channel_binding = true;
    assert_null(pg_login_new(&options));
    options.channel_binding = view_of(long_binding, sizeof long_binding);
    assert_null(pg_login_new(&options));
}

static void cleartext_logs_in_when_allowed(void **state)
{
    struct pg_login_options options = usual();
    struct pg_login *l;
    bool done;

    (void)state;
    options.allow_cleartext = true;
    l = begin(&options);
    assert_null(pg_login_method(l));
    assert_ok(feed(l, VIEW(NOTICE AUTH_CLEARTEXT), &done));
    assert_false(done);
    assert_true(view_eq(buf_view(&out), VIEW("p\0\0\0\x0bpencil\0")));
    buf_reset(&out);
    assert_ok(feed(l, VIEW(AUTH_OK NOTICE SETTINGS_DONE), &done));
    assert_true(done);
    assert_int_equal(out.len, 0);
    assert_string_equal(pg_login_method(l), "cleartext");
    assert_int_equal(pg_login_pid(l), 42);
    assert_int_equal(pg_login_key(l), 0x12345678);
    assert_view(pg_login_parameter(l, VIEW("in_hot_standby")), "off");
    assert_null(pg_login_parameter(l, VIEW("server_version")).data);
    assert_null(pg_login_error(l));
    pg_login_free(l);
}

static void a_token_of_any_length_is_sent_whole(void **state)
{
    static char token[5000];
    struct pg_login_options options = usual();
    struct pg_login *l;
    bool done;

    (void)state;
    memset(token, 't', sizeof token);
    options.password = view_of(token, sizeof token);
    options.allow_cleartext = true;
    l = begin(&options);
    assert_ok(feed(l, VIEW(AUTH_CLEARTEXT), &done));
    assert_int_equal(out.len, 1 + 4 + sizeof token + 1);
    assert_memory_equal(out.data, "p\0\0\x13\x8dttt", 8);
    pg_login_free(l);
}

struct scram_login {
    struct view binding;
    const char *request;
    size_t request_len;
    const char *mechanism;
    const char *first;
    const char *final;
    const char *verifier;
    const char *method;
};

#define REQUEST(literal) literal, sizeof(literal) - 1

static void log_in_by_scram(const struct scram_login *c)
{
    struct pg_login_options options = usual();
    struct pg_login *l;
    struct buf expected;
    bool done;

    options.channel_binding = c->binding;
    l = begin(&options);
    assert_ok(feed(l, view_of(c->request, c->request_len), &done));
    buf_init(&expected, 4096);
    pg_add_sasl_initial(&expected, view_str(c->mechanism), view_str(c->first));
    assert_true(view_eq(buf_view(&out), buf_view(&expected)));
    buf_reset(&out);
    buf_reset(&expected);
    assert_ok(feed(l, authentication(PG_AUTH_SASL_CONTINUE, SERVER_FIRST), &done));
    pg_add_sasl_response(&expected, view_str(c->final));
    assert_true(view_eq(buf_view(&out), buf_view(&expected)));
    buf_reset(&out);
    assert_ok(feed(l, authentication(PG_AUTH_SASL_FINAL, c->verifier), &done));
    assert_ok(feed(l, VIEW(AUTH_OK SETTINGS_DONE), &done));
    assert_true(done);
    assert_int_equal(out.len, 0);
    assert_string_equal(pg_login_method(l), c->method);
    buf_clear(&expected);
    pg_login_free(l);
}

/* RFC 5802 section 6: the flag says what we could have done, so that an offer of -PLUS that was
 * cut out on the way makes the server refuse. */
static void scram_binds_to_the_channel_as_it_can(void **state)
{
    static const char binding[] = "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"
                                  "\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e"
                                  "\x1f";
    const struct scram_login cases[] = {
        {{NULL, 0}, REQUEST(AUTH_SCRAM), "SCRAM-SHA-256", "n,,n=,r=clientnonce", FINAL_N,
         VERIFIER_N, "scram-sha-256"},
        {{NULL, 0}, REQUEST(AUTH_SCRAM_PLUS), "SCRAM-SHA-256", "n,,n=,r=clientnonce", FINAL_N,
         VERIFIER_N, "scram-sha-256"},
        {{binding, 32}, REQUEST(AUTH_SCRAM), "SCRAM-SHA-256", "y,,n=,r=clientnonce", FINAL_Y,
         VERIFIER_Y, "scram-sha-256"},
        {{binding, 32}, REQUEST(AUTH_SCRAM_PLUS), "SCRAM-SHA-256-PLUS",
         "p=tls-server-end-point,,n=,r=clientnonce", FINAL_P, VERIFIER_P, "scram-sha-256-plus"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        log_in_by_scram(&cases[i]);
}

static void what_we_do_not_answer_is_refused(void **state)
{
    struct pg_login_options options = usual();

    (void)state;
    answers(&options, VIEW(AUTH_CLEARTEXT), &pg_cleartext_refused);
    answers(&options, VIEW(AUTH_MD5), &pg_auth_unsupported);
    answers(&options, VIEW(AUTH_OAUTH), &pg_auth_unsupported);
    answers(&options, VIEW(AUTH_PLUS_ONLY), &pg_auth_unsupported);
    answers(&options, VIEW(MESSAGE("R", "\x08", "\0\0\0\7")), &pg_auth_unsupported);
    answers(&options, VIEW(MESSAGE("R", "\x08", "\xff\xff\xff\xff")), &pg_auth_unsupported);
    answers(&options, VIEW(AUTH_OK), &pg_trust_refused);
    answers(&options, VIEW(MESSAGE("R", "\x0b", "\0\0\0\x0axyz")), &pg_message_malformed);
    options.password = (struct view){NULL, 0};
    answers(&options, VIEW(AUTH_SCRAM), &pg_password_missing);
    options.allow_cleartext = true;
    answers(&options, VIEW(AUTH_CLEARTEXT), &pg_password_missing);
    options.allow_trust = true;
    answers(&options, VIEW(AUTH_OK), NULL);
}

static void required_channel_binding_takes_nothing_less(void **state)
{
    struct pg_login_options options = usual();

    (void)state;
    options.channel_binding = VIEW("0123456789abcdef0123456789abcdef");
    options.require_channel_binding = true;
    options.allow_cleartext = true;
    options.allow_trust = true;
    answers(&options, VIEW(AUTH_SCRAM), &pg_channel_binding_missing);
    answers(&options, VIEW(AUTH_CLEARTEXT), &pg_channel_binding_missing);
    answers(&options, VIEW(AUTH_OK), &pg_channel_binding_missing);
    answers(&options, VIEW(AUTH_SCRAM_PLUS), NULL);
    answers(&options, VIEW(AUTH_PLUS_ONLY), NULL);
}

/* CVE-2012-4575 was such a one: every message in each state before the login is done. */
static void messages_out_of_turn_are_refused(void **state)
{
    static const struct view early[] = {
        VIEW(PARAMETER_HOT), VIEW(KEY), VIEW(READY), VIEW("1\0\0\0\4"), VIEW("T\0\0\0\6\0\0"),
        VIEW("D\0\0\0\6\0\0"), VIEW("v\0\0\0\x0c\0\0\0\0\0\0\0\0"), VIEW("A\0\0\0\4"),
        VIEW("R\0\0\0\x08\0\0\0\x0b"), VIEW("R\0\0\0\x08\0\0\0\x0c"), VIEW("\0\0\0\0\4"),
    };
    struct pg_login_options options = usual();
    bool done;

    (void)state;
    options.allow_cleartext = true;
    for (size_t i = 0; i < COUNT_OF(early); i++) {
        answers(&options, early[i], &pg_message_unexpected);
        struct pg_login *l = begin(&options);
        assert_ok(feed(l, VIEW(AUTH_SCRAM), &done));
        if (i != 8) { /* AuthenticationSASLContinue is due there, though not an empty one */
            assert_fault(feed(l, early[i], &done), pg_message_unexpected);
        } else {
            assert_fault(feed(l, early[i], &done), pg_scram_malformed);
        }
        pg_login_free(l);
        l = begin(&options);
        assert_ok(feed(l, VIEW(AUTH_CLEARTEXT), &done));
        assert_fault(feed(l, early[i], &done), pg_message_unexpected);
        pg_login_free(l);
    }
}

/* The server must prove that it knows the password before anything else is believed. */
static void a_server_that_skips_its_proof_is_refused(void **state)
{
    struct pg_login_options options = usual();
    struct pg_login *l;
    bool done;

    (void)state;
    options.allow_trust = true;
    l = begin(&options);
    assert_ok(feed(l, VIEW(AUTH_SCRAM), &done));
    assert_fault(feed(l, VIEW(AUTH_OK), &done), pg_message_unexpected);
    pg_login_free(l);

    l = begin(&options);
    assert_ok(feed(l, VIEW(AUTH_SCRAM), &done));
    assert_ok(feed(l, authentication(PG_AUTH_SASL_CONTINUE, SERVER_FIRST), &done));
    assert_fault(feed(l, VIEW(AUTH_OK), &done), pg_message_unexpected);
    pg_login_free(l);

    l = begin(&options);
    assert_ok(feed(l, VIEW(AUTH_SCRAM), &done));
    assert_ok(feed(l, authentication(PG_AUTH_SASL_CONTINUE, SERVER_FIRST), &done));
    assert_fault(feed(l, authentication(PG_AUTH_SASL_FINAL, VERIFIER_Y), &done),
                 pg_scram_signature);
    pg_login_free(l);

    l = begin(&options);
    assert_ok(feed(l, VIEW(AUTH_SCRAM), &done));
    assert_fault(feed(l, authentication(PG_AUTH_SASL_CONTINUE, "r=other,s=AAEC,i=1"), &done),
                 pg_scram_nonce);
    pg_login_free(l);

    l = begin(&options);
    assert_ok(feed(l, VIEW(AUTH_SCRAM), &done));
    assert_fault(feed(l, VIEW(AUTH_SCRAM), &done), pg_message_unexpected);
    pg_login_free(l);
}

static void a_refusal_carries_what_the_server_said(void **state)
{
    struct pg_login_options options = usual();
    struct pg_login *l = begin(&options);
    char bytes[] = REFUSED;
    bool done;

    (void)state;
    assert_fault(feed(l, view_of(bytes, sizeof bytes - 1), &done), pg_login_refused);
    memset(bytes, 'x', sizeof bytes); /* the error lives on its own */
    assert_string_equal(pg_login_error(l)->sqlstate, "28P01");
    assert_view(pg_login_error(l)->message, "no");
    pg_login_free(l);
    /* in every later state too */
    l = begin(&options);
    assert_ok(feed(l, VIEW(AUTH_SCRAM), &done));
    assert_fault(feed(l, VIEW(REFUSED), &done), pg_login_refused);
    pg_login_free(l);
    options.allow_trust = true;
    l = begin(&options);
    assert_ok(feed(l, VIEW(AUTH_OK), &done));
    assert_fault(feed(l, VIEW("E\0\0\0\5\0"), &done), pg_login_refused);
    assert_string_equal(pg_login_error(l)->sqlstate, "XX000");
    pg_login_free(l);
}

static void settings_are_held_to_their_bounds(void **state)
{
    struct pg_login_options options = usual();
    struct pg_login *l;
    size_t count;
    bool done;

    (void)state;
    options.allow_trust = true;
    l = begin(&options);
    assert_ok(feed(l, VIEW(AUTH_OK KEY), &done));
    assert_fault(feed(l, VIEW(KEY), &done), pg_message_unexpected);
    pg_login_free(l);

    answers(&options, VIEW(AUTH_OK "Z\0\0\0\5T"), &pg_message_unexpected);
    answers(&options, VIEW(AUTH_OK "Z\0\0\0\5X"), &pg_message_malformed);
    answers(&options, VIEW(AUTH_OK "K\0\0\0\x08\0\0\0\1"), &pg_message_malformed);
    answers(&options, VIEW("R\0\0\x80\0"), &pg_message_too_large);
    answers(&options, VIEW("R\0\0\0\3"), &pg_message_malformed);
    answers(&options, VIEW(AUTH_OK "S\0\0\0\x1b" "client_encoding\0LATIN1\0" READY),
            &pg_login_encoding);
    answers(&options, VIEW(AUTH_OK "S\0\0\0\x1c" "DateStyle\0Postgres, MDY\0" READY),
            &pg_login_encoding);

    l = begin(&options);
    assert_ok(feed(l, VIEW(AUTH_OK), &done));
    for (char i = 0; i < PG_LOGIN_MAX_PARAMETERS; i++) {
        char parameter[] = "S\0\0\0\x08?\0v";
        parameter[5] = (char)(i + 1);
        assert_ok(feed(l, view_of(parameter, sizeof parameter), &done));
    }
    assert_ok(feed(l, VIEW("S\0\0\0\x08\1\0w\0"), &done)); /* a known name again */
    assert_view(pg_login_parameter(l, VIEW("\1")), "w");
    (void)pg_login_parameters(l, &count);
    assert_int_equal(count, PG_LOGIN_MAX_PARAMETERS);
    assert_fault(feed(l, VIEW(PARAMETER_HOT), &done), fault_too_large);
    pg_login_free(l);
}

static void bytes_may_come_one_by_one(void **state)
{
    static const char bytes[] = AUTH_CLEARTEXT AUTH_OK SETTINGS_DONE "behind";
    struct pg_login_options options = usual();
    struct pg_login *l;
    struct view left = {bytes, 0};
    size_t consumed, end = sizeof bytes - 1 - 6;
    bool done = false;

    (void)state;
    options.allow_cleartext = true;
    l = begin(&options);
    for (size_t i = 0; i < end; i++) {
        assert_false(done);
        left.len++;
        assert_ok(pg_login_feed(l, left, &consumed, &out, &done));
        left = view_from(left, consumed);
    }
    assert_true(done);
    assert_int_equal(left.len, 0);
    assert_true(view_eq(buf_view(&out), VIEW("p\0\0\0\x0bpencil\0")));
    pg_login_free(l);

    l = begin(&options);
    assert_ok(pg_login_feed(l, view_of(bytes, sizeof bytes - 1), &consumed, &out, &done));
    assert_true(done);
    assert_int_equal(consumed, end);
    pg_login_free(l);
}

static void a_buffer_too_small_is_said(void **state)
{
    struct pg_login_options options = usual();
    struct pg_login *l = pg_login_new(&options);
    struct buf small;
    size_t consumed;
    bool done;

    (void)state;
    buf_init(&small, 20);
    assert_fault(pg_login_start(l, &small), fault_too_large);
    assert_fault(pg_login_feed(l, VIEW(AUTH_SCRAM), &consumed, &small, &done),
                 pg_message_unexpected);
    pg_login_free(l);
    buf_reset(&small);
    l = begin(&options);
    assert_fault(pg_login_feed(l, VIEW(AUTH_SCRAM), &consumed, &small, &done), fault_too_large);
    pg_login_free(l);
    buf_clear(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scram_follows_rfc_7677_section_3),
        cmocka_unit_test(scram_escapes_the_name_and_invents_nonces),
        cmocka_unit_test(a_hostile_server_first_is_refused),
        cmocka_unit_test(a_huge_server_first_breaks_nothing),
        cmocka_unit_test(a_hostile_server_final_is_refused),
        cmocka_unit_test(the_startup_says_who_and_how),
        cmocka_unit_test(options_that_cannot_be_are_refused),
        cmocka_unit_test(cleartext_logs_in_when_allowed),
        cmocka_unit_test(a_token_of_any_length_is_sent_whole),
        cmocka_unit_test(scram_binds_to_the_channel_as_it_can),
        cmocka_unit_test(what_we_do_not_answer_is_refused),
        cmocka_unit_test(required_channel_binding_takes_nothing_less),
        cmocka_unit_test(messages_out_of_turn_are_refused),
        cmocka_unit_test(a_server_that_skips_its_proof_is_refused),
        cmocka_unit_test(a_refusal_carries_what_the_server_said),
        cmocka_unit_test(settings_are_held_to_their_bounds),
        cmocka_unit_test(bytes_may_come_one_by_one),
        cmocka_unit_test(a_buffer_too_small_is_said),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
