/*
 * What sallyport.yaml says, as plain structs: issuers, consumers, services with their routes, roles.
 *
 * Filled by `config` from the schema, which also holds the defaults, and never changed after.
 * Every view and array lives as long as the arena of the entities.  An absent text is {NULL, 0}.
 */
#ifndef SALLYPORT_MODEL_ENTITIES_H
#define SALLYPORT_MODEL_ENTITIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/view.h"
#include "model/principal.h"

/* What every entity has. */
struct meta {
    struct view id; /* UUID; derived from kind and name when the file gives none */
    struct strings tags;
    int64_t created_at; /* seconds since 1970 */
    int64_t updated_at;
    unsigned line; /* where it stands in the file, for messages */
};

enum issuer_preset { PRESET_GENERIC, PRESET_COGNITO, PRESET_OKTA, PRESET_ENTRA };

struct issuer {
    struct meta meta;
    struct view name;
    struct view issuer;    /* the exact iss */
    struct view jwks_uri;  /* instead of discovery */
    struct view jwks_file; /* instead of any fetch */
    struct view ca_file;   /* trust for the fetches; absent: the system's */
    struct strings audience;
    struct strings clients; /* accepted client ids, for tokens without aud */
    enum issuer_preset preset;
    struct strings algorithms;      /* accepted `alg` values */
    struct view groups_claim;       /* absent: the preset's */
    struct view scopes_claim;
    struct view client_claim;
    struct strings token_use;       /* Cognito: "access", "id" */
    int64_t leeway_s;               /* clock skew for exp, nbf, iat */
    int64_t jwks_refresh_s;         /* how often the keys are fetched anew */
    int64_t max_token_age_s;        /* 0: no limit beyond exp */
    struct view consumer_claim;     /* absent: this issuer's tokens name no consumer */
    struct strings consumer_by;     /* in which fields of a consumer its value is looked for */
    bool consumer_optional;         /* a token that names none is taken all the same */
};

struct plugin; /* model/plugins.h */

/* Kong's entity of the same name: a known API client, which tokens name by a claim. */
struct consumer {
    struct meta meta;
    struct view username;  /* this or custom_id may be absent */
    struct view custom_id;
    const struct plugin *plugins; /* that stand in it; entities.plugins has all */
    size_t plugin_count;
};

/* How messages and the audit call it. */
static inline struct view consumer_name(const struct consumer *c)
{
    return c->username.data != NULL ? c->username : c->custom_id;
}

enum parameter_source { SOURCE_PATH, SOURCE_QUERY, SOURCE_BODY, SOURCE_CLAIM, SOURCE_HEADER };

struct parameter {
    struct view name; /* as :name in the statement */
    struct view type; /* a PostgreSQL type's name: bigint, text, uuid, text[], … */
    struct view from; /* as written: path, query, body, claim.x, header.x */
    bool required;    /* default true, unless there is a default_value */
    struct view default_value;
    bool has_default;
    unsigned line;
    /* Derived from `from` by config: */
    enum parameter_source source;
    struct view key; /* the name within the source: x of claim.x; else the parameter's own name */
};

enum result_shape { RESULT_MANY, RESULT_ONE, RESULT_AFFECTED, RESULT_NONE };

struct statement {
    bool present; /* false: the route has none */
    struct view sql;
    const struct parameter *parameters;
    size_t parameter_count;
    enum result_shape result;
    bool read_only;
    int64_t timeout_ms;   /* statement_timeout; 0: the service's */
    int64_t max_rows;     /* more are an error; 0: the service's */
    bool audit_values;    /* record bound values */
    bool expose_errors;   /* let the database's message reach the caller */
    unsigned line;        /* of the statement */
    unsigned sql_line;    /* of the first character of sql */
    unsigned sql_column;  /* of it; 0 when what stands there is not sql to the letter */
    bool sql_lines;       /* each line of sql is a line of the file */
};

struct service;

struct route {
    struct meta meta;
    struct view name;
    struct strings methods;
    struct strings paths; /* "/orders/{id}" templates */
    struct statement statement;
    const struct service *service; /* its owner */
    /* Token bucket per caller on this route: 0 requests: none */
    int64_t rate_limit;   /* requests per second */
    int64_t rate_burst;
    const struct plugin *plugins; /* that stand in it */
    size_t plugin_count;
};

enum sslmode { SSLMODE_DISABLE, SSLMODE_REQUIRE, SSLMODE_VERIFY_CA, SSLMODE_VERIFY_FULL };

/* A session tag ("Passing session tags in AWS STS" of the IAM user guide). */
struct session_tag {
    struct view key;
    struct view value; /* a template, as role_session_name is */
    bool transitive;   /* goes on into the roles that the session assumes */
    unsigned line;
};

enum web_identity { WEB_IDENTITY_NONE, WEB_IDENTITY_CALLER };

/* Texts called templates may hold {subject}, {client}, {role}, {issuer}; one that does makes a
 * session per value, else one session serves every caller. */
struct iam_auth {
    bool enabled;
    struct view region;   /* config fills it in from the host name, then from AWS_REGION */
    struct view hostname; /* the RDS name that tokens sign and TLS verifies; absent: the URL's */
    struct strings assume_role_arn; /* a chain: each role assumes the next, the last signs logins */
    struct view role_session_name;  /* a template, of the last role; absent: "sallyport" */
    struct view source_identity;    /* a template; absent: see has_source_identity */
    bool has_source_identity;       /* written; "" sets none even for sessions per caller */
    struct view external_id;        /* of the last role */
    int64_t session_duration_s;     /* of the last role; 0: STS's default, an hour */
    struct view policy;             /* session policy, JSON */
    struct strings policy_arns;
    const struct session_tag *tags;
    size_t tag_count;
    enum web_identity web_identity; /* caller: AssumeRoleWithWebIdentity with the caller's token */
    struct view sts_endpoint_url;
    int64_t max_sessions;           /* per-caller sessions kept, least recently used leave first */
    bool per_caller;                /* derived: a template has a placeholder, or web_identity */
};

/* Where a secret that a login needs is read again while the gateway runs. */
struct rotation {
    int64_t every_s; /* 0: this gateway never rotates the secret */
    bool alternating; /* the alternating-users strategy; else single-user */
    struct view master; /* a secret reference of who may change users; absent: the user itself */
};

/* One way to the database: the service's own, or its `read` part with what it inherited. */
struct endpoint {
    struct view url; /* as written, without a password */
    struct view host;
    uint16_t port;
    struct view user;
    struct view database;
    struct view password; /* a reference's value at load; absent with iam_auth */
    /* {vault://…} as written, to be asked again for each login; absent: the value above stands. */
    struct view user_reference;
    struct view password_reference;
    /* A reference to a whole secret in RDS's format, with username and password (instead of both);
     * user and password then hold what it said at load. */
    struct view secret;
    struct rotation rotation;
    enum sslmode sslmode;
    struct view sslrootcert; /* "rds", "system", "rds+system", or a file */
    bool allow_plaintext;    /* lets sslmode disable reach beyond loopback */
    struct iam_auth iam_auth;
};

struct service {
    struct meta meta;
    struct view name;
    struct endpoint primary;
    bool has_read;
    struct endpoint read;
    struct strings search_path; /* schemas; pg_temp is put last in any case */
    struct strings claims;      /* those that reach the database; default sub, role */
    int64_t statement_timeout_ms;
    int64_t max_rows;
    int64_t max_response_bytes;
    int64_t connect_timeout_ms;
    struct {
        int64_t max_connections;
        int64_t max_waiting;      /* calls that may wait for a connection */
        int64_t wait_timeout_ms;  /* how long one may wait */
        int64_t idle_timeout_ms;  /* an unused connection is closed */
        int64_t max_lifetime_ms;  /* a connection is replaced */
        int64_t shared_depth;     /* calls in flight on a shared connection; 1: never shared */
        int64_t statement_cache;  /* prepared statements kept on a connection */
        int64_t login_rate;       /* new logins a second */
    } pool;
    const struct route *routes;
    size_t route_count;
    const struct plugin *plugins; /* that stand in it */
    size_t plugin_count;
};

/* All keys must hold; within a list any value serves.  An empty list asks nothing. */
struct condition {
    struct strings issuer; /* configured issuers' names */
    struct strings subject;
    struct strings client;
    struct strings consumers; /* as written: usernames or ids; config makes ids of them */
    struct strings groups;
    struct strings scopes;
    const struct claim_condition *claims;
    size_t claim_count;
};

struct claim_condition {
    struct view name;
    struct strings values; /* compared with the claim's text */
};

struct allow_rule {
    struct strings routes;  /* route names; "*" for every route of the role's services */
    struct strings methods; /* empty: all */
    unsigned line;
};

struct role {
    struct meta meta;
    struct view name;
    int64_t priority; /* higher is tried first */
    struct condition when;
    struct strings services;
    struct view database_role;
    const struct allow_rule *allow;
    size_t allow_count;
};

enum vault_kind { VAULT_ENV, VAULT_FILE, VAULT_AWS };

/* Kong's entity of the same name: where references with the prefix are looked up. */
struct vault {
    struct meta meta;
    struct view prefix; /* the X of {vault://X/…} */
    enum vault_kind kind; /* Kong's `name`: env, file, aws */
    /* VAULT_ENV: put before the variable's name.  VAULT_FILE: the folder that relative paths are
     * in, /run/secrets by default. */
    struct view path_prefix;
    struct {
        struct view region; /* absent: that of the environment, as for logins */
        struct view endpoint_url;
        struct view assume_role_arn;
        struct view role_session_name; /* default KongVault, as in Kong */
        struct view sts_endpoint_url;
        bool base64_decode;
    } aws;
    int64_t ttl_s;           /* 0: read once */
    int64_t neg_ttl_s;       /* how long a failure is believed; 0: as ttl */
    int64_t resurrect_ttl_s; /* how long a value outlives its ttl while reads fail */
};

struct entities {
    const struct issuer *issuers;
    size_t issuer_count;
    const struct consumer *consumers;
    size_t consumer_count;
    const struct service *services;
    size_t service_count;
    const struct plugin *plugins; /* all, wherever they stand */
    size_t plugin_count;
    const struct role *roles; /* by priority, highest first; ties in the file's order */
    size_t role_count;
    const struct vault *vaults; /* the file's, then those of sallyport.conf: aws, env */
    size_t vault_count;
};

#endif
