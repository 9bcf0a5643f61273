/* The migrations of a version after this one: what the program of this version must live with. */
#define NEWER_MIGRATIONS                                                                           \
    {"998_things",                                                                                 \
     "create table sallyport_things (id uuid primary key, service_id uuid not null"                \
     " references sallyport_services (id));"                                                       \
     "alter table sallyport_routes add column colour text default 'red'",                          \
     "alter table sallyport_routes rename column definition to definitions",                       \
     "drop table if exists sallyport_things"},                                                     \
    {"999_more", "create table sallyport_more (x integer)", NULL,                                  \
     "drop table if exists sallyport_more"},
#include "store/tables.c"
