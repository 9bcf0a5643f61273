#include "config/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config.h"

enum { CHUNK_BYTES = 64 << 10 };

const char *file_read_all(int fd, struct buf *out)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return strerror(errno);
    if (!S_ISREG(st.st_mode) && !S_ISFIFO(st.st_mode)) /* <(command) is a pipe */
        return "not a regular file";
    for (;;) {
        if (!buf_reserve(out, CHUNK_BYTES))
            return "the file is too large";
        ssize_t n = read(fd, out->data + out->len, CHUNK_BYTES);
        if (n == 0)
            return NULL;
        if (n < 0 && errno != EINTR)
            return strerror(errno);
        if (n > 0)
            out->len += (size_t)n;
    }
}

err file_read(const char *path, struct buf *out, struct diagnostics *d)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    const char *wrong = fd < 0 ? strerror(errno) : file_read_all(fd, out);

    if (fd >= 0)
        close(fd);
    if (wrong == NULL)
        return OK;
    diag_add(d, SEVERITY_ERROR, view_str(path), 0, 0, "cannot be read: %s", wrong);
    return fail(&config_unreadable);
}

struct view file_folder(struct view path)
{
    size_t end = path.len;

    while (end > 0 && path.data[end - 1] != '/')
        end--;
    if (end == 0)
        return (struct view){NULL, 0};
    return view_upto(path, end > 1 ? end - 1 : 1);
}
