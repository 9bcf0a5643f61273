#include "cli/store_login.h"

#include <poll.h>
#include <stdio.h>

#include "base/log.h"
#include "base/time.h"
#include "cli/store_identity.h"

int cli_store_complain(err e, const struct store_why *why)
{
    fprintf(stderr, "Error: %s%s%s\n", e.fault->text, why->text[0] != '\0' ? ": " : "", why->text);
    return 1;
}

int cli_store_complain_reader(const struct node_config *node, err e, const struct store_why *why)
{
    if (!is_fault(e, &store_refused))
        return cli_store_complain(e, why);
    fprintf(stderr, "Error: %s (the %s connection): %s\n", e.fault->text,
            cli_store_reader_name(node), why->text);
    return 1;
}

/* One attempt, whose exchanges have their own time limits.  False: cancelled. */
static bool await(struct store_identity *x, int cancel_fd)
{
    int64_t left = store_identity_turn(x) - time_monotonic_ns() / 1000000;
    struct pollfd at[] = {{.fd = store_identity_fd(x), .events = POLLIN},
                          {.fd = cancel_fd, .events = POLLIN}};

    poll(at, cancel_fd > 0 ? 2 : 1, left <= 0 ? 0 : left > INT32_MAX ? INT32_MAX : (int)left);
    return cancel_fd <= 0 || at[1].revents == 0;
}

static err open_by_iam(struct store_login *login, struct store **out, struct store_why *why)
{
    struct store_identity *x;
    enum aws_ready ready;
    err e = OK;

    TRY(store_identity_new(store_region(login->pg), &x));
    while ((ready = store_identity_get(x, login->pg, &login->credentials, &e, why)) == AWS_WAIT) {
        if (!await(x, login->cancel_fd)) {
            store_identity_free(x);
            return fail(&store_unreachable);
        }
    }
    if (ready == AWS_READY) {
        login->region = store_identity_region(x);
        e = store_open(login, out, why); /* while the credentials are at hand: it mints the token */
    }
    store_identity_free(x);
    return e;
}

static bool is_off(const struct node_config *node)
{
    for (size_t i = 0; i < node->origin_count; i++) {
        if (strcmp(node->origins[i].property, "database") == 0)
            return node->origins[i].kind != ORIGIN_DEFAULT && view_is(node->database, "off");
    }
    return false;
}

err cli_store_connect(const struct node_config *node, const struct pg_settings *pg, int cancel_fd,
                      struct store **out, struct store_why *why)
{
    struct store_login login = {.node = node, .pg = pg, .cancel_fd = cancel_fd};

    *out = NULL;
    *why = (struct store_why){""};
    return pg->iam_auth ? open_by_iam(&login, out, why) : store_open(&login, out, why);
}

struct store *cli_store_open(const struct node_config *node, int64_t db_timeout_s)
{
    struct pg_settings pg = node->pg;
    struct store_why why = {""};
    struct store *s = NULL;

    if (is_off(node)) {
        fputs("Error: database = off: there is no database to work on\n", stderr);
        return NULL;
    }
    log_set_level(LOG_ERROR); /* what fails is said by the command */
    if (db_timeout_s > 0)
        pg.timeout_ms = db_timeout_s * 1000;
    store_forget_environment();
    err e = cli_store_connect(node, &pg, 0, &s, &why);
    if (failed(e))
        cli_store_complain(e, &why);
    return s;
}
