/* What a node with database = postgres serves: read from there, kept in the prefix. */
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/store_login.h"
#include "config/config.h"
#include "store/document.h"
#include "store/kept.h"

enum { ARENA_BLOCK_BYTES = 64 << 10, ARENA_MAX_BYTES = 1 << 30 };

static const struct fault store_no_document = {
    "store_no_document", "what the database holds is no configuration", NULL, 0};

const struct pg_settings *cli_store_reader(const struct node_config *node)
{
    return node->has_pg_ro ? &node->pg_ro : &node->pg;
}

err cli_store_text(struct store *s, struct buf *out, int64_t *revision, struct store_why *why)
{
    struct store_document document;
    struct arena arena;

    arena_init(&arena, ARENA_BLOCK_BYTES, ARENA_MAX_BYTES);
    err e = document_read(s, &arena, &document, revision, why);
    if (!failed(e) && (!document_to_yaml(&document, out) || buf_failed(out)))
        e = fail(&store_no_document);
    if (!failed(e) && document.ahead.len > 0)
        log_notice("store_ahead", "a newer version began to change the tables: this one reads on "
                   "what it knows, until 'sallyport migrations finish'",
                   LOG_VIEW("migrations", document.ahead));
    arena_clear(&arena);
    return e;
}

err cli_store_read(const struct node_config *node, const char *suffix, struct store *s,
                   int64_t *revision, struct store_why *why)
{
    struct buf text;

    buf_init(&text, DOCUMENT_MAX_BYTES);
    err e = cli_store_text(s, &text, revision, why);
    if (!failed(e))
        e = kept_stage(node->declarative_config.data, suffix, buf_view(&text), why);
    buf_clear(&text);
    return e;
}

bool cli_store_is_away(err e)
{
    return is_fault(e, &store_unreachable) || is_fault(e, &store_lost);
}

const char *cli_store_reader_name(const struct node_config *node)
{
    return node->has_pg_ro ? "read-only" : "read-write";
}

/* Only a database that cannot be reached is overlooked: one that says something else was meant.
 * Nor does a login that is refused end a node that restarts: a token or a grant may be late. */
static bool serve_what_is_there(const struct node_config *node, err e, const struct store_why *why,
                                struct cli_fetched *out)
{
    bool refused = is_fault(e, &store_refused);

    if ((!cli_store_is_away(e) && !refused) ||
        access(node->declarative_config.data, F_OK) != 0) {
        cli_store_complain_reader(node, e, why);
        return false;
    }
    if (refused)
        log_error("store_refused", "the configuration read last is served: the database refuses "
                  "the login", LOG_STR("connection", cli_store_reader_name(node)),
                  LOG_STR("detail", why->text), LOG_VIEW("file", node->declarative_config));
    else
        log_warn("store_unreachable", "the configuration read last is served: the database is away",
                 LOG_STR("reason", e.fault->text), LOG_STR("detail", why->text),
                 LOG_VIEW("file", node->declarative_config));
    snprintf(out->path, sizeof out->path, "%.*s", VIEW_ARG(node->declarative_config));
    out->revision = -1;
    return cli_store_copy_is_whole(node);
}

bool cli_store_copy_is_whole(const struct node_config *node)
{
    struct store_why why;

    if (!view_is(node->database, "postgres") || access(node->declarative_config.data, F_OK) != 0)
        return true;
    err e = kept_check(node->declarative_config.data, &why);
    return !failed(e) || cli_store_complain(e, &why) == 0;
}

bool cli_store_fetch(const struct node_config *node, const char *suffix, struct cli_fetched *out)
{
    struct store_why why = {""};
    struct store *s = NULL;

    store_forget_environment();
    err e = cli_store_connect(node, cli_store_reader(node), 0, &s, &why);
    if (!failed(e))
        e = cli_store_read(node, suffix, s, &out->revision, &why);
    store_close(s);
    if (failed(e))
        return serve_what_is_there(node, e, &why, out);
    snprintf(out->path, sizeof out->path, "%.*s%s", VIEW_ARG(node->declarative_config), suffix);
    log_notice("store_read", "the configuration was read from the database",
               LOG_INT("revision", out->revision));
    return true;
}
