#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "pg/pg.h"

#include <cmocka.h> /* last: its fail() would hide ours */

#define assert_fault(expression, row) assert_ptr_equal((expression).fault, &(row))
#define assert_ok(expression) assert_null((expression).fault)
#define assert_view(v, text) assert_true(view_is((v), (text)))

/* The buffer holds exactly the literal's bytes; empties it. */
#define assert_bytes(b, literal)                                                                   \
    do {                                                                                           \
        assert_false(buf_failed(b));                                                               \
        assert_int_equal((b)->len, sizeof(literal) - 1);                                           \
        assert_memory_equal((b)->data, literal, sizeof(literal) - 1);                              \
        buf_reset(b);                                                                              \
    } while (0)

/* The last message was not added, what stood before it is untouched; empties the buffer. */
#define assert_refused(b, before)                                                                  \
    do {                                                                                           \
        assert_true(buf_failed(b));                                                                \
        assert_int_equal((b)->len, (before));                                                      \
        buf_reset(b);                                                                              \
    } while (0)

static struct arena arena;
static struct buf out;

static int set_up(void **state)
{
    (void)state;
    arena_init(&arena, 1024, 64 * 1024);
    buf_init(&out, 256 * 1024 + 64);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_clear(&arena);
    buf_clear(&out);
    return 0;
}

/* ---- Frames ---- */

static void a_frame_is_complete_with_its_last_byte(void **state)
{
    static const char bytes[] = "Z\0\0\0\5I1";
    struct pg_frame f;
    bool complete;

    (void)state;
    for (size_t n = 0; n < 6; n++) {
        assert_ok(pg_frame_next(view_of(bytes, n), 100, &f, &complete));
        assert_false(complete);
        assert_int_equal(f.size, n < 5 ? 0 : 6);
    }
    assert_ok(pg_frame_next(view_of(bytes, 7), 100, &f, &complete));
    assert_true(complete);
    assert_int_equal(f.type, PG_READY_FOR_QUERY);
    assert_int_equal(f.size, 6);
    assert_view(f.body, "I");
}

static void a_frame_may_be_empty(void **state)
{
    struct pg_frame f;
    bool complete;

    (void)state;
    assert_ok(pg_frame_next(VIEW("1\0\0\0\4"), 5, &f, &complete));
    assert_true(complete);
    assert_int_equal(f.body.len, 0);
    assert_int_equal(f.size, 5);
}

static void a_frame_is_refused_by_its_header_alone(void **state)
{
    struct pg_frame f;
    bool complete;

    (void)state;
    assert_fault(pg_frame_next(VIEW("D\0\0\0\3"), 100, &f, &complete), pg_message_malformed);
    assert_fault(pg_frame_next(VIEW("D\0\0\0\0"), 100, &f, &complete), pg_message_malformed);
    assert_ok(pg_frame_next(VIEW("D\0\0\0\x63"), 100, &f, &complete));
    assert_fault(pg_frame_next(VIEW("D\0\0\0\x64"), 100, &f, &complete), pg_message_too_large);
    assert_fault(pg_frame_next(VIEW("D\xff\xff\xff\xff"), SIZE_MAX, &f, &complete),
                 pg_message_too_large);
    assert_fault(pg_frame_next(VIEW("D\x3f\xff\xff\xff"), SIZE_MAX, &f, &complete),
                 pg_message_too_large);
    assert_ok(pg_frame_next(VIEW("D\x3f\xff\xff\xfe"), SIZE_MAX, &f, &complete));
    /* A web server on the database's port. */
    assert_fault(pg_frame_next(VIEW("HTTP/1.1 400 Bad Request"), 1 << 20, &f, &complete),
                 pg_message_too_large);
}

static void nothing_may_stand_behind_the_answer_to_ssl_request(void **state)
{
    bool complete;

    (void)state;
    assert_ok(pg_read_ssl_answer(VIEW(""), &complete));
    assert_false(complete);
    assert_ok(pg_read_ssl_answer(VIEW("S"), &complete));
    assert_true(complete);
    assert_fault(pg_read_ssl_answer(VIEW("SE"), &complete), pg_bytes_before_tls);
    assert_fault(pg_read_ssl_answer(VIEW("N"), &complete), pg_tls_refused);
    assert_fault(pg_read_ssl_answer(VIEW("E\0\0\0\4"), &complete), pg_tls_refused);
}

/* ---- What we write ---- */

/* The bytes were recorded from libpq 15.20 where it writes the message too. */
static void messages_have_libpq_s_bytes(void **state)
{
    static const struct pg_setting settings[] = {
        {VIEW("user"), VIEW("trusted")},
        {VIEW("database"), VIEW("postgres")},
        {VIEW("application_name"), VIEW("cap")},
        {VIEW("client_encoding"), VIEW("UTF8")},
    };
    static const uint32_t oids[] = {20, 25};

    (void)state;
    pg_add_startup(&out, settings, 4);
    assert_bytes(&out, "\0\0\0\x52\0\3\0\0user\0trusted\0database\0postgres\0"
                       "application_name\0cap\0client_encoding\0UTF8\0\0");
    pg_add_parse(&out, VIEW("s1"), VIEW("select $1 as a, $2 as b"), oids, 2);
    pg_add_sync(&out);
    assert_bytes(&out, "P\0\0\0)s1\0select $1 as a, $2 as b\0\0\2\0\0\0\x14\0\0\0\x19S\0\0\0\4");
    pg_add_describe(&out, PG_PORTAL, VIEW(""));
    pg_add_execute(&out, VIEW(""), 0);
    assert_bytes(&out, "D\0\0\0\6P\0E\0\0\0\x09\0\0\0\0\0");
    pg_add_describe(&out, PG_STATEMENT, VIEW("s1"));
    assert_bytes(&out, "D\0\0\0\x08Ss1\0");
    pg_add_query(&out, VIEW("select 1/0"));
    assert_bytes(&out, "Q\0\0\0\x0fselect 1/0\0");
    pg_add_terminate(&out);
    assert_bytes(&out, "X\0\0\0\4");
}

/* Derived by hand from chapter 55.7. */
static void messages_have_the_documented_bytes(void **state)
{
    static const struct view parameters[] = {VIEW("42"), {NULL, 0}, VIEW("")};

    (void)state;
    pg_add_ssl_request(&out);
    assert_bytes(&out, "\0\0\0\x08\x04\xd2\x16\x2f");
    pg_add_cancel(&out, 12, 0x40c88641);
    assert_bytes(&out, "\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x0c\x40\xc8\x86\x41");
    pg_add_bind(&out, VIEW("p"), VIEW("s1"), parameters, 3);
    assert_bytes(&out, "B\0\0\0\x1d"
                       "p\0s1\0\0\0\0\3\0\0\0\2"
                       "42\xff\xff\xff\xff\0\0\0\0\0\0");
    pg_add_execute(&out, VIEW("p"), 500);
    assert_bytes(&out, "E\0\0\0\x0ap\0\0\0\1\xf4");
    pg_add_close(&out, PG_STATEMENT, VIEW("s1"));
    assert_bytes(&out, "C\0\0\0\x08Ss1\0");
    pg_add_flush(&out);
    assert_bytes(&out, "H\0\0\0\4");
    pg_add_password(&out, VIEW("secret"));
    assert_bytes(&out, "p\0\0\0\x0bsecret\0");
    pg_add_sasl_initial(&out, VIEW("M"), VIEW("n,,x"));
    assert_bytes(&out, "p\0\0\0\x0eM\0\0\0\0\4n,,x");
    pg_add_sasl_response(&out, VIEW("c=x"));
    assert_bytes(&out, "p\0\0\0\7c=x");
}

static void text_with_a_nul_is_never_written(void **state)
{
    static const struct pg_setting nul_value = {VIEW("user"), VIEW("a\0b")};
    static const struct pg_setting nul_name = {VIEW("us\0er"), VIEW("a")};
    static const struct pg_setting no_name = {VIEW(""), VIEW("a")};

    (void)state;
    pg_add_sync(&out);
    pg_add_parse(&out, VIEW(""), VIEW("select 1\0; drop"), NULL, 0);
    assert_refused(&out, 5);
    pg_add_parse(&out, VIEW("s\0"), VIEW("select 1"), NULL, 0);
    assert_refused(&out, 0);
    pg_add_bind(&out, VIEW(""), VIEW("s\0t"), NULL, 0);
    assert_refused(&out, 0);
    pg_add_close(&out, PG_STATEMENT, VIEW("\0"));
    assert_refused(&out, 0);
    pg_add_password(&out, VIEW("pass\0word"));
    assert_refused(&out, 0);
    pg_add_startup(&out, &nul_value, 1);
    assert_refused(&out, 0);
    pg_add_startup(&out, &nul_name, 1);
    assert_refused(&out, 0);
    pg_add_startup(&out, &no_name, 1);
    assert_refused(&out, 0);
}

/* CVE-2024-27304.  The views' bytes are never touched: the lengths alone refuse them. */
static void a_length_never_wraps(void **state)
{
    static const size_t lengths[] = {PG_MAX_MESSAGE_LENGTH, UINT32_MAX, (size_t)UINT32_MAX + 6,
                                     SIZE_MAX};
    struct buf large;

    (void)state;
    buf_init(&large, SIZE_MAX);
    for (size_t i = 0; i < COUNT_OF(lengths); i++) {
        struct view parameters[] = {VIEW("x"), view_of("", lengths[i])};
        pg_add_bind(&large, VIEW(""), VIEW(""), parameters, 2);
        assert_refused(&large, 0);
        pg_add_sasl_initial(&large, VIEW("M"), parameters[1]);
        assert_refused(&large, 0);
        pg_add_sasl_response(&large, parameters[1]);
        assert_refused(&large, 0);
    }
    buf_clear(&large);
}

static void counts_stop_at_the_protocol_s(void **state)
{
    static struct view parameters[PG_MAX_PARAMETERS + 1];
    static uint32_t oids[PG_MAX_PARAMETERS + 1];

    (void)state;
    pg_add_bind(&out, VIEW(""), VIEW(""), parameters, PG_MAX_PARAMETERS);
    assert_false(buf_failed(&out));
    assert_int_equal(out.len, 5 + 2 + 4 + PG_MAX_PARAMETERS * 4 + 2);
    assert_memory_equal(out.data + 7, "\0\0\xff\xff\xff\xff\xff\xff", 8);
    buf_reset(&out);
    pg_add_bind(&out, VIEW(""), VIEW(""), parameters, PG_MAX_PARAMETERS + 1);
    assert_refused(&out, 0);
    pg_add_parse(&out, VIEW(""), VIEW(""), oids, PG_MAX_PARAMETERS);
    assert_false(buf_failed(&out));
    buf_reset(&out);
    pg_add_parse(&out, VIEW(""), VIEW(""), oids, PG_MAX_PARAMETERS + 1);
    assert_refused(&out, 0);
    pg_add_execute(&out, VIEW(""), (uint32_t)INT32_MAX + 1);
    assert_refused(&out, 0);
}

static void a_startup_stops_at_the_server_s_size(void **state)
{
    static char text[PG_MAX_STARTUP_BYTES];
    /* 4 length, 4 version, "user", NUL, value, NUL, NUL */
    size_t room = PG_MAX_STARTUP_BYTES - 4 - 4 - 5 - 1 - 1;
    struct pg_setting s = {VIEW("user"), {text, room}};

    (void)state;
    memset(text, 'x', sizeof text);
    pg_add_startup(&out, &s, 1);
    assert_false(buf_failed(&out));
    assert_int_equal(out.len, PG_MAX_STARTUP_BYTES);
    buf_reset(&out);
    s.value.len++;
    pg_add_startup(&out, &s, 1);
    assert_refused(&out, 0);
}

static void a_full_buffer_keeps_whole_messages_only(void **state)
{
    (void)state;
    for (size_t max = 0; max < 23; max++) {
        struct buf small;
        buf_init(&small, max);
        pg_add_sync(&small);
        pg_add_describe(&small, PG_PORTAL, VIEW("portal name"));
        assert_true(buf_failed(&small));
        assert_int_equal(small.len, max < 5 ? 0 : 5);
        buf_clear(&small);
    }
}

/* ---- What we read ---- */

/* Recorded from PostgreSQL 15.20: select e'x\ny' as t, null::int, '' */
#define ROW_DESCRIPTION                                                                            \
    "\0\3t\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0"                                    \
    "int4\0\0\0\0\0\0\0\0\0\0\x17\0\4\xff\xff\xff\xff\0\0"                                         \
    "?column?\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0"
#define DATA_ROW "\0\3\0\0\0\3x\ny\xff\xff\xff\xff\0\0\0\0"

static void a_row_description_is_read(void **state)
{
    const struct pg_field *f;
    size_t count;

    (void)state;
    assert_ok(pg_read_row_description(VIEW(ROW_DESCRIPTION), &arena, &f, &count));
    assert_int_equal(count, 3);
    assert_view(f[0].name, "t");
    assert_int_equal(f[0].type_oid, 25);
    assert_int_equal(f[0].type_size, -1);
    assert_int_equal(f[0].type_modifier, -1);
    assert_view(f[1].name, "int4");
    assert_int_equal(f[1].type_oid, 23);
    assert_int_equal(f[1].type_size, 4);
    assert_view(f[2].name, "?column?");
    assert_ok(pg_read_row_description(
        VIEW("\0\1id\0\0\0\x40\1\0\2\0\0\6\xa4\xff\xff\0\x0a\0\6\0\0"), &arena, &f, &count));
    assert_int_equal(f[0].table_oid, 0x4001);
    assert_int_equal(f[0].attribute, 2);
    assert_int_equal(f[0].type_oid, 1700);
    assert_int_equal(f[0].type_modifier, 0xa0006);
    assert_int_equal(f[0].format, 0);
    assert_ok(pg_read_row_description(VIEW("\0\0"), &arena, &f, &count));
    assert_int_equal(count, 0);
}

static void a_hostile_row_description_is_refused(void **state)
{
    static const char whole[] = ROW_DESCRIPTION;
    const struct pg_field *f;
    size_t count;
    struct arena small;

    (void)state;
    for (size_t n = 0; n < sizeof whole - 1; n++)
        assert_fault(pg_read_row_description(view_of(whole, n), &arena, &f, &count),
                     pg_message_malformed);
    /* one byte too many; a negative count; a count that the body cannot hold */
    assert_fault(pg_read_row_description(view_of(whole, sizeof whole), &arena, &f, &count),
                 pg_message_malformed);
    assert_fault(pg_read_row_description(VIEW("\xff\xff"), &arena, &f, &count),
                 pg_message_malformed);
    assert_fault(pg_read_row_description(VIEW("\6\x80xxxxxxxxxxxxxxxxxxxxxx"), &arena, &f, &count),
                 pg_message_malformed);
    /* a format that is neither text nor binary */
    assert_fault(pg_read_row_description(VIEW("\0\1a\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff"
                                              "\xff\0\2"),
                                         &arena, &f, &count),
                 pg_message_malformed);
    /* a name without its end: 19 bytes, none of them zero */
    assert_fault(pg_read_row_description(VIEW("\0\1aaaaaaaaaaaaaaaaaaaaaaaa"), &arena, &f, &count),
                 pg_message_malformed);
    arena_init(&small, 64, 64);
    assert_fault(pg_read_row_description(VIEW(ROW_DESCRIPTION), &small, &f, &count),
                 fault_too_large);
    arena_clear(&small);
}

static void more_columns_than_the_server_can_have_are_refused(void **state)
{
    static char body[2 + (PG_MAX_COLUMNS + 1) * 19];
    const struct pg_field *f;
    struct arena large;
    size_t count;

    (void)state;
    arena_init(&large, 4096, 1 << 20);
    body[0] = (char)(PG_MAX_COLUMNS >> 8);
    body[1] = (char)(PG_MAX_COLUMNS & 255);
    assert_ok(pg_read_row_description(view_of(body, sizeof body - 19), &large, &f, &count));
    assert_int_equal(count, PG_MAX_COLUMNS);
    body[1]++;
    assert_fault(pg_read_row_description(view_of(body, sizeof body), &large, &f, &count),
                 pg_message_malformed);
    arena_clear(&large);
}

static void a_data_row_tells_null_from_empty(void **state)
{
    struct view v[3];

    (void)state;
    assert_ok(pg_read_data_row(VIEW(DATA_ROW), v, 3));
    assert_view(v[0], "x\ny");
    assert_null(v[1].data);
    assert_int_equal(v[1].len, 0);
    assert_non_null(v[2].data);
    assert_int_equal(v[2].len, 0);
    assert_ok(pg_read_data_row(VIEW("\0\0"), v, 0));
}

static void a_hostile_data_row_is_refused(void **state)
{
    static const char whole[] = DATA_ROW;
    static const struct view hostile[] = {
        VIEW("\0\3\0\0\0\3xyz\xff\xff\xff\xff\xff\xff\xff\xfe"), /* CVE-2026-4427: length -2 */
        VIEW("\0\3\x80\0\0\0xyz\xff\xff\xff\xff\0\0\0\0"),
        VIEW("\0\3\x7f\xff\xff\xffxyz\xff\xff\xff\xff\0\0\0\0"),
        VIEW("\xff\xff\0\0\0\3xyz\xff\xff\xff\xff\0\0\0\0"), /* count -1 */
        VIEW("\0\2\0\0\0\3xyz\xff\xff\xff\xff"),             /* fewer than described */
        VIEW("\0\4\0\0\0\3xyz\xff\xff\xff\xff\0\0\0\0\0\0\0\0"),
        VIEW(DATA_ROW "x"),
    };
    struct view v[3];

    (void)state;
    for (size_t n = 0; n < sizeof whole - 1; n++)
        assert_fault(pg_read_data_row(view_of(whole, n), v, 3), pg_message_malformed);
    for (size_t i = 0; i < COUNT_OF(hostile); i++)
        assert_fault(pg_read_data_row(hostile[i], v, 3), pg_message_malformed);
}

static void a_command_tag_is_read(void **state)
{
    static const struct {
        struct view body;
        const char *command;
        uint64_t rows;
    } cases[] = {
        {VIEW("SELECT 1\0"), "SELECT", 1},
        {VIEW("INSERT 0 5\0"), "INSERT", 5},
        {VIEW("UPDATE 0\0"), "UPDATE", 0},
        {VIEW("MERGE 18446744073709551615\0"), "MERGE", UINT64_MAX},
        {VIEW("CREATE TABLE\0"), "CREATE TABLE", 0},
        {VIEW("BEGIN\0"), "BEGIN", 0},
        {VIEW("5\0"), "5", 0},
    };
    struct completion c;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_ok(pg_read_command_complete(cases[i].body, &c));
        assert_view(c.command, cases[i].command);
        assert_int_equal(c.rows, cases[i].rows);
    }
    assert_fault(pg_read_command_complete(VIEW(""), &c), pg_message_malformed);
    assert_fault(pg_read_command_complete(VIEW("\0"), &c), pg_message_malformed);
    assert_fault(pg_read_command_complete(VIEW("SELECT 1"), &c), pg_message_malformed);
    assert_fault(pg_read_command_complete(VIEW("SELECT 1\0\0"), &c), pg_message_malformed);
    assert_fault(pg_read_command_complete(VIEW("SELECT 18446744073709551616\0"), &c),
                 pg_message_malformed);
}

static void an_error_is_read(void **state)
{
    struct database_error e, copy;
    bool fatal = true;

    (void)state;
    /* Recorded from PostgreSQL 15.20, with detail, hint and position put in. */
    assert_ok(pg_read_error(VIEW("SERROR\0VERROR\0C22012\0Mdivision by zero\0Ddetail\0Hhint\0P8\0"
                                 "Fint.c\0L869\0Rint4div\0\0"),
                            &e, &fatal));
    assert_string_equal(e.sqlstate, "22012");
    assert_view(e.message, "division by zero");
    assert_view(e.detail, "detail");
    assert_view(e.hint, "hint");
    assert_int_equal(e.position, 8);
    assert_false(fatal);
    assert_ok(pg_read_error(VIEW("SFATAL\0VFATAL\0C28P01\0Mno\0\0"), &e, &fatal));
    assert_true(fatal);
    assert_null(e.hint.data);
    copy = pg_copy_error(&arena, &e);
    assert_string_equal(copy.sqlstate, "28P01");
    assert_view(copy.message, "no");
    assert_ptr_not_equal(copy.message.data, e.message.data);
    assert_null(copy.hint.data);
}

/* CVE-2026-6666: a server, or something that plays one, leaves fields out. */
static void an_error_without_its_fields_is_still_an_error(void **state)
{
    static const struct view odd[] = {
        VIEW("\0"),           VIEW("Mx\0\0"),         VIEW("C\0\0"),
        VIEW("C2201\0\0"),    VIEW("C220123\0\0"),    VIEW("C22\"12\0\0"),
        VIEW("Cabcde\0\0"),   VIEW("P-1\0\0"),        VIEW("P4294967296\0\0"),
        VIEW("VERROR\0?x\0\0"),
    };
    struct database_error e;
    bool fatal;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(odd); i++) {
        assert_ok(pg_read_error(odd[i], &e, &fatal));
        assert_string_equal(e.sqlstate, "XX000");
        assert_int_equal(e.position, 0);
        assert_false(fatal);
    }
    assert_fault(pg_read_error(VIEW(""), &e, NULL), pg_message_malformed);
    assert_fault(pg_read_error(VIEW("Mx\0"), &e, NULL), pg_message_malformed);
    assert_fault(pg_read_error(VIEW("Mx"), &e, NULL), pg_message_malformed);
    assert_fault(pg_read_error(VIEW("M"), &e, NULL), pg_message_malformed);
    assert_fault(pg_read_error(VIEW("Mx\0\0\0"), &e, NULL), pg_message_malformed);
}

static void small_messages_are_read(void **state)
{
    struct pg_setting s;
    uint32_t pid, key, minor, unknown;
    const uint32_t *oids;
    size_t count;
    char status;

    (void)state;
    assert_ok(pg_read_parameter_status(VIEW("TimeZone\0Etc/UTC\0"), &s));
    assert_view(s.name, "TimeZone");
    assert_view(s.value, "Etc/UTC");
    assert_ok(pg_read_backend_key_data(VIEW("\0\0\0\x0c\x40\xc8\x86\x41"), &pid, &key));
    assert_int_equal(pid, 12);
    assert_int_equal(key, 0x40c88641);
    for (const char *c = "ITE"; *c != '\0'; c++) {
        assert_ok(pg_read_ready_for_query(view_of(c, 1), &status));
        assert_int_equal(status, *c);
    }
    assert_ok(pg_read_parameter_description(VIEW("\0\2\0\0\0\x14\0\0\0\x19"), &arena, &oids,
                                            &count));
    assert_int_equal(count, 2);
    assert_int_equal(oids[0], 20);
    assert_int_equal(oids[1], 25);
    assert_ok(pg_read_negotiate_protocol_version(VIEW("\0\0\0\2\0\0\0\1_pq_.x\0"), &minor,
                                                 &unknown));
    assert_int_equal(minor, 2);
    assert_int_equal(unknown, 1);
    assert_ok(pg_read_empty(VIEW("")));
}

static void small_messages_out_of_shape_are_refused(void **state)
{
    struct pg_setting s;
    uint32_t pid, key;
    const uint32_t *oids;
    size_t count;
    char status;

    (void)state;
    assert_fault(pg_read_parameter_status(VIEW("a\0b"), &s), pg_message_malformed);
    assert_fault(pg_read_parameter_status(VIEW("a\0"), &s), pg_message_malformed);
    assert_fault(pg_read_parameter_status(VIEW("\0b\0"), &s), pg_message_malformed);
    assert_fault(pg_read_parameter_status(VIEW("a\0b\0c"), &s), pg_message_malformed);
    assert_fault(pg_read_backend_key_data(VIEW("\0\0\0\1\0\0\0"), &pid, &key),
                 pg_message_malformed);
    assert_fault(pg_read_backend_key_data(VIEW("\0\0\0\1\0\0\0\1\0"), &pid, &key),
                 pg_message_malformed);
    assert_fault(pg_read_ready_for_query(VIEW("X"), &status), pg_message_malformed);
    assert_fault(pg_read_ready_for_query(VIEW("\0"), &status), pg_message_malformed);
    assert_fault(pg_read_ready_for_query(VIEW(""), &status), pg_message_malformed);
    assert_fault(pg_read_ready_for_query(VIEW("II"), &status), pg_message_malformed);
    assert_fault(pg_read_parameter_description(VIEW("\0\2\0\0\0\1"), &arena, &oids, &count),
                 pg_message_malformed);
    assert_fault(pg_read_parameter_description(VIEW("\xff\xff\0\0\0\1"), &arena, &oids, &count),
                 pg_message_malformed);
    assert_fault(pg_read_parameter_description(VIEW("\0\0\0"), &arena, &oids, &count),
                 pg_message_malformed);
    assert_fault(pg_read_negotiate_protocol_version(VIEW("\0\0\0\0\xff\xff\xff\xff"), &pid, &key),
                 pg_message_malformed);
    assert_fault(pg_read_negotiate_protocol_version(VIEW("\0\0\0\0\0\0\0\0x"), &pid, &key),
                 pg_message_malformed);
    assert_fault(pg_read_empty(VIEW("x")), pg_message_malformed);
}

static void an_authentication_request_is_read(void **state)
{
    uint32_t code;
    struct view data, name;

    (void)state;
    assert_ok(pg_read_authentication(VIEW("\0\0\0\0"), &code, &data));
    assert_int_equal(code, PG_AUTH_OK);
    assert_ok(pg_read_authentication(VIEW("\0\0\0\5salt"), &code, &data));
    assert_int_equal(code, PG_AUTH_MD5);
    assert_view(data, "salt");
    assert_ok(pg_read_authentication(VIEW("\0\0\0\x0a"
                                          "SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"),
                                     &code, &data));
    assert_int_equal(code, PG_AUTH_SASL);
    assert_ok(pg_read_sasl_mechanism(&data, &name));
    assert_view(name, "SCRAM-SHA-256-PLUS");
    assert_ok(pg_read_sasl_mechanism(&data, &name));
    assert_view(name, "SCRAM-SHA-256");
    assert_ok(pg_read_sasl_mechanism(&data, &name));
    assert_null(name.data);
    assert_fault(pg_read_authentication(VIEW("\0\0\0"), &code, &data), pg_message_malformed);
    assert_fault(pg_read_authentication(VIEW("\0\0\0\0x"), &code, &data), pg_message_malformed);
    assert_fault(pg_read_authentication(VIEW("\0\0\0\3x"), &code, &data), pg_message_malformed);
    data = VIEW("SCRAM");
    assert_fault(pg_read_sasl_mechanism(&data, &name), pg_message_malformed);
    data = VIEW("\0x");
    assert_fault(pg_read_sasl_mechanism(&data, &name), pg_message_malformed);
    data = VIEW("");
    assert_fault(pg_read_sasl_mechanism(&data, &name), pg_message_malformed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_is_complete_with_its_last_byte),
        cmocka_unit_test(a_frame_may_be_empty),
        cmocka_unit_test(a_frame_is_refused_by_its_header_alone),
        cmocka_unit_test(nothing_may_stand_behind_the_answer_to_ssl_request),
        cmocka_unit_test(messages_have_libpq_s_bytes),
        cmocka_unit_test(messages_have_the_documented_bytes),
        cmocka_unit_test(text_with_a_nul_is_never_written),
        cmocka_unit_test(a_length_never_wraps),
        cmocka_unit_test(counts_stop_at_the_protocol_s),
        cmocka_unit_test(a_startup_stops_at_the_server_s_size),
        cmocka_unit_test(a_full_buffer_keeps_whole_messages_only),
        cmocka_unit_test(a_row_description_is_read),
        cmocka_unit_test(a_hostile_row_description_is_refused),
        cmocka_unit_test(more_columns_than_the_server_can_have_are_refused),
        cmocka_unit_test(a_data_row_tells_null_from_empty),
        cmocka_unit_test(a_hostile_data_row_is_refused),
        cmocka_unit_test(a_command_tag_is_read),
        cmocka_unit_test(an_error_is_read),
        cmocka_unit_test(an_error_without_its_fields_is_still_an_error),
        cmocka_unit_test(small_messages_are_read),
        cmocka_unit_test(small_messages_out_of_shape_are_refused),
        cmocka_unit_test(an_authentication_request_is_read),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
