/*
 * Kong's properties that sallyport.conf does not have: kong.conf.default of Kong 3.9 and the
 * Enterprise properties from 3.4 to 3.15, each in a group that tells why it has no effect here.
 */
#ifndef SALLYPORT_CONFIG_KONG_PROPERTIES_H
#define SALLYPORT_CONFIG_KONG_PROPERTIES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/view.h"

struct kong_group {
    const char *name; /* as one would count them: "nginx", "logs" */
    const char *why;
};

/* The group of the property; NULL when Kong has none of that name, or when it is one of ours. */
const struct kong_group *kong_property_group(struct view name);

/* True when there is a group. */
bool kong_property_known(struct view name);

#endif
