/* Files as both readers need them. */
#ifndef SALLYPORT_CONFIG_FILE_H
#define SALLYPORT_CONFIG_FILE_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/diag.h"
#include "base/err.h"
#include "base/view.h"

/* Appends the regular file's bytes; config_unreadable, with the reason reported, when it is not
 * there, not a file, or longer than the buffer may be. */
err file_read(const char *path, struct buf *out, struct diagnostics *d) MUST_USE;

/* Appends the rest of the descriptor's regular file or pipe.  NULL, or what is wrong. */
const char *file_read_all(int fd, struct buf *out) MUST_USE;

/* The folder part of a path, without the last '/'; absent when the path has none. */
struct view file_folder(struct view path);

#endif
