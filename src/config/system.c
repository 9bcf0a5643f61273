/* The world as configurations see it: the process's environment and file system. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config.h"
#include "config/file.h"

static const char *system_variable(const struct config_host *host, const char *name)
{
    (void)host;
    return getenv(name);
}

static bool system_readable(const struct config_host *host, const char *path)
{
    (void)host;
    return access(path, R_OK) == 0;
}

/* A named pipe would hold the open up until somebody writes. */
static int open_file(const char *path)
{
    return open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
}

static const char *system_file(const struct config_host *host, const char *path, struct buf *out,
                               bool *open_to_all)
{
    struct stat st;
    (void)host;

    int fd = open_file(path);
    if (fd < 0)
        return strerror(errno);
    const char *wrong = NULL;
    if (fstat(fd, &st) != 0)
        wrong = strerror(errno);
    else if (!S_ISREG(st.st_mode))
        wrong = "not a regular file";
    else
        wrong = file_read_all(fd, out);
    *open_to_all = wrong == NULL && (st.st_mode & S_IROTH) != 0;
    close(fd);
    return wrong;
}

static const char *system_key_file(const struct config_host *host, const char *path,
                                   struct buf *out)
{
    const char *wrong = NULL;
    struct stat st;
    (void)host;

    int fd = open_file(path);
    if (fd < 0)
        return strerror(errno);
    if (fstat(fd, &st) != 0)
        wrong = strerror(errno);
    else if (!S_ISREG(st.st_mode))
        wrong = "not a regular file";
    else if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        wrong = "others than its owner may use it; chmod go= it";
    else if (st.st_uid != geteuid() && st.st_uid != 0)
        wrong = "it belongs to another user";
    else
        wrong = file_read_all(fd, out);
    close(fd);
    return wrong;
}

const struct config_host config_system = {.variable = system_variable,
                                          .readable = system_readable,
                                          .file = system_file,
                                          .key_file = system_key_file};
