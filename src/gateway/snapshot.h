/*
 * A configuration made ready to serve: routes with their statements analysed and rewritten, the
 * router, the issuers, the brokers.  Immutable but for what is known of the database (`proved`),
 * counted by reference, swapped whole at a reload.
 */
#ifndef SALLYPORT_GATEWAY_SNAPSHOT_H
#define SALLYPORT_GATEWAY_SNAPSHOT_H

#include <stdatomic.h>

#include "base/arena.h"
#include "base/diag.h"
#include "base/metrics.h"
#include "config/config.h"
#include "database/broker.h"
#include "database/database.h"
#include "gateway/parameters.h"
#include "gateway/router.h"
#include "identity/identity.h"
#include "model/consumers.h"
#include "model/entities.h"
#include "plugins/scope.h"
#include "sql_pg/sql_analysis.h"
#include "sql_pg/sql_named.h"

/* A route as one role runs it. */
struct route_role {
    uint8_t prepared_key[DB_KEY_BYTES];
    bool covered;                    /* the role allows the route, by some method */
    /* It was prepared as this role, and is fit. */
    _Atomic bool prepared;
    /* The catalog was asked, and nothing that the statement reaches leaves a trace. */
    _Atomic bool proved;
    struct view target; /* the audit's fragment */
};

struct compiled_service;

struct compiled_route {
    const struct route *route;
    const struct compiled_service *service;
    struct sql_named named;
    struct sql_analysis analysis;
    char statement_sha256[65]; /* of the operator's text, as the audit names it */
    const struct parameter_type *types;
    const size_t *order; /* order[n]: which of the route's parameters is $(n+1) */
    struct db_statement statement; /* until it is proved: resets the session, shares none */
    struct db_statement clean;     /* the same, of a text that leaves no trace */
    bool clean_text;
    struct view relations; /* that the proof asks for; absent: nothing to prove */
    struct broker *broker; /* NULL in a snapshot that only checks */
    struct view search_path;  /* the service's */
    struct view timeout_text; /* milliseconds */
    int64_t timeout_ms;
    uint32_t max_rows;
    const struct plugin_chain *plugins; /* for callers without plugins of their own; NULL: none */
    struct route_role *roles; /* one for each of the service's roles */
    struct metric_set *requests;    /* by status */
    struct metric request_seconds;
    struct metric database_seconds;
};

#define NO_SLOT UINT32_MAX

struct compiled_service {
    const struct service *service;
    struct compiled_route *routes;
    struct view search_path;
    struct view timeout_text; /* of statements that say none */
    uint32_t *roles; /* indices of those of the entities that have the service, in their order */
    size_t role_count;
    uint32_t *slots; /* by index of the role: its place among these; NO_SLOT */
    uint8_t (*proof_keys)[DB_KEY_BYTES]; /* of proof_question, as each of these */
    struct view primary_place, read_place; /* host:port */
    struct broker *primary;
    struct broker *read;
};



struct snapshot {
    atomic_int references;
    struct arena arena;
    struct entities entities;
    struct consumer_index consumers;
    struct plugin_index plugins;
    const struct router *router;
    struct compiled_service *services;
    size_t route_count;
    struct identity *identity;
    /* Until when what the snapshot before had proved is taken for it (prepare.h), monotonic. */
    _Atomic int64_t proofs_hold_ns;
    char id[65]; /* SHA-256 of the file, hex */
    int64_t loaded_at_s;
};

/* Where brokers and keys come from; all NULL to check a file only. */
struct snapshot_makers {
    struct broker *(*broker_for)(void *arg, const struct service *service,
                                 const struct endpoint *endpoint, const char *access,
                                 const struct strings *database_roles, struct diagnostics *d);
    void *arg;
    const struct snapshot *previous; /* what did not change is taken over */
    struct metrics *metrics;
    const struct config_host *host; /* NULL: config_host_offline */
};

/*
 * Loads, checks and compiles the file.  Every mistake goes to the diagnostics, whose arena is the
 * caller's.  On failure *out is NULL.  Faults: those of entities_load (config_awaits_secrets
 * among them: try again when they are there), config_invalid.
 */
err snapshot_build(const char *path, const struct snapshot_makers *makers,
                   struct diagnostics *d, struct snapshot **out) MUST_USE;
struct snapshot *snapshot_acquire(struct snapshot *s);
void snapshot_release(struct snapshot *s);

/* The compiled form of a route of this snapshot. */
const struct compiled_route *snapshot_route(const struct snapshot *s, const struct route *route);

/* The consumer whom the verified token names, into p->consumer.  False: it names none, and its
 * issuer wants one. */
bool snapshot_find_consumer(const struct snapshot *s, struct principal *p) MUST_USE;

/* The route as the role, by its index among the entities', runs it; NULL when the role does not
 * have the service. */
struct route_role *snapshot_route_role(const struct compiled_route *r, size_t role);

/* The plugins of the consumer's (NULL: nobody's) calls of the route: into the arena where they are
 * the consumer's own.  *out is NULL when there are none. */
err snapshot_find_plugins(struct arena *arena, const struct snapshot *s,
                          const struct compiled_route *r, const struct consumer *consumer,
                          const struct plugin_chain **out) MUST_USE;

/* The statement as the role may run it now. */
const struct db_statement *snapshot_statement(const struct compiled_route *r,
                                              const struct route_role *as);

/* Where in the file the statement's character stands, for a message; column 0: unknown. */
void snapshot_sql_place(const struct compiled_route *r, uint32_t position, unsigned *line,
                        unsigned *column);

#endif
