#include "net/fetch_rules.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>

#include "net/fetch.h"

const struct fault fetch_refused_url = {
    "fetch_refused_url", "the URL is malformed, or neither https nor http to a local address",
    NULL, 0};

bool fetch_address_is_local(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof in);
        uint32_t ip = ntohl(in.sin_addr.s_addr);
        return ip >> 24 == 127 || ip >> 16 == (169 << 8 | 254);
    }
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 in;
        memcpy(&in, address, sizeof in);
        return IN6_IS_ADDR_LOOPBACK(&in.sin6_addr) ||
               view_eq(view_of(in.sin6_addr.s6_addr, 4), VIEW("\xfd\x00\x0e\xc2"));
    }
    return false;
}

/* The host as curl's parser gives it: names as written, IPv4 normalised, IPv6 in brackets. */
static bool host_is_local(struct view host)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    char text[INET6_ADDRSTRLEN];

    if (view_eq_nocase(host, VIEW("localhost")))
        return true;
    bool bracketed = host.len > 2 && host.data[0] == '[' && host.data[host.len - 1] == ']';
    if (bracketed)
        host = view_upto(view_from(host, 1), host.len - 2);
    if (host.len >= sizeof text)
        return false;
    memcpy(text, host.data, host.len);
    text[host.len] = '\0';
    if (bracketed)
        return inet_pton(AF_INET6, text, &in6.sin6_addr) == 1 &&
               fetch_address_is_local((const struct sockaddr *)&in6);
    return inet_pton(AF_INET, text, &in.sin_addr) == 1 &&
           fetch_address_is_local((const struct sockaddr *)&in);
}

/* One part of the URL; NULL when it has none. */
static char *part(CURLU *url, CURLUPart which)
{
    char *text = NULL;
    return curl_url_get(url, which, &text, 0) == CURLUE_OK ? text : NULL;
}

err fetch_check_url(const char *text, struct fetch_target *out)
{
    err e = fail(&fetch_refused_url);
    CURLU *url = curl_url();

    if (url == NULL)
        return fail(&fault_out_of_memory);
    /* The same parser as the transfer's, so that what is judged is what is asked. */
    if (curl_url_set(url, CURLUPART_URL, text, CURLU_PATH_AS_IS | CURLU_DISALLOW_USER) ==
        CURLUE_OK) {
        char *scheme = part(url, CURLUPART_SCHEME), *host = part(url, CURLUPART_HOST);
        if (scheme != NULL && host != NULL) {
            out->local = host_is_local(view_str(host));
            out->plain = strcmp(scheme, "http") == 0;
            if (strcmp(scheme, "https") == 0 || (out->plain && out->local))
                e = OK;
        }
        curl_free(scheme);
        curl_free(host);
    }
    curl_url_cleanup(url);
    return e;
}

/* Caches may hold a delta-seconds beyond this as this (RFC 9111 section 1.2.2). */
static const uint64_t longest_age_s = UINT64_C(1) << 31;

static int64_t delta_seconds(struct view text)
{
    uint64_t seconds;

    if (text.len >= 2 && text.data[0] == '"' && text.data[text.len - 1] == '"')
        text = view_upto(view_from(text, 1), text.len - 2);
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return 0;
    }
    if (text.len == 0)
        return 0;
    return view_to_u64(text, longest_age_s, &seconds) ? (int64_t)seconds : (int64_t)longest_age_s;
}

void fetch_cache_control(struct view value, int64_t *max_age_s)
{
    while (value.data != NULL) {
        struct view directive, name;
        value = view_cut(value, ',', &directive);
        struct view argument = view_trim(view_cut(directive, '=', &name));
        int64_t age;
        name = view_trim(name);
        if (view_eq_nocase(name, VIEW("max-age")))
            age = delta_seconds(argument);
        else if (view_eq_nocase(name, VIEW("no-cache")) || view_eq_nocase(name, VIEW("no-store")))
            age = 0;
        else
            continue;
        if (*max_age_s < 0 || age < *max_age_s)
            *max_age_s = age;
    }
}
