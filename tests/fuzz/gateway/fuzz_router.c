/*
 * The first line: templates, divided by blanks; each becomes a route of its own.  The second: a
 * path.  Building and matching must agree: a template without placeholders and escapes matches
 * itself.
 */
#include <stdint.h>
#include <stdlib.h>

#include "gateway/router.h"
#include "http/uri.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_ROUTES = 16 };

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void match(const struct router *router, struct view path)
{
    struct router_match m;
    enum router_answer answer = router_match(router, VIEW("HEAD"), path, &m);
    check((answer == ROUTER_FOUND) == (m.route != NULL));
    check(answer != ROUTER_FOUND || !failed(uri_path_check(path)));
    for (size_t i = 0; i < m.capture_count; i++) {
        check(m.captures[i].name.len > 0 && m.captures[i].raw.len > 0);
        check(m.captures[i].raw.data >= path.data &&
              m.captures[i].raw.data + m.captures[i].raw.len <= path.data + path.len);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct view methods[] = {{"GET", 3}};
    struct view templates[MAX_ROUTES], line, path, rest;
    struct route routes[MAX_ROUTES] = {0};
    size_t count = 0;
    path = view_cut(view_of(data, size), '\n', &line);
    for (rest = line; rest.len > 0 && count < MAX_ROUTES; count++) {
        rest = view_cut(rest, ' ', &templates[count]);
        routes[count].name = VIEW("r");
        routes[count].methods = (struct strings){methods, 1};
        routes[count].paths = (struct strings){&templates[count], 1};
        routes[count].statement.present = true;
    }
    struct service service = {.routes = routes, .route_count = count};
    const struct entities entities = {.services = &service, .service_count = 1};
    struct arena arena;
    arena_init(&arena, 16384, 4 << 20);
    struct diagnostics diagnostics = {.arena = &arena};
    const struct router *router;
    check(!failed(router_build(&arena, &entities, VIEW("f"), &diagnostics, &router)));
    match(router, path);
    for (size_t i = 0; i < count && diagnostics.errors == 0; i++) {
        struct router_match m;
        enum router_answer answer = router_match(router, VIEW("GET"), templates[i], &m);
        check(answer == ROUTER_FOUND || view_find(templates[i], '%') < templates[i].len ||
              failed(uri_path_check(templates[i])));
    }
    arena_clear(&arena);
    return 0;
}
