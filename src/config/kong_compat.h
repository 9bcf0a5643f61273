/*
 * What --kong-compat (kong_compat = on) changes: a whole kong.conf loads.  Kong's defaults hold
 * where they differ, values that Kong takes and this version has no use for are taken too, and
 * whatever has no effect is gathered in node_config.idle and told in one warning.  What would be
 * dangerous stays an error (rules of node_config.c and rules_pg.c).
 */
#ifndef SALLYPORT_CONFIG_KONG_COMPAT_H
#define SALLYPORT_CONFIG_KONG_COMPAT_H

#include "config/node_joiner.h"
#include "config/schema.h"

/* Kong's default of the property, where it is another one than the schema's; else NULL. */
const char *kong_default(const char *property);

/*
 * The value as sallyport.conf would have it, in the arena: addresses without the flags that only
 * nginx heeds, the first of several certificates, log levels above error.  What was left out is
 * noted.  Absent: there is no memory.
 */
struct view kong_value(struct joiner *j, const struct field *f, struct view value,
                       const struct property_origin *origin);

/* A property of which nothing, or not all, has an effect here.  group and why must outlive the
 * configuration, name too. */
void kong_idle(struct joiner *j, struct view name, const struct property_origin *origin,
               const char *group, const char *why);

/* What to say of a property that keeps somebody out of Kong and nobody out of here, which one
 * warning among many must not hide; NULL: it is none. */
const char *kong_lost(struct view name, struct view value);

/* After everything was joined: the one warning. */
void kong_tell(struct joiner *j);

#endif
