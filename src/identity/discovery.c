#include "identity/jwks.h"
#include "json/json.h"

static bool is_loopback(struct view host)
{
    struct view first;

    if (view_eq_nocase(host, VIEW("localhost")) || view_is(host, "[::1]"))
        return true;
    /* 127.0.0.0/8, written as four numbers: a name such as 127.0.0.1.example.com is none. */
    size_t parts = 0;
    for (struct view rest = host; rest.data != NULL; parts++) {
        uint64_t n;
        rest = view_cut(rest, '.', &first);
        if (!view_to_u64(first, 255, &n) || (parts == 0 && n != 127))
            return false;
    }
    return parts == 4;
}

bool key_url_allowed(struct view url)
{
    struct view rest, authority, host, port;
    uint64_t n;
    const bool plain = view_starts_with(url, VIEW("http://"));

    if (!plain && !view_starts_with(url, VIEW("https://")))
        return false;
    for (size_t i = 0; i < url.len; i++) {
        /* No blanks, no controls, no bytes beyond ASCII, no fragment, nothing that clients read in
         * different ways. */
        if (url.data[i] <= ' ' || url.data[i] > '~' || url.data[i] == '\\' || url.data[i] == '#')
            return false;
    }
    rest = view_from(url, plain ? 7 : 8);
    size_t end = 0;
    while (end < rest.len && rest.data[end] != '/' && rest.data[end] != '?')
        end++;
    authority = view_upto(rest, end);
    if (view_find(authority, '@') < authority.len)
        return false;
    size_t bracket = view_starts_with(authority, VIEW("[")) ? view_find(authority, ']') + 1 : 0;
    if (bracket > authority.len)
        return false;
    port = view_from(authority, bracket + view_find(view_from(authority, bracket), ':'));
    host = view_upto(authority, authority.len - port.len);
    if (port.len > 0 && (!view_to_u64(view_from(port, 1), 65535, &n) || n == 0))
        return false;
    return host.len > 0 && (!plain || is_loopback(host));
}

struct view discovery_url(struct arena *arena, struct view issuer)
{
    /* Section 4.1: a terminating slash of the issuer is removed first. */
    if (view_ends_with(issuer, VIEW("/")))
        issuer.len--;
    return arena_printf(arena, "%.*s/.well-known/openid-configuration", VIEW_ARG(issuer));
}

err discovery_parse(struct arena *arena, struct view text, struct view issuer,
                    struct view *jwks_uri)
{
    const struct json_value *document;
    struct view found, uri;

    *jwks_uri = (struct view){NULL, 0};
    err e = json_parse(arena, text, NULL, &document, NULL);
    if (failed(e))
        return is_fault(e, &fault_out_of_memory) ? e : fail(&discovery_malformed);
    if (!json_get_string(document, "issuer", &found) ||
        !json_get_string(document, "jwks_uri", &uri))
        return fail(&discovery_malformed);
    if (!view_eq(found, issuer))
        return fail(&discovery_issuer_mismatch);
    /* An issuer out there must not point us at a plain service of this machine. */
    if (!key_url_allowed(uri) ||
        (view_starts_with(issuer, VIEW("https:")) && !view_starts_with(uri, VIEW("https:"))))
        return fail(&discovery_url_refused);
    *jwks_uri = arena_copy(arena, uri);
    return jwks_uri->data != NULL ? OK : fail(&fault_out_of_memory);
}
