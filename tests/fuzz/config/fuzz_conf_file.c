/* sallyport.conf: refused with a reason, or accepted with every rule kept. */
#include <stdint.h>
#include <stdlib.h>

#include "config/config.h"
#include "config/value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *variable(const struct config_host *host, const char *name)
{
    (void)host;
    return strcmp(name, "NONE") == 0 ? NULL : "1";
}

static void require(int condition)
{
    if (!condition)
        abort();
}

static void check_listens(const struct node_config *n, const struct listens *l)
{
    for (size_t i = 0; i < l->count; i++) {
        const struct listen *at = &l->items[i];
        require(at->port > 0 && at->host.len > 0);
        require(at->tls || n->allow_plaintext || host_is_loopback(at->host));
        require(!at->tls || (n->ssl_cert.len > 0 && n->ssl_cert_key.len > 0));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct config_host host = {.variable = variable};
    struct arena arena;
    struct node_config node;

    arena_init(&arena, 4096, 1 << 24);
    struct diagnostics d = {.arena = &arena};
    struct node_config_sources sources = {
        .conf_file = "etc/f.conf",
        .conf_text = view_of(size > 0 ? (const char *)data : "", size),
        .host = &host};
    err outcome = node_config_load(&arena, &sources, &node, &d);
    require(failed(outcome) == (d.errors > 0) || is_fault(outcome, &fault_out_of_memory));
    if (!failed(outcome)) {
        check_listens(&node, &node.proxy_listen);
        check_listens(&node, &node.status_listen);
        require(node.prefix.len > 0 && node.log_level.len > 0 && node.audit_directory.len > 0);
    }
    arena_clear(&arena);
    return 0;
}
