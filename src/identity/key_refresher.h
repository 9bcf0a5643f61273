/*
 * Keeps the issuers' keys fresh: discovery, JWKS, or a file; at start, in the background before
 * they grow old, and soon after a token named a key that is not there.
 *
 * Sans-IO: it asks the fetcher, and its owner (the control thread) calls tick when the time that
 * the last tick gave has come, and also whenever `wake` was called.  All functions on that thread.
 *
 * Per issuer: one fetch in flight.  After success the next is due after Cache-Control's max-age
 * within [60 s, jwks_refresh_s], less up to a tenth by chance; after failure 1 s, 2 s, 4 s … up to
 * 60 s, with jitter, and the old keys keep serving.  A token with an unknown kid brings the next
 * fetch forward, not sooner than 30 s after the last one began, however many such tokens come.  A
 * jwks_file is looked at every 2 s and read when its time, size or inode changed.
 */
#ifndef SALLYPORT_IDENTITY_KEY_REFRESHER_H
#define SALLYPORT_IDENTITY_KEY_REFRESHER_H

#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/fetch.h"
#include "identity/identity.h"

enum {
    KEY_FETCH_TIMEOUT_MS = 5000,
    KEY_COOLDOWN_MS = 30 * 1000,
    KEY_REFRESH_MIN_S = 60,
    KEY_BACKOFF_FIRST_MS = 1000,
    KEY_BACKOFF_MAX_MS = 60 * 1000,
    KEY_FILE_LOOK_MS = 2000,
};

struct key_refresher;

struct key_refresher_options {
    struct fetcher *fetcher; /* must outlive every fetch it was asked for */
    /* "call tick soon": from the refresher's own thread when a fetch ended, and from any worker
     * when a token named an unknown key.  Must be thread-safe (uv_async_send) and must not call
     * back.  Valid until no thread uses an identity that the refresher was given.  May be NULL. */
    void (*wake)(void *arg);
    void *wake_arg;
};

err key_refresher_new(const struct key_refresher_options *options,
                      struct key_refresher **out) MUST_USE;
/* Fetches still in flight end without effect. */
void key_refresher_free(struct key_refresher *r);

/* From now on looks after this identity's issuers (takes a reference; gives back the former's).
 * Call tick afterwards. */
void key_refresher_set_identity(struct key_refresher *r, struct identity *id);

/* Does what is due at now_ms (monotonic; any origin, never going back) and returns when to call
 * again at the latest; INT64_MAX: not before `wake`. */
int64_t key_refresher_tick(struct key_refresher *r, int64_t now_ms);

extern const struct fault key_fetch_status;    /* an answer other than 200 */
extern const struct fault key_url_refused;     /* the issuer or jwks_uri is not https */
extern const struct fault key_file_unreadable;

#endif
