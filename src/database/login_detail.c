#include "database/login_detail.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "aws/region.h"
#include "base/attr.h"
#include "crypto/tls.h"
#include "database/endpoint.h"

static void append(char text[LOGIN_DETAIL_BYTES], const char *format, ...) PRINTF_LIKE(2, 3);

static void append(char text[LOGIN_DETAIL_BYTES], const char *format, ...)
{
    size_t at = strlen(text);
    va_list arguments;

    if (at > 0 && at + 2 < LOGIN_DETAIL_BYTES) {
        memcpy(text + at, "; ", sizeof "; ");
        at += 2;
    }
    va_start(arguments, format);
    vsnprintf(text + at, LOGIN_DETAIL_BYTES - at, format, arguments);
    va_end(arguments);
}

/* An IPv6 address in brackets (RFC 3986 section 3.2.2). */
#define PLACE_FORMAT "%s%.*s%s:%u"
#define PLACE_OF(e)                                                                                \
    view_find((e)->host, ':') < (e)->host.len ? "[" : "", VIEW_ARG((e)->host),                     \
        view_find((e)->host, ':') < (e)->host.len ? "]" : "", (e)->port

void login_detail_place(char text[LOGIN_DETAIL_BYTES], const struct endpoint *e, const char *what)
{
    append(text, PLACE_FORMAT ": %s", PLACE_OF(e), what);
}

void login_detail_connect(char text[LOGIN_DETAIL_BYTES], const struct endpoint *e,
                          const struct sockaddr *address, int system_error)
{
    char number[INET6_ADDRSTRLEN] = "";
    const char *why = system_error != 0 ? strerror(system_error) : "no connection could be made";

    if (address != NULL && address->sa_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)address)->sin_addr, number,
                  sizeof number);
    else if (address != NULL && address->sa_family == AF_INET6)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr,
                  number, sizeof number);
    if (number[0] == '\0' || view_is(e->host, number))
        append(text, PLACE_FORMAT ": %s", PLACE_OF(e), why);
    else
        append(text, PLACE_FORMAT " (%s): %s", PLACE_OF(e), number, why);
}

static const char *advice_for(struct view roots)
{
    if (view_is(roots, "rds") || view_is(roots, "rds+system"))
        return "is rds_ca_bundle Amazon's current global-bundle.pem?";
    return "for Amazon RDS use sslrootcert: rds, with its global-bundle.pem as rds_ca_bundle";
}

void login_detail_tls(char text[LOGIN_DETAIL_BYTES], const struct endpoint *e,
                      const struct ssl_st *session)
{
    const char *said = tls_verify_text(session);

    switch (tls_verify_kind(session)) {
    case TLS_VERIFY_OK:
        append(text, PLACE_FORMAT ": the server broke the handshake off, or speaks no TLS 1.2",
               PLACE_OF(e));
        break;
    case TLS_VERIFY_NAME:
        append(text, PLACE_FORMAT ": %s: the server's certificate is not for %.*s", PLACE_OF(e),
               said, VIEW_ARG(endpoint_tls_name(e)));
        break;
    case TLS_VERIFY_UNTRUSTED:
        append(text, PLACE_FORMAT ": %s: sslrootcert %.*s does not vouch for the server's "
               "certificate; %s", PLACE_OF(e), said, VIEW_ARG(e->sslrootcert),
               advice_for(e->sslrootcert));
        break;
    case TLS_VERIFY_OTHER:
        append(text, PLACE_FORMAT ": the server's certificate: %s", PLACE_OF(e), said);
        break;
    }
}

static bool is_cleartext(const char *method)
{
    return method != NULL && strcmp(method, "cleartext") == 0;
}

/* RDS asks members of rds_iam for the password in clear, which is where the token goes, and all
 * others for SCRAM or MD5 ("IAM database authentication" of the RDS user guide). */
void login_detail_refused(char text[LOGIN_DETAIL_BYTES], const struct endpoint *e,
                          const char *method, struct view user, struct view said)
{
    if (said.len > 0)
        append(text, "%.*s", VIEW_ARG(said));
    if (e->iam_auth.enabled && is_cleartext(method) &&
        aws_region_of_host(endpoint_tls_name(e)).len == 0)
        append(text, "the token is for %.*s, which is no endpoint's name of RDS: say that by "
               "iam_auth.hostname", VIEW_ARG(endpoint_tls_name(e)));
    else if (e->iam_auth.enabled && is_cleartext(method))
        append(text, "the IAM identity needs rds-db:connect for dbuser:.../%.*s, and the token "
               "this endpoint's own name and region", VIEW_ARG(user));
    else if (e->iam_auth.enabled)
        append(text, "the server wants a password and no token: GRANT rds_iam TO the user %.*s",
               VIEW_ARG(user));
    else if (is_cleartext(method))
        append(text, "the server wants the password in clear, as RDS does of members of rds_iam, "
               "who log in by IAM only: set iam_auth, or REVOKE rds_iam FROM the user %.*s",
               VIEW_ARG(user));
}
