/* sallyport reload, stop, quit, health: what is done to a running process, by its prefix. */
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "cli/cli.h"
#include "cli/configuration.h"
#include "cli/node.h"
#include "config/node_text.h"
#include "gateway/control.h"
#include "gateway/config_host.h"
#include "gateway/snapshot.h"

#include <unistd.h>

enum { STOP_WAIT_MS = 10000, QUIT_WAIT_DEFAULT_S = 10, STARTED_MAX_BYTES = 1 << 20 };

struct process_command {
    const char *usage;
    int (*act)(const struct node_config *node, int64_t timeout_s);
    bool takes_timeout;
    bool prefix_suffices;
};

static int not_running(const struct node_config *node)
{
    fprintf(stderr, "Error: sallyport is not running in %.*s\n", VIEW_ARG(node->prefix));
    return 1;
}

static int send_signal(const struct node_config *node, int number)
{
    pid_t pid = cli_running(node);

    if (pid == 0)
        return not_running(node);
    if (kill(pid, number) != 0) {
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
static int reload(const struct node_config *node, int64_t timeout_s)
{
    struct arena arena;
    struct diagnostics d = {.arena = &arena};
    struct config_host host = config_host_offline;
    const struct snapshot_makers nothing = {.host = &host};
    struct cli_configuration read;
    struct snapshot *s = NULL;

    (void)timeout_s;
    if (cli_running(node) == 0)
        return not_running(node);
    if (!cli_configuration_open(node, node->conf_file.data, &read))
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

static int stop(const struct node_config *node, int64_t timeout_s)
{
    (void)timeout_s;
    if (send_signal(node, SIGTERM) != 0)
        return 1;
    if (!cli_wait_end(node, STOP_WAIT_MS)) {
        fputs("Error: sallyport has not ended within 10 s\n", stderr);
        return 1;
    }
    puts("sallyport stopped");
    return 0;
}

static int quit(const struct node_config *node, int64_t timeout_s)
{
    if (send_signal(node, SIGQUIT) != 0)
        return 1;
    if (!cli_wait_end(node, timeout_s * 1000)) {
        puts("calls are still in flight; stopping");
        return stop(node, 0);
    }
    puts("sallyport stopped (gracefully)");
    return 0;
}

static int health(const struct node_config *node, int64_t timeout_s)
{
    (void)timeout_s;
    if (cli_running(node) == 0)
        return not_running(node);
    printf("sallyport is healthy at %.*s\n", VIEW_ARG(node->prefix));
    return 0;
}

static const struct process_command reload_command = {
    "usage: sallyport reload [-c SALLYPORT.CONF]\n\n"
    "Checks the configuration and has the running process load it; drops no connection.\n",
    reload, false, false};
static const struct process_command stop_command = {
    "usage: sallyport stop [-c SALLYPORT.CONF]\n\nStops the running process now.\n", stop, false,
    true};
static const struct process_command quit_command = {
    "usage: sallyport quit [-c SALLYPORT.CONF] [-t SECONDS]\n\n"
    "Has the running process finish its calls and end; stops it after the timeout (10 s).\n",
    quit, true, true};
static const struct process_command health_command = {
    "usage: sallyport health [-c SALLYPORT.CONF]\n\n"
    "exit: 0 when a process runs in the prefix, 1 otherwise\n",
    health, false, true};

static int act(const struct process_command *command, const char *conf_file, int64_t timeout_s)
{
    struct node_config node;
    struct arena arena;

    arena_init(&arena, 16 * 1024, 16 * 1024 * 1024);
    /* A mistake in the file must not keep a running process from being stopped or probed. */
    bool loaded = (command->prefix_suffices ? cli_load_prefix : cli_load_node)(&arena, conf_file,
                                                                              &node);
    int code = loaded ? command->act(&node, timeout_s) : 1;
    arena_clear(&arena);
    return code;
}

static int run(const struct process_command *command, int argc, char **argv)
{
    static const struct option options[] = {{"conf", required_argument, NULL, 'c'},
                                            {"timeout", required_argument, NULL, 't'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    const char *conf_file = NULL;
    uint64_t timeout_s = QUIT_WAIT_DEFAULT_S;
    int option;

    while ((option = getopt_long(argc, argv, "c:t:h", options, NULL)) != -1) {
        bool good = option == 'c' || option == 'h' ||
                    (option == 't' && command->takes_timeout &&
                     view_to_u64(view_str(optarg), 86400, &timeout_s));
        if (option == 'h' || !good) {
            fputs(command->usage, option == 'h' ? stdout : stderr);
            return option == 'h' ? 0 : 1;
        }
        if (option == 'c')
            conf_file = optarg;
    }
    if (optind < argc) {
        fputs(command->usage, stderr);
        return 1;
    }
    return act(command, conf_file, (int64_t)timeout_s);
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

static int run_health(int argc, char **argv)
{
    return run(&health_command, argc, argv);
}

const struct command command_reload = {"reload", "has the running process load its configuration anew",
                                       run_reload};
const struct command command_stop = {"stop", "stops the running process", run_stop};
const struct command command_quit = {"quit", "ends the running process when its calls are done",
                                     run_quit};
const struct command command_health = {"health", "tells whether a process runs", run_health};
