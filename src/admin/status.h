/*
 * The status server: a small HTTP/1.1 server for probes and scrapes, on the control thread's loop.
 *
 *     GET /status/live    200: the control loop turns
 *     GET /status/ready   503 while something is missing without which no call could be answered:
 *                         configuration (none is served yet), audit (it cannot be written),
 *                         draining (the process ends), issuer_keys (no issuer ever had keys).
 *                         Otherwise 200, degraded when there are warnings: issuer_keys (of one
 *                         issuer among others), issuer_refresh, database, aws_credentials,
 *                         aws_session (a role's that is not one caller's), rotation,
 *                         secret, store, configuration (what was offered last has mistakes).
 *                         What lies behind every node alike takes no node out of a balancer.
 *                         {"missing":[{"reason":"issuer_keys","name":"okta","detail":"…"}],
 *                         "warnings":[],"ready":false,"degraded":false}
 *     GET /status         the same with all that the source reports; always 200
 *     GET /metrics        Prometheus text
 *
 * HEAD is answered too; anything else is 404 or 405, and a malformed request, or one with a body,
 * is refused and the connection ended.  It authenticates nobody and so names no caller; it listens
 * on loopback, plain.  At most STATUS_CONNECTIONS_MAX connections, of which the one idle for
 * longest makes room for a new one; a request must be complete, and its answer taken, within
 * STATUS_REQUEST_MS.
 *
 * Thread rule: everything on the loop's thread; the source's report is called there.
 */
#ifndef SALLYPORT_ADMIN_STATUS_H
#define SALLYPORT_ADMIN_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/metrics.h"
#include "base/view.h"
#include "model/node.h"

enum { STATUS_CONNECTIONS_MAX = 64, STATUS_REQUEST_MS = 10000, STATUS_IDLE_MS = 60000 };

extern const struct fault status_not_loopback; /* status_listen names an address beyond loopback */
extern const struct fault status_tls_unsupported; /* status_listen says ssl */
extern const struct fault status_bad_address;  /* not an address (names are not resolved here) */
extern const struct fault status_bind_failed;  /* the address is taken or not ours */

struct status_issuer {
    struct view name;
    bool keys_loaded;      /* ever */
    int64_t keys_age_s;    /* -1: never loaded */
    struct view last_error; /* of the latest fetch; absent: it succeeded */
};

struct status_service {
    struct view name;
    bool reachable;         /* the latest login succeeded, or none was tried yet */
    struct view last_error; /* of the latest login; never a secret */
    size_t connections;
    size_t idle;
    size_t waiting;
    double logins_per_second; /* of late */
};

/* The program's own AWS identity; the zeroed struct: none is needed. */
struct status_aws {
    const char *state;      /* "waiting", "ready", "stale" (valid, but not refreshed), "failed" */
    struct view source;     /* "container"; absent before there were credentials */
    int64_t expiry_s;       /* 0: never, or not known */
    struct view last_error; /* of the latest attempt; never a secret */
};

/* Sessions that fail alike: of one role, for one reason. */
struct status_aws_failure {
    struct view role;
    bool per_caller;
    bool serves;       /* by credentials that are valid still */
    size_t sessions;   /* how many */
    unsigned failures; /* in a row, of the one with most */
    struct view detail; /* what STS said; never a secret, never a caller */
};

/* The sessions of roles that services assume. */
struct status_aws_sessions {
    bool wanted; /* a service assumes a role; else the rest says nothing */
    size_t cached, per_caller, max, waiting, in_flight;
    uint64_t assumed, evictions;
    const struct status_aws_failure *failures;
    size_t failure_count;
};

/* A secret that a service has this node rotate. */
struct status_rotation {
    struct view service;
    struct view secret;
    const char *state;   /* "waiting", "good", "followed", "failed" */
    int64_t rotated_s;   /* by this node; 0: never */
    int64_t next_look_s;
    unsigned failures;   /* in a row */
    struct view detail;  /* the latest attempt's last words; never a secret */
};

/* One secret of AWS Secrets Manager that the configuration refers to; never its value. */
struct status_secret {
    struct view vault; /* its prefix */
    struct view name;
    struct view stage;
    struct view version;    /* the id of the version that serves; absent: none was ever read */
    bool serves;            /* there is a value within its time */
    int64_t read_s;         /* when it was read last; 0: never */
    int64_t next_s;         /* when it is read next; 0: not by itself */
    struct view last_error; /* of the latest read; absent: it succeeded */
};

/* The database of the configuration. */
struct status_store {
    const char *state; /* "listening", "polling" (no LISTEN), "away"; NULL: there is none */
    int64_t revision;  /* served; -1: not known */
    int64_t refused;   /* one that has mistakes, or could not be loaded; -1: none */
    struct view mistake;    /* its first */
    struct view last_error; /* absent: the latest question was answered; never a secret */
    struct view writer;     /* the addresses that are connected to; absent: none is */
    struct view reader;
};

/* Logins by IAM: what the nodes have of pg_iam_auth_max_rate. */
struct status_logins {
    const char *state; /* "alone", "joining", "shared", "kept", "assumed"; NULL: not known */
    int64_t max_rate;
    int64_t share;
    size_t nodes; /* 0: not known */
    double per_second;       /* of late, by this node */
    double store_per_second; /* of them, to the configuration's database */
};

struct status_report {
    bool configured; /* a configuration was taken */
    struct view configuration_id; /* what the audit calls it; may be absent */
    int64_t configured_at_s;      /* 0: never */
    struct view refused; /* first mistake of what was offered since; may be absent */
    bool draining;
    bool audit_working;
    size_t workers;
    int64_t client_connections;
    const struct status_issuer *issuers;
    size_t issuer_count;
    const struct status_service *services;
    size_t service_count;
    struct status_store store;
    struct status_logins logins;
    struct status_aws aws;
    struct status_aws_sessions aws_sessions;
    const struct status_rotation *rotations;
    size_t rotation_count;
    const struct status_secret *secrets;
    size_t secret_count;
};

struct status_source {
    /* Fills the zeroed *out; arrays and texts in the arena, or living until the next turn of the
     * loop.  Must not block. */
    void (*report)(void *arg, struct arena *arena, struct status_report *out);
    void *arg;
    struct metrics *metrics;
    const char *node_name; /* copied; may be NULL */
    int64_t request_ms;    /* 0: STATUS_REQUEST_MS */
};

struct status_server;

/* Listens on all of listens (none is fine: a server that serves nobody).  The source is copied;
 * what arg and metrics point at must live until the close callback.  On an error *detail (when not
 * NULL, of detail_bytes) says which address and why, and nothing is left listening once the loop
 * has turned. */
err status_server_new(uv_loop_t *loop, struct listens listens, const struct status_source *source,
                      struct status_server **out, char *detail, size_t detail_bytes) MUST_USE;

/* The port of the index-th listen, as bound: of use when it was asked for as 0. */
uint16_t status_server_port(const struct status_server *s, size_t index);

/* Closes listeners and connections, frees s, then calls closed(arg) from the loop (at once when
 * there was nothing to close); closed may be NULL. */
void status_server_close(struct status_server *s, void (*closed)(void *arg), void *arg);

#endif
