/* What node_config.c shares with the rules over sallyport.conf's properties (rules_listen.c,
 * rules_keyring.c, rules_pg.c) and with kong_compat.c. */
#ifndef SALLYPORT_CONFIG_NODE_JOINER_H
#define SALLYPORT_CONFIG_NODE_JOINER_H

#include "base/arena.h"
#include "base/diag.h"
#include "config/config.h"
#include "model/node.h"

/*
 * The properties are read in turns: the vaults' say what references in the others mean, and the
 * others whether a password is wanted at all, for with IAM not even its reference is looked up.
 */
enum joiner_turn { TURN_VAULTS, TURN_OTHERS, TURN_PASSWORDS, JOINER_TURNS };

struct joiner {
    struct arena *arena;
    const struct config_host *host;
    struct diagnostics *d;
    struct node_config *out;
    struct property_origin *origins; /* in the schema's order */
    struct conf_line *lines; /* of the file */
    enum joiner_turn turn;
    bool pending;
    bool no_memory;
    bool kong;     /* kong_compat, which is needed before the properties are taken */
    bool switched; /* by the command line or the environment */
    const struct node_idle **idle_end;
    unsigned kongs; /* of the file's, without kong_compat: Kong's properties */
    size_t certificates[2]; /* of ssl_cert, ssl_cert_key as a kong.conf lists them */
};

/* Reports at the place that the origin tells. */
void joiner_report(struct joiner *j, enum severity severity, const struct property_origin *o,
                   const char *name, const char *text);

/* Of a value that has no effect here: a warning, or with kong_compat an entry of node_config.idle,
 * where the texts must be constant. */
void joiner_no_effect(struct joiner *j, const struct property_origin *o, const char *name,
                      const char *group, const char *text);

/* The origin of the property of that name, which must be in the schema. */
struct property_origin *joiner_origin(const struct joiner *j, const char *name);

/* Whether pg_password or pg_ro_password is one that a connection logs in with; once all other
 * properties were read. */
bool joiner_wants_password(const struct joiner *j, const char *name);

/* After all sources were joined: addresses that are open, the door's certificate. */
void joiner_finish_listens(struct joiner *j);

/* What the reference stands for, in *value; false when there is nothing to set, which is reported.
 * *unread: it is of AWS, and that is not asked. */
bool joiner_resolve(struct joiner *j, const char *name, const struct property_origin *origin,
                    struct view *value, bool *unread) MUST_USE;

/* After all sources were joined: reads the keys of the keyring. */
void joiner_finish_keyring(struct joiner *j);

/* After all sources were joined: what pg_ro_… inherits, what IAM raises, and what contradicts. */
void joiner_finish_pg(struct joiner *j);

#endif
