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

/* Where a property's value came from. */
enum origin_kind { ORIGIN_DEFAULT, ORIGIN_FILE, ORIGIN_ENVIRONMENT, ORIGIN_COMMAND_LINE };

struct property_origin {
    const char *property; /* as in sallyport.conf */
    enum origin_kind kind;
    struct view source; /* the file's or the variable's name; absent otherwise */
    unsigned line;      /* in the file */
    struct view reference; /* the {vault://…} that the value came from; absent: it was written */
};

struct node_config {
    struct view prefix;             /* the working directory: pid file, audit, keys */
    struct view declarative_config; /* the path of sallyport.yaml */
    struct view database;           /* "off" for now */
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
    struct view conf_file;           /* the file that was read; absent: none */
    const struct property_origin *origins; /* one for every property, in the schema's order */
    size_t origin_count;
};

#endif
