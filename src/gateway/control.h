/*
 * The control thread: signals, configuration, issuers' keys, logins to databases, anchors of the
 * audit.  Whatever waits for the world waits here, so that no worker does.
 */
#ifndef SALLYPORT_GATEWAY_CONTROL_H
#define SALLYPORT_GATEWAY_CONTROL_H

#include <uv.h>

#include "aws/chain.h"
#include "aws/credentials.h"
#include "aws/sessions.h"
#include "base/buf.h"
#include "base/diag.h"
#include "gateway/rotations.h"
#include "gateway/secrets.h"
#include "gateway/worker.h"
#include "identity/key_refresher.h"
#include "net/fetch.h"
#include "net/run.h"

struct login_pace;
struct upstream;

/* Who brings the configuration from elsewhere than a file of the operator's: the database; or who
 * only wants to hear what became of it. */
struct control_supply {
    void (*ask)(void *arg); /* SIGHUP; control_offer follows, whatever is new; NULL: the file */
    /* What was offered is served, or was refused: the first mistake, until the call returns. */
    void (*settled)(void *arg, bool taken, struct view mistake);
    void *arg;
};

/* In the prefix: the properties with which the running process was started. */
#define STARTED_FILE "sallyport.started"

struct control {
    uv_loop_t loop;
    struct gateway gateway;
    const struct node_config *node;
    const char *yaml_path;
    struct buf started; /* the node's properties at the start, as text (config/node_text.h) */
    struct mailbox mailbox;
    struct list flush_list; /* of logins' streams */
    uv_prepare_t turn;
    uv_signal_t signals[4];
    uv_timer_t second; /* anchors, upkeep */
    uv_timer_t keys;   /* the key refresher's next tick */
    uv_async_t keys_wake;
    uv_timer_t logins; /* paced logins */
    uv_timer_t aws;    /* the next tick of the credential chain and of the sessions */
    uv_timer_t deadline; /* of a graceful end */
    struct worker *workers;
    struct db_worker **db_workers;
    size_t worker_count;
    size_t workers_stopped;
    char rds_bundle[4096]; /* node.rds_ca_bundle */
    struct audit_writer *audit;
    struct net_fetcher *fetcher;
    struct net_runner *runner; /* of credential_process and of rotations */
    struct rotations *rotations;
    struct key_refresher *refresher;
    struct credential_chain *chain; /* NULL: no service logs in by IAM */
    struct credential_provider *credentials; /* the chain's */
    struct aws_sessions *sessions;           /* with the chain, but ends before the fetcher */
    int64_t aws_due_ms;                      /* of the timer */
    bool aws_discovers;                      /* the chain was begun without any service's region */
    bool aws_region_known;                   /* it had a region when sessions were pinned */
    int64_t aws_pinned_us;                   /* the chain's credentials when sessions were pinned */
    err credentials_error;                   /* without a chain: why */
    struct secrets secrets;
    const char *load_cause; /* of the load under way or the latest */
    const char *load_path;  /* what it reads */
    char load_mistake[512]; /* its first */
    struct control_supply supply;
    bool starting;          /* the workers do not run yet */
    bool news;              /* of secrets, while a start waits for them */
    struct snapshot *snapshot;
    struct list upstreams; /* struct upstream */
    struct login_pace *pace; /* of logins by IAM; with database = postgres others set it */
    int64_t configured_at_s;
    char configuration_id[65];
    struct metric token_mints;
    void (*end)(void *arg);
    void *end_arg;
    const char *stop_reason;
    bool stopping;
    bool cancelling; /* shutdown_timeout_ms is over: what still runs is being cancelled */
    bool abrupt;     /* no time is given to anything any more */
};

/* Opens everything: audit, configuration, sockets; no thread runs yet.  path: what to serve, which
 * must outlive c; NULL: node->declarative_config.  On failure says why on standard error and
 * returns false. */
bool control_start(struct control *c, const struct node_config *node, const char *path);
/* Starts the workers, serves until a signal ends it; the exit code. */
int control_run(struct control *c);
/* Whoever has handles of its own on the loop (the status server) closes them when `end` is called,
 * once, after the workers have ended. */
void control_on_end(struct control *c, void (*end)(void *arg), void *arg);

/* From now on SIGHUP asks there; copied. */
void control_set_supply(struct control *c, const struct control_supply *supply);
/* Loads the file; one at a time: `settled` ends it, and until then the path must live.  A bad
 * configuration is refused and the old one goes on, as it does while the new one waits for its
 * secrets. */
void control_offer(struct control *c, const char *path, const char *cause);

/* Every entry, in the log. */
void control_log_mistakes(const struct diagnostics *d);

/* SHA-256 in hexadecimal of a file; false when it cannot be read. */
bool control_hash_file(const char *path, char out[65]);

/* For the status report. */
struct upstream_status {
    struct view service;
    struct view access;
    struct broker_counts counts;
    struct view last_error; /* absent: the latest login succeeded, or there was none */
    bool iam;               /* logs in by IAM */
    double logins_per_second; /* of late */
};
size_t control_upstreams(struct control *c, struct upstream_status *out, size_t capacity);

#endif
