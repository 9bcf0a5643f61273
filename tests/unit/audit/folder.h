/* A folder of its own for each test, and what tests do to the files in it. */
#ifndef SALLYPORT_TESTS_AUDIT_FOLDER_H
#define SALLYPORT_TESTS_AUDIT_FOLDER_H

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/view.h"

struct folder {
    char path[64];
};

static inline void folder_make(struct folder *f)
{
    snprintf(f->path, sizeof f->path, "/tmp/sallyport-audit-XXXXXX");
    if (mkdtemp(f->path) == NULL)
        abort();
}

static inline void folder_remove(const struct folder *f)
{
    char path[512];
    DIR *d = opendir(f->path);
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        snprintf(path, sizeof path, "%s/%s", f->path, e->d_name);
        unlink(path);
    }
    if (d != NULL)
        closedir(d);
    rmdir(f->path);
}

/* The path of the file whose name ends so; the last one in the order of names. */
static inline bool folder_find(const struct folder *f, const char *end, char path[512])
{
    char best[300] = "";
    DIR *d = opendir(f->path);
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        if (view_ends_with(view_str(e->d_name), view_str(end)) && strcmp(e->d_name, best) > 0)
            snprintf(best, sizeof best, "%s", e->d_name);
    }
    if (d != NULL)
        closedir(d);
    snprintf(path, 512, "%s/%s", f->path, best);
    return best[0] != '\0';
}

/* NUL-terminated, on the heap. */
static inline char *file_read(const char *path, size_t *len)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        abort();
    fseek(f, 0, SEEK_END);
    *len = (size_t)ftell(f);
    rewind(f);
    char *text = malloc(*len + 1);
    if (text == NULL || fread(text, 1, *len, f) != *len)
        abort();
    text[*len] = '\0';
    fclose(f);
    return text;
}

static inline void file_write(const char *path, const char *text, size_t len)
{
    FILE *f = fopen(path, "wb");
    if (f == NULL || fwrite(text, 1, len, f) != len || fclose(f) != 0)
        abort();
}

/* The start of line n (from 1) of the text. */
static inline char *line_at(char *text, int n)
{
    while (--n > 0)
        text = strchr(text, '\n') + 1;
    return text;
}

#endif
