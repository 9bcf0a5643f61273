/*
 * The secrets of Secrets Manager that a configuration refers to: read once, refreshed in the
 * background ahead of their ttl, and held while reads fail.  No request ever waits here.
 *
 *   WANTED -> READING -> HELD -> READING -> HELD …     a refresh: the value goes on serving
 *     ^          `-----> FAILED -> READING             after neg_ttl, or a pause with jitter
 *     ` waits for who signs
 *
 * The times mean what they mean in Kong Gateway's vaults, with these promises:
 *   ttl            a value is read anew when its ttl is over, by chance up to a tenth of it sooner,
 *                  as long as the configuration refers to it, however small the ttl is.  0: it is
 *                  never read anew by itself.
 *   neg_ttl        a lasting failure (no such secret, not ours to read) is believed so long, then
 *                  asked again, and so is a value that turned out unusable; 0: as ttl, and with
 *                  that 0 a minute.  Passing failures (throttling, 5xx, no connection) are tried
 *                  again by chance within 1 s, 2 s, 4 s … 60 s instead.
 *   resurrect_ttl  a value outlives its ttl by so long while reads fail, for whatever reason.
 *
 * Sans-IO as the chain is: it asks the fetcher; its owner (the control thread) calls tick when the
 * time that the last tick gave has come, after a get that answered AWS_WAIT, and after `wake`.  All
 * functions on that thread.  One read in flight per secret, however many ask.
 *
 * A value is the whole text of the secret; secret_member finds what a reference's key means in it.
 * Values stand in locked memory, are wiped when replaced, and never reach a log or a status.
 */
#ifndef SALLYPORT_AWS_SECRET_CACHE_H
#define SALLYPORT_AWS_SECRET_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aws/secrets_manager.h"
#include "aws/sessions.h"
#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/time.h"

enum {
    SECRET_READS_AT_ONCE = 8,
    SECRET_TRIES = 3, /* of passing failures before who waits for a first value is told */
    SECRET_REREAD_MIN_MS = 1000, /* between two reads because of refused logins */
    SECRET_LEAVE_MS = 60 * 1000, /* logins of the configuration before may still want it */
    SECRET_LASTING_S = 60,       /* neg_ttl when neither it nor ttl says anything */
};

/* Where a secret is: a vault as an entity or the node's properties describe it.  Texts are copied.
 * Two origins that differ in anything keep their secrets apart. */
struct secret_origin {
    struct view prefix; /* as references say it, for messages */
    struct view region; /* absent: the environment's */
    struct view endpoint_url;
    struct view role_arn;
    struct view role_session_name;
    struct view sts_endpoint_url;
    bool base64; /* values are base64 of what is meant */
    int64_t ttl_s;
    int64_t neg_ttl_s;
    int64_t resurrect_ttl_s;
};

enum secret_stage { SECRET_CURRENT, SECRET_PENDING, SECRET_PREVIOUS };
/* "AWSCURRENT"… */
const char *secret_stage_name(enum secret_stage stage);

struct secret_id {
    const struct secret_origin *origin;
    struct view name; /* or ARN */
    enum secret_stage stage;
};

/* Who signs for an origin, and what the environment says about where. */
struct secret_signer {
    const struct aws_credentials *credentials;
    struct sm_place place; /* without the origin's own region and URL, which go before */
    struct view ca_file;
};

struct secret_cache_options {
    struct fetcher *fetcher;
    const struct clock *clock;
    /* AWS_WAIT: asked again at the next tick.  *why and *detail as aws_sessions_get says. */
    enum aws_ready (*signer)(void *arg, const struct secret_origin *origin,
                             struct secret_signer *out, err *why, const char **detail);
    void *signer_arg;
    /* "Something has settled: ask again, and call tick."  Never from within a call to the cache but
     * tick.  May be NULL. */
    void (*wake)(void *arg);
    void *wake_arg;
};

/* base64 was asked for, and the value is none. */
extern const struct fault secret_bad_base64;

struct secret_cache;

err secret_cache_new(const struct secret_cache_options *options,
                     struct secret_cache **out) MUST_USE;
/* What is in flight ends without effect; values are wiped. */
void secret_cache_free(struct secret_cache *c);

/* A version of a secret: good until the control thread returns to its loop. */
struct secret_value {
    struct view text;
    const char *version_id;
    bool current; /* what AWSCURRENT (or the stage asked for) said when it was read last */
};

/*
 * AWS_READY with *out; AWS_WAIT while the first value is on its way (a secret never asked for
 * becomes wanted); AWS_FAILED with *why and *detail ("" when there is no more to say, never a
 * secret; both until the next call).
 */
enum aws_ready secret_cache_get(struct secret_cache *c, const struct secret_id *id,
                                struct secret_value *out, err *why, const char **detail);

/* The held value is not what it should be (no JSON, no such member): it is read anew after neg_ttl,
 * whatever its ttl. */
void secret_cache_note_unusable(struct secret_cache *c, const struct secret_id *id);

/*
 * For a login that the database refused: the secret is read anew, once for all who ask.  AWS_WAIT
 * until a read that began after `since_ms` (monotonic: when the login was refused) has ended, or
 * until SECRET_REREAD_MIN_MS after the one before when that was later; then AWS_READY, even when it
 * failed: what there is to try now, secret_cache_versions tells.  When AWSCURRENT still is what it
 * was, AWSPENDING is read too, for between the second and the last step of a rotation the database
 * knows the new password already.
 */
enum aws_ready secret_cache_reread(struct secret_cache *c, const struct secret_id *id,
                                   int64_t since_ms);

/* All that may let a login in, the likeliest first: what secret_cache_get gives, then AWSCURRENT,
 * AWSPENDING as the last reread found it, and the value before the present one. */
enum { SECRET_VERSIONS_MAX = 3 };
size_t secret_cache_versions(const struct secret_cache *c, const struct secret_id *id,
                             struct secret_value out[SECRET_VERSIONS_MAX]);
/* A login succeeded with this version, which it was given at given_ms (monotonic): secret_cache_get
 * gives it until AWSCURRENT is another, and does not when AWSCURRENT became another meanwhile, for
 * then the login may be from before the database's password was changed. */
void secret_cache_prefer(struct secret_cache *c, const struct secret_id *id,
                         const char *version_id, int64_t given_ms);

/*
 * A configuration is loaded between begin and end: what failed before or was unusable is asked anew
 * at once, and at the end the secrets that only a refused configuration wanted are forgotten (keep
 * false), or those that the new one does not want are read no more and soon forgotten (keep true).
 * Between the two, load may be tried any number of times.
 */
void secret_cache_begin_load(struct secret_cache *c);
void secret_cache_end_load(struct secret_cache *c, bool keep);

/* Does what is due, and returns when to call again at the latest (monotonic milliseconds). */
int64_t secret_cache_tick(struct secret_cache *c);

/* For the status; never a value.  Texts live until the next call to the cache. */
struct secret_status {
    struct view prefix;
    struct view name;
    const char *stage;
    const char *version_id; /* "" before there was a value */
    int64_t read_us;        /* wall time; 0: never */
    int64_t next_us;        /* when it is read next; 0: not by itself */
    bool serves;            /* there is a value within its time */
    unsigned failures;      /* in a row */
    err error;              /* of the latest read */
    const char *detail;
};
/* Start with *at = 0; false ends. */
bool secret_cache_next(const struct secret_cache *c, size_t *at, struct secret_status *out);

struct secret_cache_counts {
    uint64_t reads; /* that ended well */
    uint64_t failures;
};
struct secret_cache_counts secret_cache_counts(const struct secret_cache *c);

/*
 * What a reference's key means in a secret's text: the member of that name of the JSON object that
 * it is, a string unescaped, a number, true or false as written.  An absent key means the whole
 * text.  Copies of unescaped text live in the arena, wiped when it is reset.
 */
extern const struct fault secret_not_json;
extern const struct fault secret_no_member; /* absent, null, an object or an array */
err secret_member(struct view text, struct view key, struct arena *arena,
                  struct view *out) MUST_USE;

#endif
