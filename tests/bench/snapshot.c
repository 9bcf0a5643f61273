/* bench_snapshot FILE CHANGED: what it costs to make a configuration ready to serve, part by part,
 * and again beside itself, and a changed one. */
#include <stdio.h>
#include <time.h>

#include "config/config.h"
#include "config/file.h"
#include "config/yaml.h"
#include "gateway/config_host.h"
#include "gateway/snapshot.h"

enum { TIMES = 5, BLOCK_BYTES = 64 << 10, MAX_BYTES = 1 << 30 };

static const char *path;
static struct buf text;

static bool read_tree(struct arena *arena, struct diagnostics *d)
{
    return yaml_read(arena, view_str(path), buf_view(&text), d) != NULL;
}

static bool decode(struct arena *arena, struct diagnostics *d)
{
    struct entities entities;
    return !failed(
        entities_parse(arena, path, buf_view(&text), &config_host_offline, &entities, d));
}

/* Of this thread: what else the machine does is not counted. */
static double now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* The least of several times. */
static double time_of(bool (*run)(struct arena *arena, struct diagnostics *d))
{
    double best_ms = 1e9;

    for (int i = 0; i < TIMES; i++) {
        struct arena arena, words;
        arena_init(&arena, BLOCK_BYTES, MAX_BYTES);
        arena_init(&words, BLOCK_BYTES, MAX_BYTES);
        struct diagnostics d = {.arena = &words};
        double began_ms = now_ms();
        bool good = run(&arena, &d);
        double took_ms = now_ms() - began_ms;
        if (!good)
            diag_print(&d, 2);
        best_ms = took_ms < best_ms ? took_ms : best_ms;
        arena_clear(&arena);
        arena_clear(&words);
    }
    return best_ms;
}

static double build(const char *file, const struct snapshot *previous, struct snapshot **out)
{
    const struct snapshot_makers makers = {.host = &config_host_offline, .previous = previous};
    struct arena words;

    arena_init(&words, BLOCK_BYTES, MAX_BYTES);
    struct diagnostics d = {.arena = &words};
    double began_ms = now_ms();
    err e = snapshot_build(file, &makers, &d, out);
    double took_ms = now_ms() - began_ms;
    if (failed(e))
        diag_print(&d, 2);
    arena_clear(&words);
    return took_ms;
}

/* The least of several times to build the file again beside what is served. */
static double rebuild(const char *file, const struct snapshot *served, double *release_ms)
{
    double best_ms = 1e9;

    for (int i = 0; i < TIMES; i++) {
        struct snapshot *s = NULL;
        double took_ms = build(file, served, &s);
        best_ms = took_ms < best_ms ? took_ms : best_ms;
        double began_ms = now_ms();
        snapshot_release(s);
        *release_ms = now_ms() - began_ms;
    }
    return best_ms;
}

int main(int argc, char **argv)
{
    struct diagnostics d = {NULL};
    struct snapshot *s = NULL;
    double release_ms = 0;

    if (argc != 3)
        return 1;
    path = argv[1];
    buf_init(&text, YAML_MAX_BYTES);
    if (failed(file_read(path, &text, &d)))
        return 1;
    double first_ms = build(path, NULL, &s);
    if (s == NULL)
        return 1;
    double yaml_ms = time_of(read_tree), entities_ms = time_of(decode);
    double again_ms = rebuild(path, s, &release_ms);
    double changed_ms = rebuild(argv[2], s, &release_ms);
    printf("{\"routes\": %zu, \"bytes\": %zu, \"yaml_ms\": %.1f, \"entities_ms\": %.1f, "
           "\"first_ms\": %.1f, \"again_ms\": %.1f, \"changed_ms\": %.1f, "
           "\"release_ms\": %.1f, \"snapshot_bytes\": %zu}\n",
           s->route_count, text.len, yaml_ms, entities_ms, first_ms, again_ms, changed_ms,
           release_ms, s->arena.total_bytes);
    snapshot_release(s);
    buf_clear(&text);
    return 0;
}
