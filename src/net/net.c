#include "net/net.h"

const struct fault net_closed = {"connection_closed", "the peer closed the connection", NULL, 502};
const struct fault net_reset = {"connection_reset", "the connection broke", NULL, 502};
const struct fault net_tls = {"tls_failed", "the TLS handshake or a TLS record failed", NULL, 502};
const struct fault net_connect = {"connect_failed", "no connection could be made", NULL, 503};
const struct fault net_resolve = {"resolve_failed", "the host name has no address", NULL, 503};
const struct fault net_timeout = {"timeout", "the time allowed ran out", NULL, 504};
const struct fault net_address = {"bad_address", "not an address to listen on", NULL, 0};
const struct fault net_in_use = {"address_in_use", "another program listens there already", NULL, 0};
const struct fault net_system = {"system", "the operating system refused", NULL, 503};
