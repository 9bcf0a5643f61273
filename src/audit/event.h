/*
 * The events of the audit log: one fixed schema.
 *
 * A record is one line of JSON: the common members (time, node, boot, worker, seq, kind), then the
 * event's own, then "chain" (audit/log.h).  Absent texts are left out.  audit_fields below describes
 * every member; docs/AUDIT.md is printed from it by `sallyport audit fields`, and a test holds every
 * record written to it.
 *
 * What is the same for many calls is rendered once and passed as a fragment: members without braces,
 * such as "issuer":"…","subject":"…".  audit_render_* make fragments; an empty fragment adds nothing.
 * A principal's lives with the verified token, a connection's with the connection, a target's with
 * the route and role of a configuration snapshot.
 */
#ifndef SALLYPORT_AUDIT_EVENT_H
#define SALLYPORT_AUDIT_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/view.h"
#include "model/decision.h"
#include "model/principal.h"

enum audit_kind {
    AUDIT_FILE,          /* first record of a file: names the file before it */
    AUDIT_INTENT,        /* in the kernel before a call's first byte goes to the database */
    AUDIT_OUTCOME,       /* in the kernel before the answer's last byte leaves */
    AUDIT_AUTH_FAILURE,  /* a caller who could not be identified */
    AUDIT_DENIAL,        /* an identified caller who may not, or a request refused after that */
    AUDIT_LOGIN,         /* a backend connection was opened */
    AUDIT_LOGIN_FAILURE,
    AUDIT_CONFIG_CHANGE, /* loaded, reloaded, or refused */
    AUDIT_START,
    AUDIT_STOP,
    AUDIT_KIND_COUNT,
};

const char *audit_kind_name(enum audit_kind kind);
/* False when there is no kind of that name. */
bool audit_kind_by_name(struct view name, enum audit_kind *out);

enum audit_type { AUDIT_TEXT, AUDIT_INTEGER, AUDIT_BOOL, AUDIT_TEXTS, AUDIT_OBJECT, AUDIT_OBJECTS };

/* One row of the schema. */
struct audit_field {
    const char *name;
    enum audit_type type;
    unsigned kinds; /* bits 1u << enum audit_kind */
    const char *text;
};

extern const struct audit_field audit_fields[];
extern const size_t audit_field_count;

/* The schema as the table of docs/AUDIT.md. */
void audit_fields_markdown(struct buf *out);

/* The caller: issuer, issuer_name, subject, client, consumer, auth_method, groups, scopes,
 * token_id, key_id, token_expires. */
void audit_render_principal(struct buf *out, const struct principal *p);

struct audit_source {
    struct view address;     /* "192.0.2.1:50123", "[2001:db8::1]:50123" */
    struct view tls_version; /* "TLSv1.3"; absent: plain */
    struct view tls_cipher;
};
/* The client's connection: source, tls_version, tls_cipher. */
void audit_render_source(struct buf *out, const struct audit_source *s);

/* The decision: role, decision, decision_reason, roles (each with its verdict). */
void audit_render_decision(struct buf *out, const struct decision *d);
/* The stable word of a verdict: "missing_group". */
const char *audit_verdict_name(enum role_verdict verdict);

struct audit_target {
    struct view service;
    struct view route;
    struct view path_template;
    struct view statement_sha256; /* hex of the SQL text's SHA-256, audit_statement_hash */
    bool read_only;
    struct view database_role;
    struct view database_user; /* the login */
    struct view database;
    struct view endpoint;      /* host:port */
    struct view iam_arn;       /* the role that the login assumes; absent: none */
};
/* What is called and as whom: service, route, path_template, statement (the route's name),
 * statement_sha256, read_only, database_role, database_user, database, endpoint, iam_arn. */
void audit_render_target(struct buf *out, const struct audit_target *t);
void audit_statement_hash(struct view sql, char out[65]);

/* Who asks for what, in every event of a call. */
struct audit_call {
    struct view request_id; /* at most 128 bytes count */
    struct view trace_id;   /* of traceparent or X-Amzn-Trace-Id; absent: none */
};

struct audit_intent {
    struct audit_call call;
    struct view method;
    struct view principal;     /* fragment */
    struct view source;        /* fragment */
    struct view decision;      /* fragment */
    struct view target;        /* fragment */
    struct view access_key_id; /* of the credentials in force for the endpoint; absent: no IAM */
    struct view values;        /* a JSON object of the bound values; absent unless the route asks */
};

struct audit_outcome {
    struct audit_call call;
    int http_status;
    uint64_t rows;
    struct view sqlstate;      /* absent: the database was not reached or said nothing */
    struct view reason;        /* absent: success; else the fault's name, "client_gone", … */
    uint32_t backend_pid;      /* 0: none */
    struct view endpoint;      /* where it ran; absent: nowhere */
    struct view access_key_id; /* the one that the backend connection logged in with */
    uint64_t response_bytes;
    int64_t queue_us;          /* waiting for a connection */
    int64_t database_us;       /* first byte sent to ReadyForQuery */
    int64_t total_us;          /* request read to answer ready */
};

struct audit_auth_failure {
    struct audit_call call;
    struct view method;
    struct view path;              /* as asked, without its query; cut at 1024 bytes */
    struct view source;            /* fragment */
    struct view reason;            /* the fault's name */
    struct view detail;            /* the fault's text, or more */
    struct view unverified_issuer; /* what the token claims; absent when it cannot be read */
    struct view unverified_key_id;
    int http_status;
};

struct audit_denial {
    struct audit_call call;
    struct view method;
    struct view path;
    struct view principal; /* fragment */
    struct view source;    /* fragment */
    struct view decision;  /* fragment; empty when no decision was reached (unknown path) */
    struct view target;    /* fragment; empty when no route matched */
    struct view reason;
    struct view detail;
    struct view plugin;    /* that refused; absent: none did */
    int http_status;
};

struct audit_login {
    bool failed;
    struct view service;
    struct view endpoint;          /* host:port connected to */
    struct view signed_host;       /* the name that the token was signed for; absent: no IAM */
    struct view database;
    struct view database_user;
    struct view auth_method;       /* "iam", "scram-sha-256", "password", "trust" */
    struct view access_key_id;
    struct view credential_source; /* "environment" */
    struct view iam_arn;
    int64_t token_expiry_us;       /* 0: no token */
    uint32_t backend_pid;
    struct view tls_version;
    struct view tls_cipher;
    int64_t duration_us;
    struct view reason;            /* when failed */
    struct view detail;            /* when failed; never a token */
    struct view sqlstate;          /* when failed and the server said one */
};

struct audit_config_change {
    struct view file;
    struct view sha256;   /* hex, of the file's bytes */
    struct view cause;    /* "start", "reload", "SIGHUP" */
    bool applied;
    uint64_t errors;
    struct view detail;   /* the first error */
    uint64_t services;
    uint64_t routes;
    uint64_t roles;
};

struct audit_start {
    struct view version;
    uint64_t workers;
    int64_t pid;
};

struct audit_stop {
    struct view reason; /* "SIGTERM", "SIGQUIT", a failure */
};

#endif
