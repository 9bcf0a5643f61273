/* What the tests of config share: a world of their own, and a reader of their vectors. */
#ifndef CONFIG_TEST_H
#define CONFIG_TEST_H

/* Before cmocka.h, whose macro fail would meet base/err.h's function. */
#include "base/buf.h"
#include "config/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define assert_text(view_value, expected)                                                          \
    do {                                                                                           \
        struct view got = (view_value);                                                            \
        if (!view_is(got, (expected)))                                                             \
            fail_msg("'%.*s' is not '%s'", VIEW_ARG(got), (const char *)(expected));               \
    } while (0)

/* An environment given as "NAME=value" texts; every file can be read but one. */
struct test_host {
    struct config_host host;
    const char *const *variables;
};

static inline const char *test_variable(const struct config_host *host, const char *name)
{
    const struct test_host *t = (const struct test_host *)host;
    size_t len = strlen(name);
    for (size_t i = 0; t->variables[i] != NULL; i++) {
        if (strncmp(t->variables[i], name, len) == 0 && t->variables[i][len] == '=')
            return t->variables[i] + len + 1;
    }
    return NULL;
}

static inline bool test_readable(const struct config_host *host, const char *path)
{
    (void)host;
    return strstr(path, "missing") == NULL;
}

struct test_config {
    struct test_host host;
    struct arena arena;
    struct diagnostics d;
    struct entities e;
};

static inline void test_config_init(struct test_config *t, const char *const *variables)
{
    *t = (struct test_config){
        .host = {{.variable = test_variable, .readable = test_readable}, variables}};
    arena_init(&t->arena, 1 << 16, 1 << 26);
    t->d.arena = &t->arena;
}

static inline void test_config_clear(struct test_config *t)
{
    arena_clear(&t->arena);
}

static inline err test_parse(struct test_config *t, const char *file, struct view text)
{
    return entities_parse(&t->arena, file, text, &t->host.host, &t->e, &t->d);
}

/* What test_describe wrote. */
static inline const char *test_said(const struct buf *said)
{
    return said->data != NULL ? said->data : "";
}

static inline void test_show_difference(size_t index, struct view given, const struct buf *said,
                                        const char *wanted)
{
    print_error("case %zu:\n%.*s\nsaid:\n%.*swanted:\n%.*s\n", index, VIEW_ARG(given),
                VIEW_ARG(buf_view(said)), VIEW_ARG(view_str(wanted)));
}

/* All diagnostics as check prints them, one a line. */
static inline void test_describe(const struct diagnostics *d, struct buf *out)
{
    buf_reset(out);
    for (const struct diagnostic *e = d->first; e != NULL; e = e->next) {
        buf_printf(out, "%u:%u %s: %.*s\n", e->line, e->column,
                   e->severity == SEVERITY_ERROR ? "error" : "warning", VIEW_ARG(e->text));
    }
    buf_add_char(out, '\0');
}

static inline void test_read_vector(const char *name, struct buf *out)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/config/%s", TEST_VECTORS, name);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    buf_init(out, 1 << 20);
    assert_true(buf_reserve(out, 1 << 16));
    out->len = fread(out->data, 1, 1 << 16, f);
    fclose(f);
}

#endif
