/* Properties of kong.conf that this version does not have. */
#ifndef SALLYPORT_CONFIG_KONG_PROPERTIES_H
#define SALLYPORT_CONFIG_KONG_PROPERTIES_H

#include <stdbool.h>

#include "base/view.h"

/* True for a property of Kong's (lower case), by name or by family (nginx_…, pg_…). */
bool kong_property_known(struct view name);

#endif
