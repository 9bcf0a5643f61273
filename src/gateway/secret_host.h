/*
 * Who answers the configuration's references to secrets: the environment, files, and for vaults of
 * the kind aws the cache (aws/secret_cache.h), which says "pending" until a value is there.
 *
 * The same for the gateway and for the commands.  Thread rule: that of the cache.
 */
#ifndef SALLYPORT_GATEWAY_SECRET_HOST_H
#define SALLYPORT_GATEWAY_SECRET_HOST_H

#include "aws/chain.h"
#include "aws/secret_cache.h"
#include "aws/sessions.h"
#include "base/arena.h"
#include "config/config.h"
#include "model/node.h"

struct secret_host {
    struct config_host host; /* first: what is handed to config */
    struct secret_cache *cache;
    struct arena arena;  /* of the latest answer */
    bool impatient;      /* what is still pending is a mistake now */
    bool for_login;      /* what is held serves, also while a load wants it read anew */
    const char *version_id; /* for a login: of this version, where a secret has it; may be NULL */
};

/* node may be NULL: then the built-in vaults hold.  End with secret_host_clear. */
void secret_host_init(struct secret_host *h, const struct node_config *node,
                      struct secret_cache *cache);
void secret_host_clear(struct secret_host *h);

/* What the cache calls the secret that a reference to a vault of the kind aws means.  A vault that
 * names no endpoint of STS takes the node's vault_aws_sts_endpoint_url; node may be NULL. */
void secret_host_id(const struct node_config *node, const struct vault *vault,
                    const struct secret_reference *reference, struct secret_origin *origin,
                    struct secret_id *id);

/*
 * Who signs for a vault: the chain's credentials, or the session of the vault's role.  The endpoint
 * of STS is the vault's own, else that of the chain's plan.  The arguments are those of
 * secret_cache_options.signer; sessions may be NULL where no vault has a role.
 */
enum aws_ready secret_signer_for(struct credential_chain *chain, struct aws_sessions *sessions,
                                 const struct secret_origin *origin, struct secret_signer *out,
                                 err *why, const char **detail);

#endif
