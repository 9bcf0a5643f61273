/*
 * The PostgreSQL frontend/backend protocol 3.0, sans IO: bytes in, messages out, and back
 * (PostgreSQL 15 documentation, chapter 55 "Frontend/Backend Protocol").
 *
 * pg_add_* write one message to a buffer, pg_read_* read one message's body.  A reader proves that
 * the whole body was consumed and fails with pg_message_malformed otherwise; nothing in its output
 * may then be used.  Views in outputs point into the input and live as long as it does, unless the
 * function takes an arena: then everything is copied there.
 *
 * No IO, no clock, no globals, no logging: any thread, one at a time per object.
 */
#ifndef SALLYPORT_PG_PG_H
#define SALLYPORT_PG_PG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/cell.h"
#include "base/err.h"
#include "base/view.h"

/* Of the codec.  After any of them the connection is to be closed: the two sides no longer agree
 * on where a message begins. */
extern const struct fault pg_message_malformed;  /* not the shape that chapter 55.7 gives it */
extern const struct fault pg_message_too_large;  /* its header announces more than the maximum */
extern const struct fault pg_message_unexpected; /* well formed, but not at this time */
extern const struct fault pg_tls_refused;        /* the answer to SSLRequest was not 'S' */
extern const struct fault pg_bytes_before_tls;   /* bytes behind the 'S' (CVE-2021-23222) */

/* Message types: chapter 55.7.  One letter may mean two things, by direction. */
enum pg_backend_message {
    PG_AUTHENTICATION = 'R',
    PG_BACKEND_KEY_DATA = 'K',
    PG_BIND_COMPLETE = '2',
    PG_CLOSE_COMPLETE = '3',
    PG_COMMAND_COMPLETE = 'C',
    PG_COPY_BOTH_RESPONSE = 'W',
    PG_COPY_DATA = 'd', /* both directions */
    PG_COPY_DONE = 'c', /* both directions */
    PG_COPY_IN_RESPONSE = 'G',
    PG_COPY_OUT_RESPONSE = 'H',
    PG_DATA_ROW = 'D',
    PG_EMPTY_QUERY_RESPONSE = 'I',
    PG_ERROR_RESPONSE = 'E',
    PG_FUNCTION_CALL_RESPONSE = 'V',
    PG_NEGOTIATE_PROTOCOL_VERSION = 'v',
    PG_NO_DATA = 'n',
    PG_NOTICE_RESPONSE = 'N',
    PG_NOTIFICATION_RESPONSE = 'A',
    PG_PARAMETER_DESCRIPTION = 't',
    PG_PARAMETER_STATUS = 'S',
    PG_PARSE_COMPLETE = '1',
    PG_PORTAL_SUSPENDED = 's',
    PG_READY_FOR_QUERY = 'Z',
    PG_ROW_DESCRIPTION = 'T',
};

enum pg_frontend_message {
    PG_BIND = 'B',
    PG_CLOSE = 'C',
    PG_COPY_FAIL = 'f',
    PG_DESCRIBE = 'D',
    PG_EXECUTE = 'E',
    PG_FLUSH = 'H',
    PG_PARSE = 'P',
    PG_PASSWORD = 'p', /* PasswordMessage, SASLInitialResponse, SASLResponse */
    PG_QUERY = 'Q',
    PG_SYNC = 'S',
    PG_TERMINATE = 'X',
};

enum {
    PG_PROTOCOL_3_0 = 196608,      /* 3 << 16 */
    PG_CANCEL_CODE = 80877102,     /* 1234 << 16 | 5678 */
    PG_SSL_CODE = 80877103,        /* 1234 << 16 | 5679 */
    PG_MAX_STARTUP_BYTES = 10000,  /* the server's MAX_STARTUP_PACKET_LENGTH */
    PG_MAX_PARAMETERS = 65535,     /* an Int16 count, read unsigned */
    PG_MAX_COLUMNS = 1664,         /* the server's MaxTupleAttributeNumber */
    /* The length field of one message, at most: the server's PQ_LARGE_MESSAGE_LIMIT.  Stops a
     * length that wraps at 32 bits and splits one message into several (CVE-2024-27304). */
    PG_MAX_MESSAGE_LENGTH = 0x3ffffffe,
};

/* ---- Frames, either direction (all but the messages without a type that open a connection) ---- */

struct pg_frame {
    char type;
    struct view body; /* without type and length */
    size_t size;      /* bytes of the whole message on the wire */
};

/*
 * The message at the front of `in`.  With *complete false more bytes are needed; out->size is then
 * already the whole message's size when the header (5 bytes) is there, else 0.  A message whose
 * size exceeds max_bytes fails with pg_message_too_large as soon as its header is there, so that
 * nobody allocates what a peer merely announces; a length below 4 is pg_message_malformed.
 */
err pg_frame_next(struct view in, size_t max_bytes, struct pg_frame *out, bool *complete) MUST_USE;

/*
 * The one byte that answers SSLRequest (chapter 55.2.10): give all that was received so far.
 * *complete false: nothing yet.  OK with *complete: begin the TLS handshake.  'N' or an error
 * message is pg_tls_refused; a byte behind the 'S' is pg_bytes_before_tls, since it came in clear
 * and would be read as if it had come over TLS.
 */
err pg_read_ssl_answer(struct view in, bool *complete) MUST_USE;

/* ---- Frontend messages ---- */

/* A start-up parameter, or a ParameterStatus. */
struct pg_setting {
    struct view name;
    struct view value;
};

/* What Describe and Close speak of. */
enum pg_target { PG_STATEMENT = 'S', PG_PORTAL = 'P' };

/*
 * Each adds one whole message, or none and marks the buffer failed: when the buffer is full, a
 * name or text holds a NUL byte, a count is beyond the protocol's, or the message is longer than
 * PG_MAX_MESSAGE_LENGTH.  Names may be empty: the unnamed statement or portal.
 */
void pg_add_ssl_request(struct buf *b);
/* Protocol 3.0; an empty name fails (it would end the list).  At most PG_MAX_STARTUP_BYTES. */
void pg_add_startup(struct buf *b, const struct pg_setting *settings, size_t count);
void pg_add_password(struct buf *b, struct view password);
void pg_add_sasl_initial(struct buf *b, struct view mechanism, struct view data);
void pg_add_sasl_response(struct buf *b, struct view data);
void pg_add_query(struct buf *b, struct view sql);
/* oids may be fewer than the statement's parameters; 0 leaves a type to the server. */
void pg_add_parse(struct buf *b, struct view name, struct view sql, const uint32_t *oids,
                  size_t count);
/* Parameters in text format, one with data == NULL is SQL NULL; every result column as text. */
void pg_add_bind(struct buf *b, struct view portal, struct view statement,
                 const struct view *parameters, size_t count);
void pg_add_describe(struct buf *b, enum pg_target target, struct view name);
/* max_rows 0: all; more than INT32_MAX fails. */
void pg_add_execute(struct buf *b, struct view portal, uint32_t max_rows);
void pg_add_close(struct buf *b, enum pg_target target, struct view name);
void pg_add_flush(struct buf *b);
void pg_add_sync(struct buf *b);
void pg_add_terminate(struct buf *b);
/* On a connection of its own (chapter 55.2.8). */
void pg_add_cancel(struct buf *b, uint32_t pid, uint32_t key);

/* ---- Backend messages: `body` is a frame's ---- */

struct pg_field {
    struct view name;
    uint32_t table_oid; /* 0: not a table's column */
    int16_t attribute;  /* its number in the table; 0 likewise */
    uint32_t type_oid;
    int16_t type_size; /* negative: variable */
    int32_t type_modifier;
    uint16_t format; /* 0 text, 1 binary; 0 in the answer to Describe of a statement */
};

/* Fields and names are copied into the arena (a description outlives its message in a
 * statement cache).  fault_too_large when the arena is full. */
err pg_read_row_description(struct view body, struct arena *arena, const struct pg_field **fields,
                            size_t *count) MUST_USE;
/* Exactly `count` values, the number of the described fields; SQL NULL has data == NULL, and an
 * empty value has not.  Any other number in the message is pg_message_malformed. */
err pg_read_data_row(struct view body, struct view *values, size_t count) MUST_USE;
/* "INSERT 0 5": command INSERT, rows 5; "CREATE TABLE": rows 0. */
err pg_read_command_complete(struct view body, struct completion *out) MUST_USE;
/*
 * ErrorResponse and NoticeResponse (chapter 55.8).  A missing or odd SQLSTATE is "XX000", a missing
 * text {NULL, 0}; unknown fields are skipped.  fatal (may be NULL): severity FATAL or PANIC, after
 * which the server closes the connection.  Texts come in client_encoding, but before the login is
 * done in whatever the server likes: they need not be UTF-8.
 */
err pg_read_error(struct view body, struct database_error *out, bool *fatal) MUST_USE;
/* A deep copy whose texts live in the arena; texts for which there is no room become absent. */
struct database_error pg_copy_error(struct arena *arena, const struct database_error *error);
err pg_read_parameter_status(struct view body, struct pg_setting *out) MUST_USE;
err pg_read_backend_key_data(struct view body, uint32_t *pid, uint32_t *key) MUST_USE;
/* *status is 'I' idle, 'T' in a transaction, 'E' in a failed one; nothing else. */
err pg_read_ready_for_query(struct view body, char *status) MUST_USE;
err pg_read_parameter_description(struct view body, struct arena *arena, const uint32_t **oids,
                                  size_t *count) MUST_USE;
/* The newest minor version that the server speaks, and how many options it did not know. */
err pg_read_negotiate_protocol_version(struct view body, uint32_t *minor,
                                       uint32_t *unknown_options) MUST_USE;
/* ParseComplete, BindComplete, CloseComplete, NoData, EmptyQueryResponse, PortalSuspended. */
err pg_read_empty(struct view body) MUST_USE;

/* Authentication requests (chapter 55.7, "AuthenticationOk" and the following). */
enum pg_authentication {
    PG_AUTH_OK = 0,
    PG_AUTH_CLEARTEXT = 3,
    PG_AUTH_MD5 = 5,
    PG_AUTH_SASL = 10,
    PG_AUTH_SASL_CONTINUE = 11,
    PG_AUTH_SASL_FINAL = 12,
};

/* *code is any number the server sent; *data what follows it.  OK and cleartext have no data. */
err pg_read_authentication(struct view body, uint32_t *code, struct view *data) MUST_USE;
/* AuthenticationSASL's list: the next mechanism's name, {NULL, 0} at its end.  Start with *rest
 * as pg_read_authentication gave it. */
err pg_read_sasl_mechanism(struct view *rest, struct view *name) MUST_USE;

#endif
