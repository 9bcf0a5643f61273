/*
 * The client's side of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677), sans IO.
 *
 *     scram_init, scram_first -> client-first-message; scram_continue: server-first-message in,
 *     client-final-message out; scram_finish: server-final-message in; scram_clear wipes.
 *
 * Internal to the room.  One thread at a time.
 */
#ifndef SALLYPORT_PG_SCRAM_H
#define SALLYPORT_PG_SCRAM_H

#include "base/buf.h"
#include "base/err.h"
#include "base/view.h"
#include "crypto/hash.h"

/* The GS2 flag (RFC 5802 section 6), which the proof covers, so that nobody between can turn
 * channel binding off unseen. */
enum scram_binding {
    SCRAM_BINDING_NONE,        /* n: we cannot */
    SCRAM_BINDING_NOT_OFFERED, /* y: we could, and the server's list had no -PLUS */
    SCRAM_BINDING_USED,        /* p=tls-server-end-point */
};

struct scram_options {
    struct view user; /* PostgreSQL reads it from the StartupMessage and wants it empty here */
    struct view nonce; /* absent: random */
    enum scram_binding binding;
    struct view channel_binding; /* with SCRAM_BINDING_USED */
};

struct scram {
    struct buf bare;          /* client-first-message-bare */
    struct buf channel;       /* base64 of the GS2 header and the channel binding data */
    const char *header;       /* the GS2 header */
    size_t nonce_at;          /* where in bare the client nonce starts */
    uint8_t signature[SHA256_BYTES]; /* what the server must answer */
};

/* Takes nothing of the options by reference.  fault_too_large when a buffer was too small. */
err scram_init(struct scram *s, const struct scram_options *options) MUST_USE;
void scram_clear(struct scram *s);

void scram_first(const struct scram *s, struct buf *out);
/* pg_scram_malformed, pg_scram_nonce, pg_scram_iterations. */
err scram_continue(struct scram *s, struct view server_first, struct view password,
                   struct buf *out) MUST_USE;
/* pg_scram_malformed, pg_scram_refused, pg_scram_signature. */
err scram_finish(const struct scram *s, struct view server_final) MUST_USE;

#endif
