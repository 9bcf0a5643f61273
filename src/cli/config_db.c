#include "cli/config_db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/time.h"
#include "cli/check_files.h"
#include "cli/node.h"
#include "cli/secrets.h"
#include "cli/store_login.h"
#include "config/file.h"
#include "gateway/config_host.h"
#include "gateway/snapshot.h"
#include "store/document.h"
#include "store/keyring.h"

enum { ARENA_BLOCK_BYTES = 64 << 10, ARENA_MAX_BYTES = 1 << 30, EXIT_DIFFERENT = 2 };

struct errand {
    const char *file;
    struct arena arena; /* of documents */
    struct arena words; /* of diagnostics */
    struct diagnostics d;
    struct node_config node;
    struct config_host host;
    struct keyring ring;
    struct store *store;
};

/* ---- Files ---- */

/* The whole check of 'config parse', SQL included. */
static bool check_file(struct errand *x)
{
    const struct snapshot_makers nothing = {.host = &x->host};
    struct snapshot *s = NULL;

    err e = snapshot_build(x->file, &nothing, &x->d, &s);
    if (s != NULL) /* that other nodes have it is hoped */
        check_rds_bundle(&x->d, view_str(x->file), &s->entities, &x->node, SEVERITY_WARNING);
    snapshot_release(s);
    if (failed(e))
        fprintf(stderr, "Error: %s\n", e.fault->text);
    return !failed(e);
}

static struct view absolute_folder(struct errand *x)
{
    struct view folder = file_folder(view_str(x->file));
    char *found;

    folder = arena_copy(&x->arena, folder.len > 0 ? folder : VIEW("."));
    found = folder.data != NULL ? realpath(folder.data, NULL) : NULL;
    folder = found != NULL ? arena_copy(&x->arena, view_str(found)) : (struct view){NULL, 0};
    free(found);
    return folder;
}

static bool read_document(struct errand *x, struct store_document *out)
{
    struct buf text;

    if (!check_file(x))
        return false;
    buf_init(&text, DOCUMENT_MAX_BYTES);
    err e = file_read(x->file, &text, &x->d);
    if (!failed(e))
        e = document_from_yaml(&x->arena, view_str(x->file), absolute_folder(x), buf_view(&text),
                               out, &x->d);
    buf_clear_secure(&text);
    if (failed(e))
        fprintf(stderr, "Error: %s\n", e.fault->text);
    return !failed(e);
}

/* ---- Changes ---- */

static void print_change(const struct store_change *c)
{
    static const char marks[] = {[STORE_CREATE] = '+', [STORE_UPDATE] = '~', [STORE_DELETE] = '-'};
    const struct store_entity *e = c->entity != NULL ? c->entity : c->row;

    printf("%c %s ", marks[c->change], store_kind_name(c->kind));
    cli_print_text(e->label);
    if (c->change == STORE_UPDATE && !view_eq(c->row->label, e->label)) {
        fputs(" (was ", stdout);
        cli_print_text(c->row->label);
        putchar(')');
    }
    if (c->change == STORE_UPDATE) {
        fputs(": ", stdout);
        cli_print_text(c->fields);
    }
    putchar('\n');
}

static bool print_changes(const struct store_changes *changes)
{
    for (size_t i = 0; i < changes->count; i++)
        print_change(&changes->items[i]);
    if (changes->role_order)
        puts("~ the order of roles");
    return changes->count > 0 || changes->role_order;
}

static int diff(struct errand *x)
{
    struct store_document file, stored;
    struct store_changes changes;
    struct store_why why = {""};
    int64_t revision;

    if (!read_document(x, &file))
        return 1;
    err e = document_read(x->store, &x->arena, &stored, &revision, &why);
    if (!failed(e))
        e = document_seal(&x->arena, &x->ring, &stored, &file, &why);
    if (!failed(e))
        e = document_compare(&x->arena, &stored, &file, &changes);
    if (failed(e))
        return cli_store_complain(e, &why);
    return print_changes(&changes) ? EXIT_DIFFERENT : 0;
}

/* ---- Import, export ---- */

static int db_import(struct errand *x)
{
    struct store_document file;
    struct store_changes changes;
    struct store_why why = {""};

    if (!read_document(x, &file))
        return 1;
    err e = document_import(x->store, &x->arena, &file, &x->host, time_wall_us() / 1000000,
                            &changes, &x->d, &why);
    if (failed(e))
        return cli_store_complain(e, &why);
    if (!print_changes(&changes))
        puts("nothing to change");
    puts("import successful");
    return 0;
}

static bool write_all(int to, struct view text)
{
    while (text.len > 0) {
        ssize_t n = write(to, text.data, text.len);
        if (n < 0 && errno != EINTR)
            return false;
        if (n > 0)
            text = view_from(text, (size_t)n);
    }
    return true;
}

/* Never over a file that is there, as Kong. */
static bool write_file(const char *path, struct view text)
{
    bool standard = strcmp(path, "-") == 0;
    int to = standard ? STDOUT_FILENO : open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    bool written = to >= 0 && write_all(to, text) && (standard || fsync(to) == 0);
    if (!written)
        fprintf(stderr, "Error: %s: %s\n", path, strerror(errno));
    if (to >= 0 && !standard)
        close(to);
    return written;
}

static int db_export(struct errand *x)
{
    struct store_document stored;
    struct store_why why = {""};
    int64_t revision;
    struct buf text;

    err e = document_read(x->store, &x->arena, &stored, &revision, &why);
    if (failed(e))
        return cli_store_complain(e, &why);
    if (stored.ahead.len > 0)
        fprintf(stderr, "warning: a newer version began to change the tables (%.*s): what only "
                "that one knows is left out\n", VIEW_ARG(stored.ahead));
    buf_init(&text, DOCUMENT_MAX_BYTES);
    bool good = document_to_yaml(&stored, &text) && !buf_failed(&text);
    if (!good)
        fputs("Error: what the database holds is no configuration\n", stderr);
    good = good && write_file(x->file, buf_view(&text));
    buf_clear(&text);
    return good ? 0 : 1;
}

/* ---- The command ---- */

static const struct {
    const char *name;
    int (*run)(struct errand *x);
} actions[] = {{"db_import", db_import}, {"db_export", db_export}, {"diff", diff}};

static size_t index_of(const char *action)
{
    size_t i = 0;
    while (i < COUNT_OF(actions) && strcmp(actions[i].name, action) != 0)
        i++;
    return i;
}

bool config_db_is(const char *action)
{
    return index_of(action) < COUNT_OF(actions);
}

static int run_errand(struct errand *x, size_t action, const struct cli_options *options)
{
    int code = 1;

    arena_init(&x->arena, ARENA_BLOCK_BYTES, ARENA_MAX_BYTES);
    arena_init(&x->words, ARENA_BLOCK_BYTES, ARENA_MAX_BYTES);
    x->d.arena = &x->words;
    cli_set_log_level(options); /* what fails is said by the command */
    if (cli_load_node_secrets(&x->arena, options, &x->node)) {
        x->host = config_host_offline;
        x->host.node = &x->node;
        x->host.literal_secrets = x->node.keyring.enabled;
        x->host.imported = true;
        keyring_init(&x->ring, &x->node.keyring);
        x->store = cli_store_open(&x->node, 0);
        if (x->store != NULL)
            code = actions[action].run(x);
        store_close(x->store);
        keyring_clear(&x->ring);
    }
    diag_print(&x->d, STDERR_FILENO);
    arena_clear(&x->words);
    arena_clear(&x->arena);
    return code;
}

int config_db(struct cli_options *options, int argc, char **argv)
{
    struct errand x = {.file = NULL};
    int code;

    if (!cli_options_parse(options, argc, argv, &code))
        return code;
    if (argc - optind != 1) {
        fprintf(stderr, "Error: 'config %s' wants one FILE\n", argv[0]);
        return 1;
    }
    x.file = argv[optind];
    return run_errand(&x, index_of(argv[0]), options);
}
