/* sallyport migrations: the tables of the configuration in PostgreSQL.  Words and exit codes are
 * those of 'kong migrations'. */
#include "store/migrations.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/node.h"
#include "cli/store_login.h"

static const char usage[] =
    "usage: sallyport migrations bootstrap|up|finish|list|status|reset [OPTION...]\n"
    "\n"
    "  bootstrap   makes the tables; when they are there, does nothing\n"
    "  up          runs new migrations, as far as nodes of the older version do not mind\n"
    "  finish      runs what 'up' left, when all nodes are of the new version\n"
    "  list        prints what has run and what has not\n"
    "  status      the same, as JSON\n"
    "  reset       drops the tables with everything in them\n"
    "\n"
    "  -f, --force          bootstrap: resets first; up: though migrations are pending\n"
    "  -y, --yes            reset: does not ask\n"
    "  -q, --quiet          prints mistakes alone\n"
    "      --db-timeout SECONDS    instead of pg_timeout\n"
    "      --lock-timeout SECONDS  how long to wait for another one that migrates (60)\n"
    CLI_OPTIONS_HELP
    "\n"
    "exit: 0; 1 for a mistake; of list: 3 when the database needs bootstrapping, 4 with pending\n"
    "migrations, 5 with new ones\n";

enum { EXIT_BOOTSTRAP = 3, EXIT_PENDING = 4, EXIT_NEW = 5, ARENA_MAX_BYTES = 16 << 20 };

struct options {
    struct cli_options common;
    bool force;
    bool yes;
    bool quiet;
    uint64_t db_timeout_s;
    uint64_t lock_timeout_s;
};

static void tell(const struct options *o, const char *text)
{
    if (!o->quiet)
        puts(text);
}

static int bootstrap(struct store *s, const struct options *o)
{
    struct store_why why = {""};
    int64_t wait_ms = (int64_t)o->lock_timeout_s * 1000;
    size_t done;

    if (o->force) {
        err e = migrations_reset(s, wait_ms, &why);
        if (failed(e) && !is_fault(e, &store_not_bootstrapped))
            return cli_store_complain(e, &why);
    }
    err e = migrations_bootstrap(s, wait_ms, &done, &why);
    if (failed(e))
        return cli_store_complain(e, &why);
    if (done == 0) {
        tell(o, "database already bootstrapped");
        return 0;
    }
    if (!o->quiet)
        printf("%zu migrations executed\n", done);
    tell(o, "database is up-to-date");
    return 0;
}

static int up(struct store *s, const struct options *o)
{
    struct store_why why = {""};
    size_t done;

    err e = migrations_up(s, (int64_t)o->lock_timeout_s * 1000, o->force, &done, &why);
    if (failed(e))
        return cli_store_complain(e, &why);
    if (done > 0 && !o->quiet)
        printf("%zu migrations executed\n", done);
    tell(o, "database is up-to-date");
    return 0;
}

static int finish(struct store *s, const struct options *o)
{
    struct store_why why = {""};
    size_t done;

    err e = migrations_finish(s, (int64_t)o->lock_timeout_s * 1000, &done, &why);
    if (failed(e))
        return cli_store_complain(e, &why);
    if (done == 0)
        tell(o, "no pending migrations to finish");
    else if (!o->quiet)
        printf("%zu migrations finished\n", done);
    return 0;
}

static void list_where(const struct migrations_status *status, const char *title, bool executed,
                       bool pending)
{
    bool first = true;

    for (size_t i = 0; i < store_migration_count; i++) {
        const struct migration_state *m = &status->states[i];
        if (m->executed != executed || m->pending != pending)
            continue;
        printf("%s%s", first ? title : ", ", store_migrations[i].name);
        first = false;
    }
    if (!first)
        putchar('\n');
}

static int list(struct store *s, const struct options *o)
{
    struct migrations_status status;
    struct store_why why = {""};

    err e = store_explain_denied(s, false, migrations_read(s, &status, &why), &why);
    if (failed(e))
        return cli_store_complain(e, &why);
    if (!status.bootstrapped) {
        tell(o, "the database needs bootstrapping: run 'sallyport migrations bootstrap'");
        return EXIT_BOOTSTRAP;
    }
    if (!o->quiet) {
        list_where(&status, "executed: ", true, false);
        list_where(&status, "pending: ", true, true);
        list_where(&status, "new: ", false, false);
        if (status.ahead[0] != '\0')
            printf("of a newer version: %s\n", status.ahead);
    }
    e = migrations_usable(&status, &why);
    if (is_fault(e, &store_newer))
        return cli_store_complain(e, &why);
    if (status.pending > 0) {
        tell(o, "run 'sallyport migrations finish'");
        return EXIT_PENDING;
    }
    if (status.missing > 0)
        tell(o, "run 'sallyport migrations up'");
    return status.missing > 0 ? EXIT_NEW : 0;
}

static void add_names(const struct migrations_status *status, const char *title, bool executed,
                      bool pending)
{
    bool first = true;

    printf(", \"%s\": [", title);
    for (size_t i = 0; i < store_migration_count; i++) {
        const struct migration_state *m = &status->states[i];
        if (m->executed != executed || m->pending != pending)
            continue;
        printf("%s\"%s\"", first ? "" : ", ", store_migrations[i].name);
        first = false;
    }
    putchar(']');
}

static int print_status(struct store *s, const struct options *o)
{
    struct migrations_status status;
    struct store_why why = {""};
    (void)o;

    err e = store_explain_denied(s, false, migrations_read(s, &status, &why), &why);
    if (failed(e))
        return cli_store_complain(e, &why);
    e = migrations_usable(&status, &why);
    printf("{\"needs_bootstrap\": %s, \"newer\": %s", status.bootstrapped ? "false" : "true",
           is_fault(e, &store_newer) ? "true" : "false");
    add_names(&status, "executed", true, false);
    add_names(&status, "pending", true, true);
    add_names(&status, "new", false, false);
    printf(", \"ahead\": %s}\n", status.ahead[0] != '\0' ? "true" : "false");
    return 0;
}

/* Asks on a terminal; elsewhere -y has to be given. */
static bool is_agreed(const struct options *o, int *code)
{
    char answer[16] = "";

    *code = 0;
    if (o->yes)
        return true;
    if (!isatty(STDIN_FILENO)) {
        fputs("Error: not a terminal: give --yes to drop the configuration\n", stderr);
        *code = 1;
        return false;
    }
    fputs("Drop the tables with the whole configuration? [y/N] ", stdout);
    fflush(stdout);
    if (fgets(answer, sizeof answer, stdin) != NULL && (answer[0] == 'y' || answer[0] == 'Y'))
        return true;
    puts("nothing was done");
    return false;
}

static int reset(struct store *s, const struct options *o)
{
    struct store_why why = {""};
    int code;

    if (!is_agreed(o, &code))
        return code;
    err e = migrations_reset(s, (int64_t)o->lock_timeout_s * 1000, &why);
    if (failed(e))
        return cli_store_complain(e, &why);
    tell(o, "the tables were dropped");
    return 0;
}

static const struct {
    const char *name;
    int (*run)(struct store *s, const struct options *o);
} actions[] = {{"bootstrap", bootstrap}, {"up", up},         {"finish", finish},
               {"list", list},           {"status", print_status}, {"reset", reset}};

static int act(const char *name, const struct options *o)
{
    struct node_config node;
    struct arena arena;
    size_t i = 0;
    int code = 1;

    while (i < COUNT_OF(actions) && strcmp(actions[i].name, name) != 0)
        i++;
    if (i == COUNT_OF(actions)) {
        fputs(usage, stderr);
        return 1;
    }
    arena_init(&arena, 16 * 1024, ARENA_MAX_BYTES);
    if (cli_load_node(&arena, &o->common, &node)) {
        struct store *s = cli_store_open(&node, (int64_t)o->db_timeout_s);
        if (s != NULL)
            code = actions[i].run(s, o);
        store_close(s);
    }
    arena_clear(&arena);
    return code;
}

static bool take(struct options *o, int option, const char *argument)
{
    switch (option) {
    case 'f':
        return o->force = true;
    case 'y':
        return o->yes = true;
    case 'q':
        return o->quiet = true;
    case 'd':
        return view_to_u64(view_str(argument), 86400, &o->db_timeout_s) && o->db_timeout_s > 0;
    case 'l':
        return view_to_u64(view_str(argument), 86400, &o->lock_timeout_s) && o->lock_timeout_s > 0;
    default:
        return cli_option(&o->common, option, argument);
    }
}

static int run(int argc, char **argv)
{
    static const struct option options[] = {CLI_OPTIONS,
                                            {"force", no_argument, NULL, 'f'},
                                            {"yes", no_argument, NULL, 'y'},
                                            {"quiet", no_argument, NULL, 'q'},
                                            {"db-timeout", required_argument, NULL, 'd'},
                                            {"lock-timeout", required_argument, NULL, 'l'},
                                            {0}};
    struct options o = {.common = {.usage = usage}, .lock_timeout_s = STORE_LOCK_WAIT_MS / 1000};
    int option;

    while ((option = getopt_long(argc, argv, CLI_LETTERS "fyq", options, NULL)) != -1) {
        if (!take(&o, option, optarg))
            return cli_misused(&o.common);
    }
    if (o.common.help)
        return cli_help(&o.common);
    if (argc - optind != 1)
        return cli_misused(&o.common);
    return act(argv[optind], &o);
}

const struct command command_migrations = {
    "migrations", "makes and renews the tables of a configuration in PostgreSQL", run};
