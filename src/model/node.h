/* What sallyport.conf says of this node, after files, environment and command line were joined. */
#ifndef SALLYPORT_MODEL_NODE_H
#define SALLYPORT_MODEL_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/view.h"
#include "model/entities.h"

/* One address of proxy_listen, status_listen: "127.0.0.1:8443 ssl", "[::]:8443 ssl". */
struct listen {
    struct view host;
    uint16_t port;
    bool tls;
};

struct listens {
    const struct listen *items;
    size_t count;
};

/* Where a property's value came from.  ORIGIN_PROPERTY: another property gave it, by inheritance
 * (pg_ro_user from pg_user) or by force (pg_ssl from pg_iam_auth). */
enum origin_kind {
    ORIGIN_DEFAULT,
    ORIGIN_FILE,
    ORIGIN_ENVIRONMENT,
    ORIGIN_COMMAND_LINE,
    ORIGIN_PROPERTY,
};

struct property_origin {
    const char *property; /* as in sallyport.conf */
    enum origin_kind kind;
    /* The file's, the variable's or the other property's name; "Kong" of a default that is Kong's;
     * else absent. */
    struct view source;
    unsigned line;      /* in the file */
    /* The {vault://…}, or of a key the file, that the value came from; absent: it was written. */
    struct view reference;
};

/* With kong_compat: what of a kong.conf, or of KONG_… variables, has no effect here. */
struct node_idle {
    struct view name; /* the property */
    struct property_origin origin;
    const char *group; /* "nginx", "logs" */
    const char *why;
    const struct node_idle *next;
};

/*
 * How the node reaches its own configuration in PostgreSQL: Kong's pg_… and pg_ro_… properties.
 * What config hands out is in force as it stands: pg_ro has what it inherits, ssl and ssl_verify
 * are on with iam_auth, and then there is no password and no client certificate.
 */
struct pg_settings {
    struct view host; /* a name, an address, or the folder of a unix socket */
    uint16_t port;
    int64_t timeout_ms; /* of connecting, and of each wait for the server */
    struct view user;
    struct view password; /* secret; absent: none */
    struct view database;
    struct view schema; /* absent: the server's own search_path says it */
    bool iam_auth;      /* a token in place of the password */
    struct view iam_auth_assume_role_arn; /* absent: none */
    struct view iam_auth_role_session_name;
    struct view iam_auth_sts_endpoint_url; /* absent: that of the environment */
    struct view iam_auth_hostname; /* the RDS name behind a tunnel or an alias; absent: host */
    struct view iam_auth_region;   /* absent: what the host name says, then AWS_REGION */
    bool ssl;
    bool ssl_required;
    bool ssl_verify;
    struct view ssl_version;  /* tlsv1_2, tlsv1_3, any */
    struct view ssl_cert;     /* of the read-write connection only, as in Kong */
    struct view ssl_cert_key;
    /* Taken and checked for Kong's sake; a node keeps one connection, so they have no effect. */
    int64_t max_concurrent_queries;
    int64_t semaphore_timeout_ms;
    int64_t keepalive_timeout_ms;
    int64_t pool_size;
    int64_t backlog;
};

/* What seals and opens secrets in the store: keyring_….  Config hands out keys as they were read,
 * 32 bytes in base64 or hexadecimal; nobody may show them. */
struct keyring_settings {
    bool enabled;
    struct view key;              /* seals and opens; absent when unread */
    struct strings previous_keys; /* open only */
    bool unread; /* one is in AWS, which was not asked */
};

struct node_config {
    struct view prefix;             /* the working directory: pid file, audit, keys */
    struct view declarative_config; /* the path of sallyport.yaml; PREFIX/store.yaml of postgres */
    struct view database;           /* "off" or "postgres" */
    struct listens proxy_listen;
    struct listens status_listen;
    bool allow_plaintext; /* lets proxy_listen be plain beyond loopback */
    struct view ssl_cert;
    struct view ssl_cert_key;
    struct view rds_ca_bundle;       /* the PEM file that sslrootcert: rds stands for */
    struct view log_level;
    struct view log_format;          /* auto, text, json */
    int64_t workers;                 /* 0: as many as cores */
    int64_t max_connections;         /* client connections, all workers */
    int64_t client_header_timeout_ms;
    int64_t client_body_timeout_ms;
    int64_t keepalive_timeout_ms;
    int64_t client_max_body_size;    /* bytes */
    struct view node_name;           /* in the audit; default the host name */
    struct view audit_directory;     /* default PREFIX/audit */
    bool audit_fsync;
    int64_t audit_rotate_bytes;      /* a worker's file is closed and a new one begun */
    int64_t shutdown_timeout_ms;     /* how long `quit` waits for calls in flight */
    struct vault vault_aws;          /* what {vault://aws/…} means, unless an entity says */
    struct vault vault_env;          /* the same of env */
    struct pg_settings pg;           /* the read-write connection */
    int64_t pg_iam_auth_max_rate;    /* logins by IAM a second to an instance, of all nodes */
    bool has_pg_ro;                  /* pg_ro_host was given */
    struct pg_settings pg_ro;        /* the read-only connection, when there is one */
    struct strings lua_ssl_trusted_certificate; /* files, "system", "rds"; whom pg trusts */
    int64_t lua_ssl_verify_depth;    /* intermediates that a server's chain may have */
    struct keyring_settings keyring;
    struct view conf_file;           /* the file that was read; absent: none */
    bool kong_compat;                /* it was read as a kong.conf */
    const struct node_idle *idle;    /* in the order of their sources; NULL: none */
    const struct property_origin *origins; /* one for every property, in the schema's order */
    size_t origin_count;
};

#endif
