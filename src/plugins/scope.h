/*
 * Which plugins run for a call: of each name the most specific one, in the order of Kong's PRIORITY
 * (kong/runloop/plugins_iterator.lua).
 *
 * An index is filled once and then read by any thread; it points to the plugins, which must outlive
 * it.  Scopes are compared by the addresses of the entities.
 */
#ifndef SALLYPORT_PLUGINS_SCOPE_H
#define SALLYPORT_PLUGINS_SCOPE_H

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/map.h"
#include "model/plugins.h"

struct plugin_index {
    struct arena arena; /* of the keys */
    struct map scopes;
    struct map consumers; /* who have plugins of their own */
    bool kinds[PLUGIN_KINDS];
};

/* In the order in which they run. */
struct plugin_chain {
    const struct plugin *items[PLUGIN_KINDS];
    size_t count;
};

void plugin_index_init(struct plugin_index *index);
void plugin_index_clear(struct plugin_index *index);
/* Those that are enabled. */
err plugin_index_fill(struct plugin_index *index, const struct plugin *plugins,
                      size_t count) MUST_USE;

/* Whether calls of the consumer (NULL: of nobody) may have another chain than those of others. */
bool plugin_index_knows(const struct plugin_index *index, const struct consumer *consumer);

/* What runs for the consumer's (NULL: nobody's) calls of the route. */
void plugin_chain_find(const struct plugin_index *index, const struct service *service,
                       const struct route *route, const struct consumer *consumer,
                       struct plugin_chain *out);

#endif
