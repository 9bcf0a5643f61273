#include "gateway/started.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "config/config.h"
#include "config/node_text.h"
#include "gateway/config_host.h"
#include "gateway/control.h"

enum { PATH_BYTES = 4096, STARTED_MAX_BYTES = 1 << 20, NAMES_MAX_BYTES = 16 * 1024 };

/* For `sallyport reload`, which tells where it was typed what will need a restart.  Nothing depends
 * on it: a file that cannot be written costs that line. */
void started_keep(struct control *c)
{
    char path[PATH_BYTES + sizeof STARTED_FILE];

    buf_init(&c->started, STARTED_MAX_BYTES);
    node_text_write(&c->started, c->node);
    snprintf(path, sizeof path, "%.*s/" STARTED_FILE, VIEW_ARG(c->node->prefix));
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool good = fd >= 0 && write(fd, c->started.data, c->started.len) == (ssize_t)c->started.len;
    if (fd >= 0)
        close(fd);
    if (!good)
        log_warn("started_not_kept", "the properties of this start could not be written down",
                 LOG_STR("file", path), LOG_STR("reason", strerror(errno)));
}

/* All of them are read at the start; what was changed since is said, so that nobody believes it
 * to be in force. */
void started_tell_of_restart(struct control *c)
{
    struct arena arena;
    struct buf names;
    struct node_config now;

    if (c->node->conf_file.len == 0)
        return;
    arena_init(&arena, 16 * 1024, 16 * 1024 * 1024);
    buf_init(&names, NAMES_MAX_BYTES);
    struct diagnostics d = {.arena = &arena};
    const struct node_config_sources sources = {.environment = environ,
                                                .conf_file = c->node->conf_file.data,
                                                .host = &config_host_offline};
    if (failed(node_config_load(&arena, &sources, &now, &d)))
        control_log_mistakes(&d);
    else if (node_text_changed(buf_view(&c->started), &now, &names) > 0)
        log_warn("restart_needed", "properties were changed that are read at the start only; "
                 "those of the start stay in force", LOG_VIEW("file", c->node->conf_file),
                 LOG_VIEW("properties", buf_view(&names)));
    buf_clear(&names);
    arena_clear(&arena);
}
