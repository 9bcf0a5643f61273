/* sallyport keyring: keys for secrets in the database, which of them are in use, and their
 * rotation. */
#include "store/keyring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/secret.h"
#include "cli/cli.h"
#include "cli/node.h"
#include "cli/secrets.h"
#include "cli/store_login.h"
#include "config/sealed.h"
#include "gateway/config_host.h"
#include "store/document.h"

static const char usage[] =
    "usage: sallyport keyring generate [FILE]\n"
    "       sallyport keyring status [-c SALLYPORT.CONF]\n"
    "       sallyport keyring rotate [-c SALLYPORT.CONF]\n"
    "\n"
    "  generate   makes a new key: into the file, which must not be there yet and gets mode\n"
    "             0600, or on the standard output; its id is told\n"
    "  status     prints which keys seal how many secrets in the database, and which of them\n"
    "             the keyring has\n"
    "  rotate     seals anew, by keyring_key, what other keys sealed: in one transaction, of\n"
    "             which the nodes hear.  Before it each node must have the new key as\n"
    "             keyring_key or among keyring_previous_keys, and have been reloaded\n"
    "\n"
    CLI_OPTIONS_HELP
    "\n"
    "exit: 0; 1 for a mistake; of status: 2 when secrets wait for rotate, 3 when a key is\n"
    "missing\n";

enum {
    ARENA_BLOCK_BYTES = 64 << 10,
    ARENA_MAX_BYTES = 1 << 30,
    EXIT_OLD_KEYS = 2,
    EXIT_MISSING_KEYS = 3,
    USES_MAX = 64, /* ids that are told apart */
    PLACE_SHOWN_BYTES = 256,
};

struct errand {
    struct arena arena;
    struct node_config node;
    struct config_host host;
    struct store *store;
};

/* ---- generate ---- */

static bool write_key(const char *path, struct view line)
{
    int to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    /* A file that was begun holds no whole key: the next attempt shall not trip over it. */
    bool good = to >= 0 && fchmod(to, 0600) == 0 &&
                write(to, line.data, line.len) == (ssize_t)line.len && fsync(to) == 0;
    int why = errno;

    if (to >= 0)
        close(to);
    if (to >= 0 && !good)
        unlink(path);
    if (!good)
        fprintf(stderr, "Error: %s: %s\n", path, strerror(why));
    return good;
}

static int generate(const char *path)
{
    char line[KEYRING_KEY_TEXT_BYTES + 1];
    struct keyring_key key;

    keyring_generate(line);
    bool good = keyring_key_init(&key, view_str(line));
    line[KEYRING_KEY_TEXT_BYTES - 1] = '\n';
    const struct view text = view_of(line, KEYRING_KEY_TEXT_BYTES);
    if (good && path != NULL)
        good = write_key(path, text);
    else if (good)
        good = fwrite(text.data, 1, text.len, stdout) == text.len && fflush(stdout) == 0;
    if (good)
        fprintf(path != NULL ? stdout : stderr, "the key's id is %s\n", key.id);
    secret_wipe(line, sizeof line);
    secret_wipe(&key, sizeof key);
    return good ? 0 : 1;
}

/* ---- status ---- */

/* A key that sealed something, or is in the ring. */
struct use {
    char id[KEYRING_ID_CHARS + 1];
    const char *state; /* current, previous, missing */
    size_t secrets;
    char first[PLACE_SHOWN_BYTES]; /* where one of them stands */
};

struct uses {
    struct use items[USES_MAX];
    size_t count;
    size_t references;
};

static struct use *use_of(struct uses *u, const char *id, const char *state)
{
    for (size_t i = 0; i < u->count; i++) {
        if (strcmp(u->items[i].id, id) == 0)
            return &u->items[i];
    }
    struct use *new = &u->items[u->count < USES_MAX ? u->count++ : USES_MAX - 1];
    *new = (struct use){.state = state};
    snprintf(new->id, sizeof new->id, "%s", id);
    return new;
}

static err count_secret(void *arg, const struct store_secret *s, struct buf *instead)
{
    struct uses *u = arg;
    char id[KEYRING_ID_CHARS + 1];
    (void)instead;

    if (failed(keyring_sealed_by(s->text, id))) {
        u->references++;
        return OK;
    }
    struct use *use = use_of(u, id, "missing");
    if (use->secrets++ == 0)
        snprintf(use->first, sizeof use->first, "%.*s %.*s%.*s", VIEW_ARG(s->place.kind),
                 VIEW_ARG(view_upto(s->entity->label, 128)),
                 VIEW_ARG(view_upto(s->place.field, 100)));
    return OK;
}

static int print_uses(const struct uses *u)
{
    int code = 0;

    for (size_t i = 0; i < u->count; i++) {
        const struct use *use = &u->items[i];
        printf("key %s  %-8s  %zu secret%s", use->id, use->state, use->secrets,
               use->secrets == 1 ? "" : "s");
        if (strcmp(use->state, "missing") == 0) {
            fputs(": ", stdout);
            cli_print_text(view_str(use->first));
            fputs(use->secrets > 1 ? ", …" : "", stdout);
            code = EXIT_MISSING_KEYS;
        } else if (code == 0 && use->secrets > 0 && strcmp(use->state, "previous") == 0) {
            code = EXIT_OLD_KEYS;
        }
        putchar('\n');
    }
    printf("references  %zu\n", u->references);
    return code;
}

static int status(struct errand *x)
{
    struct store_document stored;
    struct store_why why = {""};
    struct uses uses = {.count = 0};
    struct keyring ring;
    int64_t revision;

    keyring_init(&ring, &x->node.keyring);
    for (size_t i = 0; i < ring.count; i++)
        use_of(&uses, ring.keys[i].id, i == 0 && ring.has_current ? "current" : "previous");
    keyring_clear(&ring);
    err e = document_read(x->store, &x->arena, &stored, &revision, &why);
    for (enum store_kind kind = 0; kind < STORE_KINDS && !failed(e); kind++)
        e = document_each_secret(&x->arena, &stored, kind, count_secret, &uses, NULL);
    return failed(e) ? cli_store_complain(e, &why) : print_uses(&uses);
}

/* ---- rotate ---- */

static int rotate(struct errand *x)
{
    struct store_why why = {""};
    size_t done;

    if (!x->node.keyring.enabled) {
        fprintf(stderr, "Error: %s\n", keyring_off.text);
        return 1;
    }
    err e = document_rotate(x->store, &x->arena, &x->host, &done, &why);
    if (failed(e))
        return cli_store_complain(e, &why);
    if (done == 0)
        puts("nothing to rotate");
    else
        printf("%zu secret%s sealed anew\n", done, done == 1 ? "" : "s");
    return 0;
}

/* ---- The command ---- */

static int run_errand(int (*act)(struct errand *x), const struct cli_options *options)
{
    struct errand x = {.store = NULL};
    int code = 1;

    arena_init(&x.arena, ARENA_BLOCK_BYTES, ARENA_MAX_BYTES);
    cli_set_log_level(options); /* what fails is said by the command */
    if (cli_load_node_secrets(&x.arena, options, &x.node)) {
        x.host = config_host_offline;
        x.host.node = &x.node;
        x.store = cli_store_open(&x.node, 0);
        if (x.store != NULL)
            code = act(&x);
        store_close(x.store);
    }
    arena_clear(&x.arena);
    return code;
}

static int run(int argc, char **argv)
{
    struct cli_options options = {.usage = usage};
    int code;

    if (!cli_options_parse(&options, argc, argv, &code))
        return code;
    const char *action = optind < argc ? argv[optind] : "";
    int count = argc - optind;
    if (strcmp(action, "generate") == 0 && (count == 1 || count == 2))
        return generate(count == 2 ? argv[optind + 1] : NULL);
    if (strcmp(action, "status") == 0 && count == 1)
        return run_errand(status, &options);
    if (strcmp(action, "rotate") == 0 && count == 1)
        return run_errand(rotate, &options);
    return cli_misused(&options);
}

const struct command command_keyring = {
    "keyring", "keys for secrets in the database: generate, status, rotate", run};
