/* How rows of the schema's tables are written. */
#ifndef SALLYPORT_CONFIG_SCHEMA_FIELDS_H
#define SALLYPORT_CONFIG_SCHEMA_FIELDS_H

#define AT(type, member)                                                                           \
    .offset = offsetof(struct type, member), .present_offset = NO_OFFSET,                          \
    .inherit_offset = NO_OFFSET, .since = "0.1.0"
#define AT_PRESENT(type, member, present)                                                          \
    .offset = offsetof(struct type, member), .present_offset = offsetof(struct type, present),     \
    .inherit_offset = NO_OFFSET, .since = "0.1.0"
#define COUNTED(type, member, count)                                                               \
    AT(type, member), .count_offset = offsetof(struct type, count)

#define META_FIELDS(owner)                                                                         \
    {.name = "id", .type = FIELD_STRING, AT(owner, meta.id), .flags = FIELD_UNIQUE,                \
     .check = check_uuid, .doc = "The entity's UUID; derived from its kind and name by default."}, \
        {.name = "tags", .type = FIELD_STRINGS, AT(owner, meta.tags), .check = check_no_control,   \
         .doc = "Words to group entities by; without effect on what is served."},                  \
        {.name = "created_at", .type = FIELD_INTEGER, AT(owner, meta.created_at),                  \
         .unit = UNIT_EPOCH, .doc = "When the entity was made."},                                  \
        {.name = "updated_at", .type = FIELD_INTEGER, AT(owner, meta.updated_at),                  \
         .unit = UNIT_EPOCH, .doc = "When the entity was last changed."}

#define RECORD_FIELDS(array) .fields = (array), .field_count = COUNT_OF(array)

#endif
