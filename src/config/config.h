/*
 * The configuration as files: sallyport.yaml (what is served) and sallyport.conf (the node).
 *
 * Every mistake is reported, not just the first: each with file, line, column and, for an unknown
 * name, the nearest known one.  All rules about fields come from the one table in config/schema.h.
 *
 * Ownership: what a function fills in lives in the arena it was given; secrets in it are wiped when
 * that arena is reset or cleared.  The diagnostics live in their own arena.  On failure the structs
 * filled so far may not be used.  Any thread; nothing here keeps state.
 */
#ifndef SALLYPORT_CONFIG_CONFIG_H
#define SALLYPORT_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/diag.h"
#include "base/err.h"
#include "base/view.h"
#include "model/entities.h"
#include "model/node.h"

/* The file has mistakes; the diagnostics say which. */
extern const struct fault config_invalid;
/* A file could not be read, or is longer than a configuration may be; the diagnostics say why. */
extern const struct fault config_unreadable;

/* Nothing is wrong so far, but secrets that it refers to are still being fetched. */
extern const struct fault config_awaits_secrets;

/*
 * {vault://PREFIX/NAME[/KEY][#VERSION]}, taken apart as Kong does (kong/pdk/vault.lua,
 * parse_reference): the last part of the path is the KEY when there are several, the others are
 * the NAME, slashes between them; %2F is a slash that parts nothing.
 */
struct secret_reference {
    struct view prefix;
    struct view name; /* percent-decoded */
    struct view key;  /* a member of the secret's JSON object; absent: the whole text */
    /* 0: not said.  Of AWS Secrets Manager 1 is AWSCURRENT and 2 AWSPREVIOUS, as in Kong, and 3
     * AWSPENDING. */
    unsigned version;
};

/* Takes the text apart; decoded parts live in the arena.  NULL, or what is wrong: a static text
 * that quotes nothing.  Pure. */
const char *secret_reference_parse(struct arena *arena, struct view text,
                                   struct secret_reference *out) MUST_USE;

/* The vault of that prefix: one of those given, else the built-in env, file or aws, else NULL. */
const struct vault *vault_find(const struct vault *vaults, size_t count, struct view prefix);

enum { SECRET_WHY_BYTES = 512 };

/* Both at once; of the kind file all of the path becomes the name, for a file's reference has no
 * KEY.  False with why filled in when the text is malformed or there is no such vault. */
bool secret_reference_find(struct arena *arena, const struct vault *vaults, size_t count,
                           struct view text, struct secret_reference *out,
                           const struct vault **vault, char why[SECRET_WHY_BYTES]) MUST_USE;

/*
 * A secret that the keyring sealed: {keyring://v1/KEY-ID/…}.  It is good in one place alone, for
 * the place is bound to it (store/keyring.h).
 */
struct secret_place {
    struct view kind;  /* of the entity: "service" */
    struct view id;    /* its UUID */
    struct view field; /* "/password", "/read/password": as RFC 6901 points to it */
};

/* Where a vault of the kind file looks relative paths up, unless it says otherwise. */
#define VAULT_FILE_FOLDER "/run/secrets"
/* Kong's defaults of vaults of the kind aws. */
#define VAULT_SESSION_NAME "KongVault"
#define VAULT_RESURRECT_TTL_S 100000000

/* What loading asks of the world; tests put in their own. */
struct config_host {
    /* An environment variable's value, or NULL; used for {vault://env/NAME} and AWS_REGION.  The
     * text is copied before the next call. */
    const char *(*variable)(const struct config_host *host, const char *name);
    /*
     * What {vault://PREFIX/NAME/KEY} of a vault of the kind aws stands for; the vault is never NULL
     * (of the prefix aws it is sallyport.conf's, or the built-in one).  *out is copied before the
     * next call.  False with why filled in; *pending then tells that the answer is being fetched:
     * loading fails with config_awaits_secrets once everything that is wanted was asked for, and is
     * to be tried again when it is there.  NULL: AWS is not at hand (its references are errors).
     */
    bool (*secret)(const struct config_host *host, const struct vault *vault,
                   const struct secret_reference *reference, struct view *out, bool *pending,
                   char *why, size_t why_size);
    /* The bytes of a file that {vault://file/…} names, appended; *open_to_all tells that everybody
     * on the machine may read it.  NULL, or what is wrong.  NULL for the function: no files. */
    const char *(*file)(const struct config_host *host, const char *path, struct buf *out,
                        bool *open_to_all);
    /*
     * The member of the JSON object that the text is, appended: a string's characters, any other
     * value as written.  An absent key asks only whether it is an object.  NULL for the function:
     * references with a KEY to env and file are errors, and policies are not looked into.
     */
    bool (*json_member)(const struct config_host *host, struct view text, struct view key,
                        struct buf *out);
    /* secret is not there, and that is no mistake: references to aws are left unread with a
     * warning each, and what they stand for is absent. */
    bool leave_aws;
    /* Whose vault_aws and vault_env hold, copied; NULL: the built-in ones. */
    const struct node_config *node;
    /* Whether a file that the configuration names can be read.  NULL: not asked. */
    bool (*readable)(const struct config_host *host, const char *path);
    /* As file; but one that others than its owner may read is refused.  NULL: none can be read. */
    const char *(*key_file)(const struct config_host *host, const char *path, struct buf *out);
    /*
     * What a sealed secret holds, appended.  False with why filled in, a text that shows nothing of
     * it; *unread: the key was not at hand, and that is no mistake.  NULL: nothing is opened.
     */
    bool (*open_sealed)(const struct config_host *host, const struct secret_place *place,
                        struct view sealed, struct buf *out, bool *unread,
                        char why[SECRET_WHY_BYTES]);
    /* What open_sealed opens with; NULL: what node says. */
    const struct keyring_settings *keyring;
    /* A secret field may hold the secret itself: what is read is sealed before it is kept. */
    bool literal_secrets;
    /* The file is for the store, where the keyring could make it so. */
    bool imported;
};

/* The process's own environment and file system; neither AWS nor JSON. */
extern const struct config_host config_system;

/* What a reference gave. */
struct secret_answer {
    struct view value; /* in the arena, wiped when that is reset */
    bool pending;      /* being fetched: ask again later */
    bool unread;       /* of AWS, and host->leave_aws */
    bool open_to_all;  /* it came from a file that everybody on the machine may read */
    char why[SECRET_WHY_BYTES]; /* it could not be had */
};

/*
 * What the reference stands for at this moment.  A file is read and the environment asked each
 * time; for aws host->secret is.  True when the value is there.  Where a login's secret is asked
 * for again, this is what asks: with endpoint.user_reference and password_reference, and with
 * endpoint.secret, whose keys are username and password.
 */
bool secret_read(struct arena *arena, const struct config_host *host, const struct vault *vault,
                 const struct secret_reference *reference, struct secret_answer *out) MUST_USE;

/*
 * Reads sallyport.yaml.  Relative paths in it (jwks_file, ca_file, sslrootcert) are taken from the
 * file's own folder.  Faults: config_unreadable, config_invalid, fault_out_of_memory.  Warnings
 * alone are no failure.
 */
err entities_load(struct arena *arena, const char *path, const struct config_host *host,
                  struct entities *out, struct diagnostics *d) MUST_USE;

/* The same from memory; file_name is what messages say and what relative paths are taken from. */
err entities_parse(struct arena *arena, const char *file_name, struct view text,
                   const struct config_host *host, struct entities *out,
                   struct diagnostics *d) MUST_USE;

/* What the one file says that the other makes pointless: warnings.  file: the entities'. */
void entities_check_rates(const struct entities *e, const struct node_config *node,
                          struct view file, struct diagnostics *d);

/* Where `sallyport` looks when no -c is given. */
#define CONFIG_DEFAULT_FILE "/etc/sallyport/sallyport.conf"

/* In the prefix: what a node with database = postgres read from there last, and serves. */
#define STORE_FILE "store.yaml"

/* One property given on the command line. */
struct node_setting {
    struct view name;
    struct view value;
};

/* Where the node's properties come from, in order of precedence. */
struct node_config_sources {
    const struct node_setting *settings; /* the command line */
    size_t setting_count;
    char *const *environment; /* "NAME=value", NULL-terminated; NULL: none */
    const char *conf_file;    /* -c; NULL: CONFIG_DEFAULT_FILE when it exists, else no file */
    /* When present, the file's text: nothing is read, conf_file is only its name. */
    struct view conf_text;
    const struct config_host *host; /* NULL: config_system */
};

/*
 * Joins command line > SALLYPORT_<NAME> > KONG_<NAME> > file > default.  Unknown names and bad
 * values are errors in the file and on the command line; an unknown variable is a warning, a bad
 * value of a known one an error.  node_config.origins says where each value came from.
 * Relative paths in the file are taken from the file's folder, others from the working directory.
 * Faults as for entities_load.
 */
err node_config_load(struct arena *arena, const struct node_config_sources *sources,
                     struct node_config *out, struct diagnostics *d) MUST_USE;

#endif
