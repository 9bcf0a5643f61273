/*
 * The metrics as text: Prometheus exposition format 0.0.4.
 *
 * Everything of the registry (base/metrics.h), what its sources say, and what is known of the
 * process itself: build, start time, resident memory, open files, CPU time.
 */
#ifndef SALLYPORT_ADMIN_METRICS_H
#define SALLYPORT_ADMIN_METRICS_H

#include "base/buf.h"
#include "base/metrics.h"

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Appends the whole exposition; out is marked failed when it does not fit. */
void metrics_render(struct metrics *m, struct buf *out);

#endif
