/* The rules that the schema's records name: checks of single values, and of fields together. */
#ifndef SALLYPORT_CONFIG_RULES_H
#define SALLYPORT_CONFIG_RULES_H

#include "config/decode.h"
#include "model/entities.h"

field_check check_name;      /* of an entity */
field_check check_uuid;
field_check check_consumer_name; /* or custom_id */
field_check check_https_url; /* https, or http to loopback */
field_check check_schema_name;
field_check check_role_name; /* of a database role */
field_check check_identifier;
field_check check_database_host;
field_check check_sslrootcert;
field_check check_pg_host; /* a database's host, or the folder of a unix socket */
field_check check_type_name;
field_check check_path_template;
field_check check_format_version;
field_check check_no_control;
field_check check_role_arn; /* of an IAM role */
field_check check_policy_arn;
field_check check_role_session_name; /* a template */
field_check check_source_identity;   /* a template, or empty */
field_check check_external_id;
field_check check_session_policy; /* its size and characters */
field_check check_plain_session_name; /* no template */
field_check check_vault_prefix;
field_check check_session_tag_key;
field_check check_session_tag_value; /* a template */

field_check check_cidr;
field_check check_header_name;
field_check check_rate_policy;
field_check check_counted_path;

/* Into plugin.kind. */
void take_plugin_name(struct decoder *d, const struct field *f, void *record,
                      const struct yaml_node *value);
void take_plugin_reference(struct decoder *d, const struct field *f, void *record,
                           const struct yaml_node *value);

void take_url(struct decoder *d, const struct field *f, void *record,
              const struct yaml_node *value);

/* A reference to a whole secret, without a KEY: kept as written. */
void take_whole_secret(struct decoder *d, const struct field *f, void *record,
                       const struct yaml_node *value);
/* Those of an endpoint: with the reference kept, and of a whole secret what it says now. */
void take_user(struct decoder *d, const struct field *f, void *record,
               const struct yaml_node *value);
void take_password(struct decoder *d, const struct field *f, void *record,
                   const struct yaml_node *value);
void take_secret(struct decoder *d, const struct field *f, void *record,
                 const struct yaml_node *value);
/* Into rotation.alternating. */
void take_strategy(struct decoder *d, const struct field *f, void *record,
                   const struct yaml_node *value);
/* Taken elsewhere, or of no effect. */
void take_nothing(struct decoder *d, const struct field *f, void *record,
                  const struct yaml_node *value);

void finish_vault(struct decoder *d, void *record, const struct yaml_node *mapping);
void finish_rotation(struct decoder *d, void *record, const struct yaml_node *mapping);
void finish_issuer(struct decoder *d, void *record, const struct yaml_node *mapping);
void finish_consumer(struct decoder *d, void *record, const struct yaml_node *mapping);
void finish_iam_auth(struct decoder *d, void *record, const struct yaml_node *mapping);
void finish_read(struct decoder *d, void *record, const struct yaml_node *mapping);
void finish_service(struct decoder *d, void *record, const struct yaml_node *mapping);
void finish_parameter(struct decoder *d, void *record, const struct yaml_node *mapping);
void finish_statement(struct decoder *d, void *record, const struct yaml_node *mapping);
void finish_route(struct decoder *d, void *record, const struct yaml_node *mapping);
void finish_allow(struct decoder *d, void *record, const struct yaml_node *mapping);
void finish_role(struct decoder *d, void *record, const struct yaml_node *mapping);

void finish_plugin(struct decoder *d, void *record, const struct yaml_node *mapping);
void finish_ip_restriction(struct decoder *d, void *record, const struct yaml_node *mapping);
void finish_request_size_limiting(struct decoder *d, void *record,
                                  const struct yaml_node *mapping);
void finish_rate_limiting(struct decoder *d, void *record, const struct yaml_node *mapping);
void finish_request_termination(struct decoder *d, void *record, const struct yaml_node *mapping);

/* All plugins of the file, wherever they stand, with whom they are for; *count of them. */
const struct plugin *link_plugins(struct decoder *d, const struct yaml_file *file, size_t *count);
/* A plugin's id when the file gives none: from its name and whom it is for, each absent or what the
 * store calls it (a consumer without a username: its id). */
struct view rules_derive_plugin_id(struct arena *arena, struct view name, struct view service,
                                   struct view route, struct view consumer);

/* Fills in the region that tokens are signed for. */
void rules_find_region(struct decoder *d, struct endpoint *e, const struct yaml_node *mapping);
/* The name that tokens are signed for. */
struct view rules_signed_name(const struct endpoint *e);
/* Whether the host name is one that RDS gives. */
bool rules_is_rds_host(struct view host);

/* What a whole secret excludes, its rotation, and what a read part inherits of the login. */
void rules_login(struct decoder *d, struct endpoint *e, const struct yaml_node *mapping);

/* Whether the field was written, and not as null. */
bool rules_written(const struct yaml_node *mapping, const char *field);

/* The node at which to report on a field: its own, or the mapping that lacks it. */
const struct yaml_node *rules_node(const struct yaml_node *mapping, const char *field);

/* An error when the file that the field names cannot be read. */
void rules_check_file(struct decoder *d, struct view path, const struct yaml_node *at);

/* An entity's id when the file gives none: a UUID of version 8 (RFC 9562 section 5.8) from its
 * kind and name, so that it stays the same as long as these do. */
struct view rules_derive_id(struct arena *arena, const char *kind, struct view name);

/* Of a consumer, which may have no username. */
struct view rules_derive_consumer_id(struct arena *arena, struct view username,
                                     struct view custom_id);

/* Rules over all entities, after all was decoded: who refers to whom. */
void rules_across(struct decoder *d, const struct entities *e);

#endif
