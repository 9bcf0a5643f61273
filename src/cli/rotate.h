/* sallyport rotate: what its files share. */
#ifndef SALLYPORT_CLI_ROTATE_H
#define SALLYPORT_CLI_ROTATE_H

#include <stdbool.h>
#include <stdint.h>

#include "aws/rotation.h"
#include "base/arena.h"
#include "base/view.h"
#include "cli/configuration.h"
#include "cli/options.h"
#include "cli/rotate_aws.h"
#include "cli/rotate_database.h"
#include "model/entities.h"
#include "model/node.h"

/* Exit codes.  0: rotated, or there was nothing to do; 1: "Error: …". */
enum { ROTATE_GOOD = 0, ROTATE_FAILED = 1, ROTATE_FOLLOWED = 3 /* somebody else rotates it */ };

enum rotate_strategy { ROTATE_UNSAID, ROTATE_SINGLE_USER, ROTATE_ALTERNATING };

struct rotate_options {
    const char *secret_id;
    enum rotate_strategy strategy;
    struct view master_id; /* absent: the secret's masterarn */
    struct view region;
    struct view endpoint_url;
    struct cli_options common;
    struct view service;      /* absent: the first that logs in with the secret, if any */
    struct view sslrootcert;  /* absent: the service's, else rds */
    int64_t if_older_than_s;  /* 0: now */
    bool dry_run;
    struct rotate_db_options db;
};

/* What the configuration says of services that log in with the secret. */
struct rotate_service {
    bool found;
    const struct vault *vault; /* where it looks the secret up; without a service: vault_aws_… */
    struct view name;
    struct view host;
    uint16_t port;
    struct view sslrootcert;
    bool alternating;
    struct view master_id;
};

/* What the node's properties say, services that log in with the secret, roots. */
struct rotate_config {
    struct arena arena;
    struct arena words; /* of the diagnostics */
    struct node_config node;
    struct cli_configuration served;
    struct rotate_service service;
    int roots_fd; /* of a file made of several; -1: none */
    char roots[4096];
};

/* Reads them, prints what is wrong with them, and sets o->db.roots_file.  Close it all the same. */
bool rotate_config_open(struct rotate_config *c, struct rotate_options *o);
void rotate_config_close(struct rotate_config *c);
/* Whether a reference's name and an id given mean one secret: equal, or the other's ARN. */
bool rotate_same_secret(struct view name, struct view id);

/* The whole rotation; prints each step.  The exit code. */
int rotate_steps(const struct rotate_options *o, const struct rotate_service *service,
                 struct rotate_aws *aws);

#endif
