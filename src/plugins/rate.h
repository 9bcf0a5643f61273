/* rate-limiting (Kong's kong/plugins/rate-limiting/handler.lua).  Private to the room. */
#ifndef SALLYPORT_PLUGINS_RATE_H
#define SALLYPORT_PLUGINS_RATE_H

#include "plugins/decide.h"

/* Counts the call; false: refused.  Adds the headers in any case. */
bool rate_limit(struct arena *arena, const struct plugin *p, const struct plugin_request *request,
                struct plugin_verdict *out);

#endif
