/*
 * The built-in types that the codec knows, in one list: how a text of the type becomes a cell, its
 * OID, its array's OID, its short name (pg_type.dat of PostgreSQL 15; the OIDs never change).
 *
 * Left out are array types with another delimiter than ',' (box), and types that no route has use
 * for: those are text.  Internal to the room.
 */
#ifndef SALLYPORT_PG_TYPE_H
#define SALLYPORT_PG_TYPE_H

#include <stdint.h>

#define PG_TYPES(X)                                                                                \
    X(BOOL, 16, 1000, "bool")                                                                      \
    X(BYTES, 17, 1001, "bytea")                                                                    \
    X(TEXT, 18, 1002, "\"char\"")                                                                  \
    X(TEXT, 19, 1003, "name")                                                                      \
    X(NUMBER, 20, 1016, "int8")                                                                    \
    X(NUMBER, 21, 1005, "int2")                                                                    \
    X(NUMBER, 23, 1007, "int4")                                                                    \
    X(TEXT, 25, 1009, "text")                                                                      \
    X(NUMBER, 26, 1028, "oid")                                                                     \
    X(JSON, 114, 199, "json")                                                                      \
    X(TEXT, 142, 143, "xml")                                                                       \
    X(TEXT, 600, 1017, "point")                                                                    \
    X(TEXT, 650, 651, "cidr")                                                                      \
    X(NUMBER, 700, 1021, "float4")                                                                 \
    X(NUMBER, 701, 1022, "float8")                                                                 \
    X(TEXT, 774, 775, "macaddr8")                                                                  \
    X(TEXT, 790, 791, "money")                                                                     \
    X(TEXT, 829, 1040, "macaddr")                                                                  \
    X(TEXT, 869, 1041, "inet")                                                                     \
    X(TEXT, 1042, 1014, "bpchar")                                                                  \
    X(TEXT, 1043, 1015, "varchar")                                                                 \
    X(TEXT, 1082, 1182, "date")                                                                    \
    X(TEXT, 1083, 1183, "time")                                                                    \
    X(TIMESTAMP, 1114, 1115, "timestamp")                                                          \
    X(TIMESTAMPTZ, 1184, 1185, "timestamptz")                                                      \
    X(TEXT, 1186, 1187, "interval")                                                                \
    X(TEXT, 1266, 1270, "timetz")                                                                  \
    X(TEXT, 1560, 1561, "bit")                                                                     \
    X(TEXT, 1562, 1563, "varbit")                                                                  \
    X(NUMBER, 1700, 1231, "numeric")                                                               \
    X(TEXT, 2950, 2951, "uuid")                                                                    \
    X(TEXT, 3220, 3221, "pg_lsn")                                                                  \
    X(TEXT, 3614, 3643, "tsvector")                                                                \
    X(TEXT, 3615, 3645, "tsquery")                                                                 \
    X(JSON, 3802, 3807, "jsonb")                                                                   \
    X(TEXT, 3904, 3905, "int4range")                                                               \
    X(TEXT, 3906, 3907, "numrange")                                                                \
    X(TEXT, 3908, 3909, "tsrange")                                                                 \
    X(TEXT, 3910, 3911, "tstzrange")                                                               \
    X(TEXT, 3912, 3913, "daterange")                                                               \
    X(TEXT, 3926, 3927, "int8range")                                                               \
    X(TEXT, 4072, 4073, "jsonpath")

enum pg_kind {
    PG_KIND_TEXT, /* and whatever is not in the list */
    PG_KIND_BOOL,
    PG_KIND_NUMBER,
    PG_KIND_JSON,
    PG_KIND_BYTES,
    PG_KIND_TIMESTAMP,
    PG_KIND_TIMESTAMPTZ,
};

enum {
    PG_BOOL = 16,
    PG_INT8 = 20,
    PG_INT2 = 21,
    PG_INT4 = 23,
    PG_OID = 26,
    PG_FLOAT4 = 700,
    PG_FLOAT8 = 701,
    PG_NUMERIC = 1700,
    PG_UUID = 2950,
};

enum pg_kind pg_type_kind(uint32_t oid);

#endif
