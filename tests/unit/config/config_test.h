/* What the tests of config share: a world of their own, and a reader of their vectors. */
#ifndef CONFIG_TEST_H
#define CONFIG_TEST_H

/* Before cmocka.h, whose macro fail would meet base/err.h's function. */
#include "base/buf.h"
#include "config/config.h"
#include "gateway/config_host.h"

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

/*
 * An environment given as "NAME=value" texts, files as "/path=text" (every other path can be read,
 * but not one with "missing" in it), secrets of AWS as "prefix name key version=value".  A value
 * that is "…" is being fetched.
 */
struct test_host {
    struct config_host host;
    const char *const *variables;
    const char *const *files;
    const char *const *secrets;
    char asked[1024]; /* for secrets, each with a ';' behind it */
};

static inline const char *test_entry(const char *const *entries, const char *name)
{
    size_t len = strlen(name);

    for (size_t i = 0; entries != NULL && entries[i] != NULL; i++) {
        if (strncmp(entries[i], name, len) == 0 && entries[i][len] == '=')
            return entries[i] + len + 1;
    }
    return NULL;
}

static inline const char *test_variable(const struct config_host *host, const char *name)
{
    return test_entry(((const struct test_host *)host)->variables, name);
}

/* A file is open to all when its name says so. */
static inline const char *test_file(const struct config_host *host, const char *path,
                                    struct buf *out, bool *open_to_all)
{
    const char *text = test_entry(((const struct test_host *)host)->files, path);

    if (text == NULL)
        return "No such file or directory";
    *open_to_all = strstr(path, "open") != NULL;
    buf_add_str(out, text);
    return NULL;
}

static inline bool test_secret(const struct config_host *host, const struct vault *vault,
                               const struct secret_reference *r, struct view *out, bool *pending,
                               char *why, size_t why_size)
{
    struct test_host *t = (struct test_host *)(uintptr_t)host;
    char name[512];

    snprintf(name, sizeof name, "%.*s %.*s %.*s %u", VIEW_ARG(vault->prefix), VIEW_ARG(r->name),
             VIEW_ARG(r->key), r->version);
    snprintf(t->asked + strlen(t->asked), sizeof t->asked - strlen(t->asked), "%s;", name);
    const char *value = test_entry(t->secrets, name);
    *pending = value != NULL && strcmp(value, "…") == 0;
    snprintf(why, why_size, "no such secret: %s", name);
    *out = view_str(value);
    return value != NULL && !*pending;
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
        .host = {.host = {.variable = test_variable,
                          .readable = test_readable,
                          .file = test_file,
                          .json_member = config_host_json_member},
                 .variables = variables}};
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
