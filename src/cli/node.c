#include "cli/node.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/time.h"
#include "config/config.h"
#include "gateway/config_host.h"

static err load(struct arena *arena, const struct cli_options *options, struct node_config *out,
                bool warnings)
{
    struct node_config_sources sources = cli_sources(options);
    struct diagnostics d = {.arena = arena};

    sources.host = &config_host_offline;
    err e = node_config_load(arena, &sources, out, &d);
    if (warnings || d.errors > 0)
        diag_print(&d, STDERR_FILENO);
    if (failed(e))
        fprintf(stderr, "Error: %s\n", e.fault->text);
    else
        cli_tell_node(options, out);
    return e;
}

bool cli_load_node(struct arena *arena, const struct cli_options *options, struct node_config *out)
{
    return !failed(load(arena, options, out, true));
}

/* A prefix by default may be another node's: "prefx = …" must not stop that one.  Without a file
 * nothing is misspelt, and the default one is meant. */
static bool says_prefix(const struct node_config *node)
{
    if (node->conf_file.len == 0)
        return node->prefix.len > 0;
    for (size_t i = 0; i < node->origin_count; i++) {
        const struct property_origin *o = &node->origins[i];
        if (strcmp(o->property, "prefix") == 0)
            return o->kind != ORIGIN_DEFAULT && node->prefix.len > 0;
    }
    return false;
}

bool cli_load_prefix(struct arena *arena, const struct cli_options *options,
                     struct node_config *out)
{
    err e = load(arena, options, out, false);

    return !failed(e) || (is_fault(e, &config_invalid) && says_prefix(out));
}

void cli_print_text(struct view v)
{
    for (size_t i = 0; i < v.len; i++) {
        unsigned char c = (unsigned char)v.data[i];
        /* UTF-8's second byte of U+0080 to U+009F is below 0xa0. */
        bool c1 = c == 0xc2 && i + 1 < v.len && (unsigned char)v.data[i + 1] < 0xa0;
        putchar(c < 0x20 || c == 0x7f || c1 ? '?' : c);
        i += c1;
    }
}

/* Of the pid file: the first byte's lock is the claim; the second's, taken when the number stands
 * there, says who the claimant is.  It is the process's own and not of its open file (F_OFD_…), so
 * that the kernel tells whose it is (fcntl(2), l_pid); closing any descriptor of the file loses it,
 * and the process has no other. */
static const struct flock claim_lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
static const struct flock number_lock = {
    .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 1, .l_len = 1};

static void pid_path(const struct node_config *node, char out[CLI_PATH_BYTES])
{
    snprintf(out, CLI_PATH_BYTES, "%.*s/sallyport.pid", VIEW_ARG(node->prefix));
}

bool cli_make_prefix(const struct node_config *node)
{
    char path[CLI_PATH_BYTES];
    size_t len = (size_t)snprintf(path, sizeof path, "%.*s", VIEW_ARG(node->prefix));
    struct stat st;
    int failure = len < sizeof path ? 0 : ENAMETOOLONG;

    /* Those above it may be everybody's to look into, as Kong's; it is not. */
    for (size_t i = 1; i < len && failure == 0; i++) {
        if (path[i] != '/')
            continue;
        path[i] = '\0';
        if (mkdir(path, 0755) != 0 && errno != EEXIST)
            failure = errno;
        path[i] = '/';
    }
    if (failure == 0 && mkdir(path, 0700) != 0 && errno != EEXIST)
        failure = errno;
    if (failure == 0 && (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)))
        failure = ENOTDIR;
    if (failure == 0)
        return true;
    fprintf(stderr, "Error: the prefix %.*s could not be made: %s\n", VIEW_ARG(node->prefix),
            strerror(failure));
    return false;
}

int cli_claim_prefix(const struct node_config *node)
{
    char path[CLI_PATH_BYTES], prefix[CLI_PATH_BYTES];

    snprintf(prefix, sizeof prefix, "%.*s", VIEW_ARG(node->prefix));
    if (!cli_make_prefix(node))
        return -1;
    pid_path(node, path);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        fprintf(stderr, "Error: %s: %s\n", path, strerror(errno));
        return -1;
    }
    if (fcntl(fd, F_OFD_SETLK, &claim_lock) != 0) {
        fprintf(stderr, "Error: sallyport is already running in %s\n", prefix);
        close(fd);
        return -1;
    }
    if (ftruncate(fd, 0) != 0 || dprintf(fd, "%ld\n", (long)getpid()) < 0 ||
        fcntl(fd, F_SETLK, &number_lock) != 0) {
        fprintf(stderr, "Error: %s: %s\n", path, strerror(errno));
        close(fd);
        return -1;
    }
    return fd;
}

static pid_t number_in(int fd)
{
    char text[32];
    struct view line;
    uint64_t pid = 0;

    ssize_t n = read(fd, text, sizeof text);
    if (n <= 0)
        return 0;
    view_cut(view_of(text, (size_t)n), '\n', &line);
    return view_to_u64(line, INT32_MAX, &pid) ? (pid_t)pid : 0;
}

int cli_process_find(const struct node_config *node, struct cli_process *out)
{
    char path[CLI_PATH_BYTES];

    *out = (struct cli_process){0};
    pid_path(node, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : errno;
    /* Asks only: a lock taken here, however short, could make a start fail. */
    struct flock held = number_lock;
    int failure = fcntl(fd, F_GETLK, &held) == 0 ? 0 : errno;
    if (failure == 0 && held.l_type != F_UNLCK) {
        out->pid = held.l_pid > 0 ? held.l_pid : -1;
        out->told = number_in(fd);
    }
    close(fd);
    return failure;
}

bool cli_running(const struct node_config *node)
{
    struct cli_process p;

    return cli_process_find(node, &p) != 0 || p.pid != 0;
}

bool cli_wait_end(const struct node_config *node, int64_t timeout_ms)
{
    int64_t end_ns = time_monotonic_ns() + timeout_ms * 1000000;

    while (cli_running(node)) {
        if (time_monotonic_ns() > end_ns)
            return false;
        poll(NULL, 0, 20);
    }
    return true;
}
