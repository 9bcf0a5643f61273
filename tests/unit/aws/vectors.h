/* Reads the vector files: blocks of "name: value" lines, one blank line after each block. */
#ifndef SALLYPORT_TESTS_AWS_VECTORS_H
#define SALLYPORT_TESTS_AWS_VECTORS_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_MAX_FIELDS = 32 };

struct block {
    size_t count;
    char *names[BLOCK_MAX_FIELDS];
    char *values[BLOCK_MAX_FIELDS];
};

static inline void block_clear(struct block *b)
{
    for (size_t i = 0; i < b->count; i++)
        free(b->names[i]);
    b->count = 0;
}

/* Turns \n into a line end, in place. */
static inline void unescape(char *text)
{
    char *to = text;
    for (const char *from = text; *from != '\0'; from++) {
        if (from[0] == '\\' && from[1] == 'n') {
            *to++ = '\n';
            from++;
        } else {
            *to++ = *from;
        }
    }
    *to = '\0';
}

static inline bool block_read(FILE *f, struct block *b)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t n;

    b->count = 0;
    while ((n = getline(&line, &size, f)) > 1 && b->count < BLOCK_MAX_FIELDS) {
        line[n - 1] = '\0';
        char *name = strdup(line), *colon = strchr(name, ':');
        if (colon == NULL)
            abort();
        *colon = '\0';
        char *value = colon[1] == ' ' ? colon + 2 : colon + 1;
        unescape(value);
        b->names[b->count] = name;
        b->values[b->count++] = value;
    }
    free(line);
    return b->count > 0;
}

static inline const char *block_get(const struct block *b, const char *name)
{
    for (size_t i = 0; i < b->count; i++) {
        if (strcmp(b->names[i], name) == 0)
            return b->values[i];
    }
    return NULL;
}

static inline FILE *vectors_open(const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/aws/%s", TEST_VECTORS, name);
    return fopen(path, "r");
}

#endif
