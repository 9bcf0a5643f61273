/* What the files say of a rotation: the service that logs in with the secret, and the roots. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli/rotate.h"
#include "config/config.h"

enum { ARENA_BLOCK_BYTES = 64 << 10, ARENA_MAX_BYTES = 1 << 30, ARN_SUFFIX_BYTES = 7 };

/* ---- The configuration ---- */

/* No secret is wanted here, only where services log in: any text may stand for each. */
static bool stand_in(const struct config_host *host, const struct vault *vault,
                     const struct secret_reference *reference, struct view *out, bool *pending,
                     char *why, size_t why_size)
{
    (void)host, (void)vault, (void)reference, (void)why, (void)why_size;
    *out = VIEW("unused");
    *pending = false;
    return true;
}

static const char *variable(const struct config_host *host, const char *name)
{
    const char *value = config_system.variable(host, name);
    return value != NULL ? value : "unused";
}

static const char *file(const struct config_host *host, const char *path, struct buf *out,
                        bool *open_to_all)
{
    (void)host, (void)path;
    buf_add_str(out, "unused");
    *open_to_all = false;
    return NULL;
}

static bool json_member(const struct config_host *host, struct view text, struct view key,
                        struct buf *out)
{
    (void)host, (void)text, (void)key;
    buf_add_str(out, "unused");
    return true;
}

/* arn:PARTITION:secretsmanager:REGION:ACCOUNT:secret:NAME-SUFFIX */
static struct view name_of_arn(struct view id)
{
    struct view word;

    if (!view_starts_with(id, VIEW("arn:")))
        return id;
    for (int i = 0; i < 6; i++)
        id = view_cut(id, ':', &word);
    return id;
}

static bool is_name_and_suffix(struct view full, struct view name)
{
    return full.len == name.len + ARN_SUFFIX_BYTES && view_starts_with(full, name) &&
           full.data[name.len] == '-';
}

bool rotate_same_secret(struct view name, struct view id)
{
    bool name_is_arn = view_starts_with(name, VIEW("arn:"));
    bool id_is_arn = view_starts_with(id, VIEW("arn:"));
    struct view a = name_of_arn(name), b = name_of_arn(id);

    if (view_eq(name, id))
        return true;
    if (name_is_arn == id_is_arn)
        return false;
    return view_eq(a, b) || (id_is_arn ? is_name_and_suffix(b, a) : is_name_and_suffix(a, b));
}

/* A reference to a secret in AWS Secrets Manager, or NULL. */
static const struct vault *find_vault(const struct entities *all, struct arena *arena,
                                      struct view text, struct secret_reference *out)
{
    const struct vault *vault;
    char why[SECRET_WHY_BYTES];

    if (text.len == 0 || !secret_reference_find(arena, all->vaults, all->vault_count, text, out,
                                                &vault, why))
        return NULL;
    return vault->kind == VAULT_AWS ? vault : NULL;
}

static void take_endpoint(struct rotate_config *c, const struct entities *all,
                          const struct service *s, const struct endpoint *e)
{
    struct secret_reference master;

    c->service.found = true;
    c->service.name = s->name;
    c->service.host = e->host;
    c->service.port = e->port;
    c->service.sslrootcert = e->sslrootcert;
    c->service.alternating = e->rotation.alternating;
    if (find_vault(all, &c->arena, e->rotation.master, &master) != NULL)
        c->service.master_id = master.name;
}

static bool names(struct rotate_config *c, const struct entities *all, struct view text,
                  struct view id)
{
    struct secret_reference r;
    const struct vault *vault = find_vault(all, &c->arena, text, &r);

    if (vault == NULL || !rotate_same_secret(r.name, id))
        return false;
    c->service.vault = vault;
    return true;
}

/* The service's own endpoint, or its read part where that alone logs in so.  Two vaults may have
 * secrets of one name, and services may differ in strategy: `named` says whose is meant. */
static void find_service(struct rotate_config *c, const struct entities *all, struct view id,
                         struct view named)
{
    for (size_t i = 0; i < all->service_count && !c->service.found; i++) {
        const struct service *s = &all->services[i];
        if (named.len > 0 && !view_eq(s->name, named))
            continue;
        const struct endpoint *const both[] = {&s->primary, s->has_read ? &s->read : NULL};
        for (size_t n = 0; n < COUNT_OF(both) && !c->service.found; n++) {
            const struct endpoint *e = both[n];
            if (e != NULL &&
                (names(c, all, e->secret, id) || names(c, all, e->password_reference, id)))
                take_endpoint(c, all, s, e);
        }
    }
}

/* ---- Roots ---- */

static const char *system_roots(void)
{
    static const char *const places[] = {"/etc/ssl/certs/ca-certificates.crt",
                                         "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"};
    const char *named = getenv("SSL_CERT_FILE");

    for (size_t i = 0; i < COUNT_OF(places) && named == NULL; i++) {
        if (access(places[i], R_OK) == 0)
            named = places[i];
    }
    return named != NULL ? named : places[0];
}

static bool add_file(int fd, const char *path)
{
    char chunk[16 * 1024];
    size_t n;
    FILE *in = fopen(path, "re");

    if (in == NULL)
        return false;
    while ((n = fread(chunk, 1, sizeof chunk, in)) > 0) {
        if (write(fd, chunk, n) != (ssize_t)n)
            break;
    }
    bool good = !ferror(in) && feof(in);
    fclose(in);
    return good && write(fd, "\n", 1) == 1;
}

/* libpq takes one file: of two a third is made, in memory. */
static bool join(struct rotate_config *c, const char *rds)
{
    c->roots_fd = memfd_create("roots", MFD_CLOEXEC);
    snprintf(c->roots, sizeof c->roots, "/proc/self/fd/%d", c->roots_fd);
    return c->roots_fd >= 0 && add_file(c->roots_fd, rds) && add_file(c->roots_fd, system_roots());
}

static bool find_roots(struct rotate_config *c, struct view wanted)
{
    char rds[sizeof c->roots];

    snprintf(rds, sizeof rds, "%.*s", VIEW_ARG(c->node.rds_ca_bundle));
    if (wanted.len == 0 || view_is(wanted, "rds"))
        memcpy(c->roots, rds, sizeof rds);
    else if (view_is(wanted, "system"))
        snprintf(c->roots, sizeof c->roots, "%s", system_roots());
    else if (!view_is(wanted, "rds+system"))
        snprintf(c->roots, sizeof c->roots, "%.*s", VIEW_ARG(wanted));
    else if (!join(c, rds))
        c->roots[0] = '\0';
    if (c->roots[0] != '\0' && access(c->roots, R_OK) == 0)
        return true;
    fprintf(stderr,
            "Error: the trusted certificates cannot be read: %s%sgive --sslrootcert, or put "
            "Amazon's global-bundle.pem where rds_ca_bundle says\n",
            c->roots, c->roots[0] != '\0' ? ": " : "");
    return false;
}

/* ---- Both ---- */

static bool load(struct rotate_config *c, const struct rotate_options *o, struct diagnostics *d)
{
    struct node_config *node = &c->node;
    struct config_host host = {
        .variable = variable, .secret = stand_in, .file = file, .json_member = json_member};
    struct node_config_sources sources = cli_sources(&o->common);
    struct entities all = {0};

    sources.host = &host;
    if (failed(node_config_load(&c->arena, &sources, node, d)))
        return false;
    cli_tell_node(&o->common, node);
    host.node = node;
    c->service.vault = vault_find(&node->vault_aws, 1, VIEW("aws"));
    if (!cli_configuration_open(node, &o->common, &c->served))
        return false;
    if (c->served.path[0] != '\0' &&
        failed(entities_load(&c->arena, c->served.path, &host, &all, d)))
        return false;
    find_service(c, &all, view_str(o->secret_id), o->service);
    return true;
}

bool rotate_config_open(struct rotate_config *c, struct rotate_options *o)
{
    struct diagnostics d = {.arena = &c->words};

    arena_init(&c->arena, ARENA_BLOCK_BYTES, ARENA_MAX_BYTES);
    arena_init(&c->words, ARENA_BLOCK_BYTES, ARENA_MAX_BYTES);
    if (!load(c, o, &d)) {
        cli_configuration_name(&c->served, &d);
        diag_print(&d, STDERR_FILENO);
        if (d.errors > 0)
            fputs("Error: the configuration is not valid\n", stderr);
        return false;
    }
    if (o->service.len > 0 && !c->service.found) {
        fprintf(stderr, "Error: the configuration has no service %.*s that logs in with %s\n",
                VIEW_ARG(o->service), o->secret_id);
        return false;
    }
    if (!find_roots(c, o->sslrootcert.len > 0 ? o->sslrootcert : c->service.sslrootcert))
        return false;
    o->db.roots_file = c->roots;
    return true;
}

void rotate_config_close(struct rotate_config *c)
{
    if (c->roots_fd >= 0)
        close(c->roots_fd);
    cli_configuration_close(&c->served);
    arena_clear(&c->arena);
    arena_clear(&c->words);
}
