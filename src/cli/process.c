/* sallyport reload, stop, quit, drain, health: what is done to a running process, by its prefix. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/time.h"
#include "cli/cli.h"
#include "cli/configuration.h"
#include "cli/node.h"
#include "cli/options.h"
#include "cli/process.h"
#include "config/node_text.h"
#include "gateway/control.h"
#include "gateway/config_host.h"
#include "gateway/snapshot.h"
#include "gateway/words.h"

#include <unistd.h>

enum {
    STOP_WAIT_MS = 10000,
    /* The node's own end needs this long after its deadline, to cancel what still runs. */
    QUIT_GRACE_MS = 2500,
    LOOK_MS = 50,
    STARTED_MAX_BYTES = 1 << 20,
};

struct process_options {
    struct cli_options common;
    uint64_t timeout_s; /* of quit: how long calls may go on */
    uint64_t wait_s;    /* of quit: how long before it begins */
};

struct process_command {
    const char *usage;
    int (*act)(const struct node_config *node, const struct process_options *o);
    bool takes_times;
    bool prefix_suffices;
};

static int not_running(const struct node_config *node)
{
    fprintf(stderr, "Error: sallyport is not running in %.*s\n", VIEW_ARG(node->prefix));
    return 1;
}

/* False with a message when none runs, or that cannot be told. */
static bool find(const struct node_config *node, struct cli_process *out)
{
    int failure = cli_process_find(node, out);

    if (failure != 0)
        fprintf(stderr, "Error: %.*s/sallyport.pid: %s\n", VIEW_ARG(node->prefix),
                strerror(failure));
    else if (out->pid == 0)
        not_running(node);
    return failure == 0 && out->pid != 0;
}

/* The first look of a command: says, too, what is odd. */
static bool runs(const struct node_config *node)
{
    struct cli_process p;

    if (!find(node, &p))
        return false;
    if (p.pid > 0 && p.told != p.pid)
        fprintf(stderr, "Warning: %.*s/sallyport.pid does not name the process that holds its "
                "lock, which is %ld; that one is meant\n", VIEW_ARG(node->prefix), (long)p.pid);
    return true;
}

static int send_signal(const struct node_config *node, int number)
{
    struct cli_process p;

    if (!find(node, &p))
        return 1;
    if (p.pid < 0) {
        fprintf(stderr, "Error: the process that runs in %.*s is in another PID namespace: it "
                "cannot be signalled from here\n", VIEW_ARG(node->prefix));
        return 1;
    }
    if (kill(p.pid, number) != 0) {
        perror("Error: kill");
        return 1;
    }
    return 0;
}

/* What the running process was started with stands in its prefix. */
static void tell_of_restart(const struct node_config *node)
{
    char path[CLI_PATH_BYTES];
    struct buf before, names;
    ssize_t n = 1;

    snprintf(path, sizeof path, "%.*s/" STARTED_FILE, VIEW_ARG(node->prefix));
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    buf_init(&before, STARTED_MAX_BYTES);
    buf_init(&names, STARTED_MAX_BYTES);
    while (fd >= 0 && n > 0 && buf_reserve(&before, 4096)) {
        n = read(fd, before.data + before.len, 4096);
        before.len += n > 0 ? (size_t)n : 0;
    }
    if (fd >= 0)
        close(fd);
    if (node_text_changed(buf_view(&before), node, &names) > 0)
        printf("changed, and in force only after a restart: %.*s\n", VIEW_ARG(buf_view(&names)));
    buf_clear(&before);
    buf_clear(&names);
    puts("the environment, that of AWS included, is read once, at the start");
}

/* Checks first, so that the mistakes are seen where the command was given; the running process
 * checks again and refuses a bad file by itself. */
static int reload(const struct node_config *node, const struct process_options *o)
{
    struct arena arena;
    struct diagnostics d = {.arena = &arena};
    struct config_host host = config_host_offline;
    const struct snapshot_makers nothing = {.host = &host};
    struct cli_configuration read;
    struct snapshot *s = NULL;

    if (!runs(node))
        return 1;
    if (!cli_configuration_open(node, &o->common, &read))
        return 1;
    arena_init(&arena, 16 * 1024, 64 * 1024 * 1024);
    host.node = node;
    err e = snapshot_build(read.path, &nothing, &d, &s);
    cli_configuration_name(&read, &d);
    cli_configuration_close(&read);
    diag_print(&d, STDERR_FILENO);
    snapshot_release(s);
    arena_clear(&arena);
    if (failed(e)) {
        fprintf(stderr, "Error: %s; the running configuration stays\n", e.fault->text);
        return 1;
    }
    if (send_signal(node, SIGHUP) != 0)
        return 1;
    puts("sallyport loads what it serves anew, and its certificate");
    tell_of_restart(node);
    return 0;
}

int process_stop(const struct node_config *node)
{
    if (!runs(node) || send_signal(node, SIGTERM) != 0)
        return 1;
    if (!cli_wait_end(node, STOP_WAIT_MS)) {
        fputs("Error: sallyport has not ended within 10 s\n", stderr);
        return 1;
    }
    puts("sallyport stopped");
    return 0;
}

static int stop(const struct node_config *node, const struct process_options *o)
{
    (void)o;
    return process_stop(node);
}

/* The node goes on serving meanwhile: who calls it has the time to hear that it will go.  False
 * when it has ended by itself. */
static bool wait_before(const struct node_config *node, uint64_t wait_s)
{
    int64_t end_ns = time_monotonic_ns() + (int64_t)wait_s * 1000000000;

    while (time_monotonic_ns() < end_ns) {
        if (!cli_running(node))
            return false;
        poll(NULL, 0, LOOK_MS);
    }
    return true;
}

/* As Kong's: a timeout is no failure, and neither is a node that ended while it was waited for. */
static int quit(const struct node_config *node, const struct process_options *o)
{
    uint64_t timeout_s = o->timeout_s > 0 ? o->timeout_s : 1;

    if (!runs(node))
        return 1;
    if (o->common.verbose > 0 && o->wait_s > 0)
        fprintf(stderr, "[verbose] waiting %llu seconds before quitting\n",
                (unsigned long long)o->wait_s);
    if (!wait_before(node, o->wait_s)) {
        fputs("sallyport stopped while waiting (unexpected)\n", stderr);
        return 0;
    }
    /* Without it the node gives its calls shutdown_timeout_ms.  A moment longer than is waited for
     * here, so that it is sure which of the two ends below it was. */
    (void)words_leave(node, WORD_QUIT, timeout_s * 1000 + QUIT_GRACE_MS / 2);
    if (send_signal(node, SIGQUIT) != 0)
        return 1;
    if (cli_wait_end(node, (int64_t)timeout_s * 1000)) {
        puts("sallyport stopped (gracefully)");
        return 0;
    }
    if (!cli_wait_end(node, QUIT_GRACE_MS)) {
        struct cli_process p;
        if (cli_process_find(node, &p) == 0 && p.pid > 0)
            kill(p.pid, SIGTERM);
        if (!cli_wait_end(node, STOP_WAIT_MS)) {
            fputs("Error: sallyport has not ended within 10 s\n", stderr);
            return 1;
        }
    }
    puts("Timeout, sallyport stopped forcefully");
    return 0;
}

static int drain(const struct node_config *node, const struct process_options *o)
{
    (void)o;
    if (!runs(node))
        return 1;
    if (node->status_listen.count == 0) {
        puts("No status listeners found in configuration.");
        return 0;
    }
    int failure = words_leave(node, WORD_DRAIN, 1);
    if (failure != 0) {
        fprintf(stderr, "Error: %.*s/" WORD_DRAIN ": %s\n", VIEW_ARG(node->prefix),
                strerror(failure));
        return 1;
    }
    puts("sallyport's status successfully changed to 'draining'");
    return 0;
}

static int health(const struct node_config *node, const struct process_options *o)
{
    (void)o;
    if (!runs(node))
        return 1;
    printf("sallyport is healthy at %.*s\n", VIEW_ARG(node->prefix));
    return 0;
}

static const struct process_command reload_command = {
    "usage: sallyport reload [OPTION...]\n\n"
    "Checks the configuration and has the running process load it; drops no connection.\n\n"
    CLI_OPTIONS_HELP,
    reload, false, false};
static const struct process_command stop_command = {
    "usage: sallyport stop [OPTION...]\n\nStops the running process now.\n\n"
    CLI_OPTIONS_HELP,
    stop, false, true};
static const struct process_command quit_command = {
    "usage: sallyport quit [OPTION...]\n\n"
    "Has the running process finish its calls and end; stops it after the timeout.\n\n"
    "  -t, --timeout SECONDS  how long calls may go on; 10, 1 at least\n"
    "  -w, --wait SECONDS     serves on so long before it begins; 0\n"
    CLI_OPTIONS_HELP
    "\nexit: 0, also after the timeout; 1 when no process runs in the prefix\n",
    quit, true, true};
static const struct process_command drain_command = {
    "usage: sallyport drain [OPTION...]\n\n"
    "Has /status/ready of the running process answer 503 from now on; calls are served as before.\n"
    "\n"
    CLI_OPTIONS_HELP,
    drain, false, true};
static const struct process_command health_command = {
    "usage: sallyport health [OPTION...]\n\n"
    CLI_OPTIONS_HELP
    "\nexit: 0 when a process runs in the prefix, 1 otherwise\n",
    health, false, true};

static int act(const struct process_command *command, const struct process_options *o)
{
    struct node_config node;
    struct arena arena;

    arena_init(&arena, 16 * 1024, 16 * 1024 * 1024);
    /* A mistake in the file must not keep a running process from being stopped or probed. */
    bool loaded = (command->prefix_suffices ? cli_load_prefix : cli_load_node)(&arena, &o->common,
                                                                              &node);
    int code = loaded ? command->act(&node, o) : 1;
    arena_clear(&arena);
    return code;
}

static int run(const struct process_command *command, int argc, char **argv)
{
    enum { DAY_S = 86400 };
    static const struct option options[] = {CLI_OPTIONS,
                                            {"timeout", required_argument, NULL, 't'},
                                            {"wait", required_argument, NULL, 'w'},
                                            {0}};
    struct process_options o = {.common = {.usage = command->usage}, .timeout_s = 10};
    int option;

    while ((option = getopt_long(argc, argv, CLI_LETTERS "t:w:", options, NULL)) != -1) {
        bool own = command->takes_times && (option == 't' || option == 'w');
        bool good = own ? view_to_u64(view_str(optarg), DAY_S,
                                      option == 't' ? &o.timeout_s : &o.wait_s)
                        : cli_option(&o.common, option, optarg);
        if (!good)
            return cli_misused(&o.common);
    }
    if (o.common.help)
        return cli_help(&o.common);
    return optind < argc ? cli_misused(&o.common) : act(command, &o);
}

static int run_reload(int argc, char **argv)
{
    return run(&reload_command, argc, argv);
}

static int run_stop(int argc, char **argv)
{
    return run(&stop_command, argc, argv);
}

static int run_quit(int argc, char **argv)
{
    return run(&quit_command, argc, argv);
}

static int run_drain(int argc, char **argv)
{
    return run(&drain_command, argc, argv);
}

static int run_health(int argc, char **argv)
{
    return run(&health_command, argc, argv);
}

const struct command command_reload = {
    "reload", "has the running process load its configuration anew", run_reload};
const struct command command_stop = {"stop", "stops the running process", run_stop};
const struct command command_quit = {"quit", "ends the running process when its calls are done",
                                     run_quit};
const struct command command_drain = {"drain", "has the running process say that it is not ready",
                                      run_drain};
const struct command command_health = {"health", "tells whether a process runs", run_health};
