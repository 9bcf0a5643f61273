#include "model/plugins.h"

const char *plugin_kind_name(enum plugin_kind kind)
{
    static const char *const names[PLUGIN_KINDS] = {
        [PLUGIN_IP_RESTRICTION] = "ip-restriction",
        [PLUGIN_REQUEST_SIZE_LIMITING] = "request-size-limiting",
        [PLUGIN_RATE_LIMITING] = "rate-limiting",
        [PLUGIN_REQUEST_TERMINATION] = "request-termination",
    };
    return names[kind];
}
