#include "cli/configuration.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli/secrets.h"
#include "cli/store_login.h"
#include "config/config.h"
#include "store/document.h"
#include "store/kept.h"

enum { ARENA_BLOCK_BYTES = 16 << 10, ARENA_MAX_BYTES = 16 << 20 };

/* ---- From the database ---- */

static bool keep_in_memory(struct cli_configuration *c, struct view text)
{
    c->fd = memfd_create("configuration", MFD_CLOEXEC);
    if (c->fd < 0)
        return false;
    snprintf(c->path, sizeof c->path, "/proc/self/fd/%d", c->fd);
    while (text.len > 0) {
        ssize_t n = write(c->fd, text.data, text.len);
        if (n <= 0)
            return false;
        text = view_from(text, (size_t)n);
    }
    return true;
}

static err fetch(const struct node_config *node, struct cli_configuration *c,
                 struct store_why *why)
{
    struct store *s = NULL;
    int64_t revision;
    struct buf text;

    buf_init(&text, DOCUMENT_MAX_BYTES);
    err e = cli_store_connect(node, cli_store_reader(node), 0, &s, why);
    if (!failed(e))
        e = cli_store_text(s, &text, &revision, why);
    store_close(s);
    if (!failed(e) && !keep_in_memory(c, buf_view(&text)))
        e = fail(&fault_out_of_memory);
    buf_clear(&text);
    return e;
}

/* Only a database that cannot be reached is overlooked: a login that is refused is a mistake that
 * whoever asks can mend, though a start passes over it. */
static bool take_copy(const struct node_config *node, err e, const struct store_why *why,
                      struct cli_configuration *c)
{
    const struct view copy = node->declarative_config;

    if (!cli_store_is_away(e) || access(copy.data, F_OK) != 0) {
        cli_store_complain_reader(node, e, why);
        return false;
    }
    if (!cli_store_copy_is_whole(node))
        return false;
    fprintf(stderr, "Warning: %s%s%s; what the node read last is taken: %.*s\n", e.fault->text,
            why->text[0] != '\0' ? ": " : "", why->text, VIEW_ARG(copy));
    snprintf(c->path, sizeof c->path, "%.*s", VIEW_ARG(copy));
    c->name = c->path;
    return true;
}

/* With the secrets that a login takes; the caller has printed what there is to be said of it. */
static err load_again(const struct cli_options *options, struct arena *arena,
                      struct node_config *out, struct diagnostics *d)
{
    struct node_config_sources sources = cli_sources(options);
    struct cli_secrets *secrets = cli_secrets_new(true);

    err e = secrets == NULL ? fail(&fault_out_of_memory)
                            : cli_secrets_load_node(secrets, arena, &sources, out, d);
    cli_secrets_free(secrets);
    return e;
}

static bool open_database(const struct node_config *node, const struct cli_options *options,
                          struct cli_configuration *c)
{
    struct store_why why = {""};
    struct node_config whole;
    struct arena arena;

    store_forget_environment();
    arena_init(&arena, ARENA_BLOCK_BYTES, ARENA_MAX_BYTES);
    struct diagnostics d = {.arena = &arena};
    err e = load_again(options, &arena, &whole, &d);
    if (failed(e)) {
        /* A password that cannot be had now is a database that cannot be reached now. */
        snprintf(why.text, sizeof why.text, "%.*s",
                 VIEW_ARG(d.first != NULL ? view_upto(d.first->text, 512) : VIEW("")));
        e = fail(&store_unreachable);
    } else {
        e = fetch(&whole, c, &why);
    }
    bool good = !failed(e) || take_copy(node, e, &why, c);
    arena_clear(&arena);
    return good;
}

/* ---- Both ---- */

bool cli_configuration_open(const struct node_config *node, const struct cli_options *options,
                            struct cli_configuration *out)
{
    *out = (struct cli_configuration){.name = "the database", .fd = -1};
    if (view_is(node->database, "postgres"))
        return open_database(node, options, out);
    snprintf(out->path, sizeof out->path, "%.*s", VIEW_ARG(node->declarative_config));
    out->name = out->path;
    return true;
}

void cli_configuration_close(struct cli_configuration *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

void cli_configuration_name(const struct cli_configuration *c, struct diagnostics *d)
{
    for (struct diagnostic *e = c->fd >= 0 ? d->first : NULL; e != NULL; e = e->next) {
        if (view_is(e->file, c->path))
            e->file = view_str(c->name);
    }
}
