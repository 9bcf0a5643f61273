#include "gateway/words.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum { PATH_BYTES = 4096 + 32, NUMBER_BYTES = 32 };

#define QUIT_MAX_MS UINT64_C(86400000)

static void path_of(const struct node_config *node, const char *word, char out[PATH_BYTES])
{
    snprintf(out, PATH_BYTES, "%.*s/%s", VIEW_ARG(node->prefix), word);
}

/* Under a name of its own until it is whole: a word counts by being there. */
int words_leave(const struct node_config *node, const char *word, uint64_t number)
{
    char path[PATH_BYTES], unfinished[PATH_BYTES + NUMBER_BYTES];
    int failure = 0;

    path_of(node, word, path);
    snprintf(unfinished, sizeof unfinished, "%s.%ld", path, (long)getpid());
    /* Whoever may signal the process may be another user than it. */
    int fd = open(unfinished, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return errno;
    if (dprintf(fd, "%llu\n", (unsigned long long)number) < 0)
        failure = errno;
    if (close(fd) != 0 && failure == 0)
        failure = errno;
    if (failure == 0 && rename(unfinished, path) != 0)
        failure = errno;
    if (failure != 0)
        unlink(unfinished);
    return failure;
}

void words_forget(const struct node_config *node)
{
    char path[PATH_BYTES];

    path_of(node, WORD_QUIT, path);
    unlink(path);
    path_of(node, WORD_DRAIN, path);
    unlink(path);
}

bool words_drained(const struct node_config *node)
{
    char path[PATH_BYTES];

    path_of(node, WORD_DRAIN, path);
    return access(path, F_OK) == 0;
}

uint64_t words_quit_ms(const struct node_config *node)
{
    char path[PATH_BYTES], text[NUMBER_BYTES];
    uint64_t ms = (uint64_t)node->shutdown_timeout_ms;
    struct view line;

    path_of(node, WORD_QUIT, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return ms;
    ssize_t n = read(fd, text, sizeof text);
    close(fd);
    unlink(path);
    if (n <= 0)
        return ms;
    view_cut(view_of(text, (size_t)n), '\n', &line);
    if (!view_to_u64(line, QUIT_MAX_MS, &ms))
        ms = (uint64_t)node->shutdown_timeout_ms;
    return ms;
}
