/*
 * What a caller sends, bound to parameters of every source.  The first line is the query, the
 * second the content type, the third a header, the fourth the path; the rest is the body.
 */
#include <stdint.h>
#include <stdlib.h>

#include "gateway/parameters.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PARAMETER(parameter_name, parameter_type, parameter_source)                                \
    {                                                                                              \
        .name = VIEW(parameter_name), .type = VIEW(parameter_type), .source = parameter_source,    \
        .key = VIEW(parameter_name)                                                                \
    }

static struct parameter declared[] = {
    PARAMETER("id", "bigint", SOURCE_PATH),    PARAMETER("part", "text", SOURCE_PATH),
    PARAMETER("q", "text", SOURCE_QUERY),      PARAMETER("n", "numeric", SOURCE_QUERY),
    PARAMETER("u", "uuid", SOURCE_QUERY),      PARAMETER("tag", "text", SOURCE_HEADER),
    PARAMETER("who", "jsonb", SOURCE_CLAIM),   PARAMETER("t", "text", SOURCE_BODY),
    PARAMETER("j", "jsonb", SOURCE_BODY),      PARAMETER("ts", "text[]", SOURCE_BODY),
    PARAMETER("ns", "integer[]", SOURCE_BODY), PARAMETER("b", "boolean", SOURCE_BODY),
};

static bool get_header(void *ctx, struct view name, struct view *value, bool *twice)
{
    (void)name;
    *value = *(const struct view *)ctx;
    *twice = false;
    return value->data != NULL;
}

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void bind(struct arena *arena, const struct router *router, const struct route *route,
                 const struct parameter_type *types, struct view input)
{
    static const struct claim who = {VIEW("who"), CLAIM_STRING, VIEW("ann"), VIEW("\"ann\"")};
    const struct principal principal = {.claims = &who, .claim_count = 1};
    struct view query, type, header, path;
    input = view_cut(input, '\n', &query);
    input = view_cut(input, '\n', &type);
    input = view_cut(input, '\n', &header);
    input = view_cut(input, '\n', &path);
    struct router_match match;
    enum router_answer answer = router_match(router, VIEW("GET"), path, &match);
    check((answer == ROUTER_FOUND) == (match.route == route) && match.capture_count <= 2);
    const struct parameter_input in = {.captures = match.captures,
                                       .capture_count = match.capture_count,
                                       .raw_query = query,
                                       .content_type = type,
                                       .body = input,
                                       .principal = &principal,
                                       .headers = {get_header, &header}};
    struct bound_value values[COUNT_OF(declared)];
    struct parameter_error why;
    err e = parameters_bind(arena, route, types, &in, values, &why);
    if (failed(e)) {
        check(e.fault == &fault_out_of_memory || why.detail.len > 0);
        return;
    }
    for (size_t i = 0; i < COUNT_OF(declared); i++) {
        check(values[i].is_null == (values[i].text.data == NULL));
        check(view_find(values[i].text, '\0') == values[i].text.len);
        check(view_is_utf8(values[i].text));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct view paths[] = {{"/orders/{id}/{part}", 19},
                                        {"/orders/{id}/lines/{part}", 25}};
    static const struct view methods[] = {{"GET", 3}};
    struct route route = {.name = VIEW("r"),
                          .methods = {methods, 1},
                          .paths = {paths, 2},
                          .statement = {.present = true,
                                        .parameters = declared,
                                        .parameter_count = COUNT_OF(declared)}};
    struct service service = {.routes = &route, .route_count = 1};
    const struct entities entities = {.services = &service, .service_count = 1};
    struct arena arena;
    arena_init(&arena, 16384, 4 << 20);
    struct diagnostics diagnostics = {.arena = &arena};
    const struct router *router;
    const struct parameter_type *types;
    check(!failed(router_build(&arena, &entities, VIEW("f"), &diagnostics, &router)));
    check(parameters_compile(&arena, &route, VIEW("f"), &diagnostics, &types));
    bind(&arena, router, &route, types, view_of(data, size));
    arena_clear(&arena);
    return 0;
}
