/*
 * Kong's entity `plugins`: what is asked of calls beside the role, for all of them or for those of
 * a service, a route, a consumer.
 *
 * A plugin only ever refuses: nothing is allowed by one that no role allows.
 */
#ifndef SALLYPORT_MODEL_PLUGINS_H
#define SALLYPORT_MODEL_PLUGINS_H

#include "base/address.h"
#include "model/entities.h"

/* In the order in which they run: Kong's PRIORITY, 990, 951, 910, 2. */
enum plugin_kind {
    PLUGIN_IP_RESTRICTION,
    PLUGIN_REQUEST_SIZE_LIMITING,
    PLUGIN_RATE_LIMITING,
    PLUGIN_REQUEST_TERMINATION,
    PLUGIN_KINDS,
};

/* As Kong calls them: "ip-restriction". */
const char *plugin_kind_name(enum plugin_kind kind);

struct address_set {
    struct strings texts;              /* as written */
    const struct address_range *items; /* derived: joined (base/address.h) */
    size_t count;
};

struct ip_restriction {
    struct address_set allow; /* empty: all */
    struct address_set deny;  /* asked first */
    int64_t status;
    struct view message;
};

enum size_unit { SIZE_MEGABYTES, SIZE_KILOBYTES, SIZE_BYTES };

struct request_size_limiting {
    int64_t allowed_payload_size;
    enum size_unit size_unit;
    bool require_content_length;
    int64_t max_bytes; /* derived */
};

enum period { PERIOD_SECOND, PERIOD_MINUTE, PERIOD_HOUR, PERIOD_DAY, PERIOD_MONTH, PERIOD_YEAR,
              PERIODS };
enum limit_by { LIMIT_BY_CONSUMER, LIMIT_BY_CREDENTIAL, LIMIT_BY_IP, LIMIT_BY_SERVICE,
                LIMIT_BY_HEADER, LIMIT_BY_PATH };

struct rate_limiting {
    int64_t limits[PERIODS]; /* 0: none */
    enum limit_by limit_by;
    struct view header_name; /* of LIMIT_BY_HEADER */
    struct view path;        /* of LIMIT_BY_PATH */
    struct view policy;      /* always "local" */
    bool fault_tolerant;     /* what cannot be counted for want of memory is let through */
    bool hide_client_headers;
    int64_t error_code;
    struct view error_message;
};

struct request_termination {
    int64_t status_code;
    struct view message; /* absent: Kong's for the status, or none */
    struct view body;    /* instead of a problem; absent: none */
    struct view content_type;
    struct view trigger; /* the header or query parameter without which it rests; absent: never */
    bool echo;           /* always false */
};

struct plugin {
    struct meta meta;
    enum plugin_kind kind;
    struct view instance_name;
    bool enabled;
    struct strings protocols;
    /* As written: a name or id; absent where the plugin stands in the entity. */
    struct view service_reference, route_reference, consumer_reference;
    /* Whom it is for; NULL: all. */
    const struct service *service;
    const struct route *route;
    const struct consumer *consumer;
    union {
        struct ip_restriction ip_restriction;
        struct request_size_limiting request_size_limiting;
        struct rate_limiting rate_limiting;
        struct request_termination request_termination;
    } config;
};

#endif
