/*
 * Scheduled rotations: `rotation: {every: 30d}` of a service, done by this node by itself.
 *
 *   WAITING ─► GOOD ◄─► FAILED          GOOD: rotated, or not due yet
 *      └─────► FOLLOWED                 AWS rotates the secret itself: looked at once a day
 *
 * The work is done by this program as a child (`sallyport rotate SECRET --service NAME …`), so
 * that neither the loop nor a worker waits for the database or AWS, and the one who rotates by hand
 * and the one who does it by the clock are the same code.  The child looks at the secret's dates;
 * here stands only when to have it look: soon after the start by chance, then each twenty-fourth of
 * `every`, an hour at most; after a failure by chance within 1, 2, 4 … 60 minutes.  Of several
 * nodes one rotates: the child's lock in the database sees to it.
 *
 * Sans-IO: it asks the runner; its owner calls tick about once a second.  Control thread only.
 */
#ifndef SALLYPORT_GATEWAY_ROTATIONS_H
#define SALLYPORT_GATEWAY_ROTATIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/metrics.h"
#include "base/run.h"
#include "base/time.h"
#include "model/entities.h"

enum {
    ROTATIONS_FIRST_MS = 10 * 1000, /* the first look comes by chance within this time */
    ROTATIONS_LOOK_MAX_MS = 3600 * 1000,
    ROTATIONS_FOLLOWED_MS = 24 * 3600 * 1000,
    ROTATIONS_BACKOFF_FIRST_MS = 60 * 1000,
    ROTATIONS_BACKOFF_MAX_MS = 3600 * 1000,
    ROTATIONS_RUN_MS = 5 * 60 * 1000, /* a child that takes longer is killed */
    ROTATIONS_DETAIL_BYTES = 400,
    ROTATIONS_FOLLOWED_EXIT = 3, /* of `sallyport rotate` */
};

enum rotations_state {
    ROTATIONS_WAITING,
    ROTATIONS_GOOD,
    ROTATIONS_FOLLOWED,
    ROTATIONS_FAILED,
};

struct rotations_options {
    struct runner *runner;
    const struct clock *clock;
    const char *program;   /* this one: /proc/self/exe; lives as long as the rotations */
    const char *conf_file; /* what -c said; NULL: nothing */
    struct metrics *metrics; /* NULL: none */
    struct metrics_shard *shard;
};

struct rotations;

err rotations_new(const struct rotations_options *options, struct rotations **out) MUST_USE;
/* A child in flight is the runner's; its end has no effect here any more. */
void rotations_free(struct rotations *r);

/* The services that rotate, copied.  One whose secret and period stay keeps its place in time. */
void rotations_configure(struct rotations *r, const struct entities *entities);
void rotations_tick(struct rotations *r);

struct rotations_status {
    struct view service;
    struct view secret;
    enum rotations_state state;
    bool running;
    unsigned failures;    /* in a row */
    int64_t rotated_s;    /* when this node last rotated it; 0: never */
    int64_t next_look_s;  /* wall time */
    const char *detail;   /* the child's last words; never a secret */
};
/* Views live until the next call to the rotations. */
size_t rotations_status(const struct rotations *r, struct rotations_status *out, size_t capacity);
/* "waiting", "good", "followed", "failed" */
const char *rotations_state_name(enum rotations_state state);

#endif
