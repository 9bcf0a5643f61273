/*
 * HTTP/1.1, the server's side of the wire: a strict codec without IO (RFC 9110, RFC 9112).
 *
 * It refuses whatever two implementations might read differently (request smuggling), also where
 * the RFC allows leniency.  Every refusal is a fault with its own name and the status to answer;
 * after any of them the connection's framing is lost, so answer with `Connection: close` and close.
 *
 * Pure: no IO, no clock, no globals, no logging, no allocation but in the caller's buf.
 */
#ifndef SALLYPORT_HTTP_HTTP_H
#define SALLYPORT_HTTP_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/view.h"

struct http_header {
    struct view name;  /* as written; compare with view_eq_nocase */
    struct view value; /* without the blanks around it; may hold bytes 0x80-0xff */
};

struct http_limits {
    size_t max_request_line_bytes; /* with its CRLF; beyond: 414 */
    size_t max_head_bytes;         /* everything up to the empty line; beyond: 431 */
};

enum {
    HTTP_DEFAULT_REQUEST_LINE_BYTES = 8192,
    HTTP_DEFAULT_HEAD_BYTES = 32768,
};

/* A request's head.  Every view points into the input (or at static text), so it is valid as long
 * as those bytes stay where they are. */
struct http_request {
    struct view method;
    struct view target; /* as written */
    struct view path;   /* raw, percent-encoded; begins with '/'.  See uri.h */
    struct view query;  /* raw, without '?'; {NULL,0} without '?', {"",0} for an empty one */
    struct view host;   /* Host as written; {NULL,0} when a 1.0 request has none */
    int minor;          /* 0 or 1: HTTP/1.minor */
    const struct http_header *headers;
    size_t header_count;
    bool keep_alive;      /* the peer's wish; for 1.0 only when it said keep-alive */
    bool expect_continue; /* send HTTP_CONTINUE before reading the body */
    bool has_body;        /* chunked, or a Content-Length above 0 */
    bool chunked;
    uint64_t content_length; /* 0 when chunked or absent */
};

/* How far the end of a head was searched.  Zero it before each request. */
struct http_scan {
    size_t searched; /* bytes of the input already looked at */
    size_t line;     /* where the line being searched begins */
    bool past_request_line;
};

/*
 * Parses the head at the start of `in`.  *consumed == 0 with OK: incomplete; call again with the
 * same bytes and more (they may have moved), the same scan.  Bytes are searched once however they
 * trickle in, and parsed once when the head is complete.  Otherwise *consumed is the head's length
 * with its empty line; the body begins there.  headers has room for `capacity`; more is a 431.
 * limits NULL: the defaults.  What is accepted and what not does not depend on how it arrives.
 *
 * Decided: one empty line before the request line is skipped (RFC 9112 section 2.2).  The target is
 * origin-form, or absolute-form of http or https whose authority equals Host (3.2.2); authority and
 * asterisk form are refused.  The method is any token: the router judges it.
 */
err http_parse_head(struct http_scan *scan, struct view in, const struct http_limits *limits,
                    struct http_header *headers, size_t capacity, struct http_request *out,
                    size_t *consumed) MUST_USE;

/* The value of the first header of that name (any case), or {NULL,0}; and how many there are. */
struct view http_header(const struct http_request *request, const char *name);
size_t http_header_count(const struct http_request *request, const char *name);

/* Request line and headers: 400 where not said otherwise. */
extern const struct fault http_bare_lf;            /* a line end without CR */
extern const struct fault http_bare_cr;            /* a CR that is not a line end */
extern const struct fault http_bad_request_line;   /* not `method SP target SP version` */
extern const struct fault http_bad_method;         /* not a token */
extern const struct fault http_bad_target;         /* a byte that no target may hold */
extern const struct fault http_target_form;        /* authority, asterisk, another scheme */
extern const struct fault http_target_too_long;    /* 414 */
extern const struct fault http_version_unsupported; /* 505: not 1.0 or 1.1 */
extern const struct fault http_bad_header_name;    /* not a token, or no colon */
extern const struct fault http_space_before_colon; /* RFC 9112 section 5.1 */
extern const struct fault http_obs_fold;           /* RFC 9112 section 5.2 */
extern const struct fault http_bad_header_value;   /* a control character */
extern const struct fault http_head_too_large;     /* 431: bytes */
extern const struct fault http_too_many_headers;   /* 431: count */
extern const struct fault http_host_missing;
extern const struct fault http_host_duplicate;
extern const struct fault http_host_bad;      /* not host [ ":" port ] */
extern const struct fault http_host_mismatch; /* absolute-form for another authority */
/* Framing: 400 where not said otherwise. */
extern const struct fault http_content_length_bad;
extern const struct fault http_content_length_duplicate; /* equal ones too */
extern const struct fault http_length_and_encoding;      /* both framings at once */
extern const struct fault http_transfer_encoding_duplicate;
extern const struct fault http_transfer_encoding_old;         /* in HTTP/1.0 */
extern const struct fault http_transfer_encoding_unsupported; /* 501: not exactly chunked */
extern const struct fault http_expectation_failed;            /* 417: not 100-continue */
/* Body. */
extern const struct fault http_body_too_large; /* 413 */
extern const struct fault http_bad_chunk;
extern const struct fault http_bad_chunk_extension;
extern const struct fault http_bad_trailer;
/* Our own: a response that must not be written as asked.  500 */
extern const struct fault http_bad_response;

/* A body being decoded.  Opaque; no clean-up. */
struct http_body {
    int state;
    uint64_t remaining; /* of the body, or of the chunk */
    uint64_t room;      /* bytes that may still come */
    unsigned digits;    /* of the chunk size being read */
    size_t extension_bytes;
    size_t trailer_bytes;
};

/* http_body_too_large when the head already says more than max_bytes. */
err http_body_init(struct http_body *body, const struct http_request *request,
                   uint64_t max_bytes) MUST_USE;
/*
 * Decodes from `in`: appends to out, says in *consumed how many bytes were used, and in *done
 * whether the body ended (what follows is the next request).  Uses all of `in` unless done or
 * failed; ask buf_failed(out) too.  A request without a body is done at once with nothing used.
 * Chunk extensions and trailers are checked, bounded (4 KiB each, over the whole body), dropped.
 */
err http_body_feed(struct http_body *body, struct view in, size_t *consumed, struct buf *out,
                   bool *done) MUST_USE;

enum http_framing {
    HTTP_LENGTH,  /* Content-Length: content_length */
    HTTP_CHUNKED, /* Transfer-Encoding: chunked; not for a 1.0 client */
    HTTP_BARE,    /* neither: 1xx, 204, 304, or a body that the close ends */
};

enum http_connection {
    HTTP_CONNECTION_DEFAULT,    /* no header: keep-alive to a 1.1 client */
    HTTP_CONNECTION_CLOSE,      /* Connection: close */
    HTTP_CONNECTION_KEEP_ALIVE, /* Connection: keep-alive, for a 1.0 client */
};

/* Absent views write no header. */
struct http_response {
    int status; /* 100-599 */
    enum http_framing framing;
    uint64_t content_length;
    enum http_connection connection;
    struct view date; /* as http_format_date gives it */
    struct view content_type;
    const struct http_header *headers;
    size_t header_count;
};

/* Appends the head with its empty line, or fails and appends nothing: http_bad_response for a
 * status, name or value that would not be one header (CR, LF, NUL, other controls, a name that is
 * no token) or that is a framing header of ours given among `headers`.  Ask buf_failed(b) too. */
err http_add_response_head(struct buf *b, const struct http_response *response) MUST_USE;

/* One chunk of a chunked body; empty data appends nothing.  And the end, without trailers. */
void http_add_chunk(struct buf *b, struct view data);
void http_add_last_chunk(struct buf *b);
/* A chunk written in place: begin, append the data to b, end with what begin returned.  A chunk
 * left empty is taken back. */
size_t http_chunk_begin(struct buf *b);
void http_chunk_end(struct buf *b, size_t begin);

/* "Not Found"; "Unknown" for a status that has no phrase here. */
const char *http_status_phrase(int status);

enum { HTTP_DATE_BYTES = sizeof "Sun, 06 Nov 1994 08:49:37 GMT" };
/* IMF-fixdate (RFC 9110 section 5.6.7), NUL-terminated; years 0 to 9999. */
void http_format_date(int64_t wall_s, char out[HTTP_DATE_BYTES]);

/* The interim answer to expect_continue. */
#define HTTP_CONTINUE VIEW("HTTP/1.1 100 Continue\r\n\r\n")

#endif
