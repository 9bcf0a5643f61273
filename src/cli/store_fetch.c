/* What a node with database = postgres serves: read from there, kept in the prefix. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/node.h"
#include "cli/store_login.h"
#include "store/document.h"

enum { ARENA_BLOCK_BYTES = 64 << 10, ARENA_MAX_BYTES = 1 << 30 };

static bool write_whole(int to, struct view text)
{
    while (text.len > 0) {
        ssize_t n = write(to, text.data, text.len);
        if (n < 0 && errno != EINTR)
            return false;
        if (n > 0)
            text = view_from(text, (size_t)n);
    }
    return fsync(to) == 0;
}

/* Beside it first: whoever reads it meanwhile sees the one or the other. */
static bool keep(const char *path, struct view text)
{
    char beside[CLI_PATH_BYTES];

    snprintf(beside, sizeof beside, "%.4000s.new", path);
    int to = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool kept = to >= 0 && write_whole(to, text);
    if (to >= 0)
        close(to);
    kept = kept && rename(beside, path) == 0;
    if (!kept)
        fprintf(stderr, "Error: %s: %s\n", path, strerror(errno));
    return kept;
}

static bool keep_document(const struct node_config *node, const struct store_document *document)
{
    struct buf text;

    buf_init(&text, DOCUMENT_MAX_BYTES);
    bool good = document_to_yaml(document, &text) && !buf_failed(&text);
    if (!good)
        fputs("Error: what the database holds is no configuration\n", stderr);
    good = good && keep(node->declarative_config.data, buf_view(&text));
    buf_clear(&text);
    return good;
}

/* Only a database that cannot be reached is overlooked: one that says something else was meant. */
static bool serve_what_is_there(const struct node_config *node, err e, const struct store_why *why)
{
    bool away = is_fault(e, &store_unreachable) || is_fault(e, &store_lost);

    if (!away || access(node->declarative_config.data, R_OK) != 0) {
        cli_store_complain(e, why);
        return false;
    }
    log_warn("store_unreachable", "the configuration read last is served: the database is away",
             LOG_STR("reason", e.fault->text), LOG_STR("detail", why->text),
             LOG_VIEW("file", node->declarative_config));
    return true;
}

bool cli_store_fetch(const struct node_config *node)
{
    struct store_document document;
    struct store_why why = {""};
    struct store *s = NULL;
    struct arena arena;
    int64_t revision = 0;
    bool good;

    arena_init(&arena, ARENA_BLOCK_BYTES, ARENA_MAX_BYTES);
    err e = cli_store_connect(node, node->has_pg_ro ? &node->pg_ro : &node->pg, &s, &why);
    if (!failed(e))
        e = document_read(s, &arena, &document, &revision, &why);
    store_close(s);
    if (failed(e)) {
        good = serve_what_is_there(node, e, &why);
    } else {
        good = keep_document(node, &document);
        log_notice("store_read", "the configuration was read from the database",
                   LOG_INT("revision", revision));
    }
    arena_clear(&arena);
    return good;
}
