#include "plugins/decide.h"

#include "plugins/rate.h"

/* Kong's statuses and texts, where the plugin's config says no other. */
const struct fault plugin_ip_restriction = {
    "ip_restriction", "the plugin ip-restriction does not let this address in",
    "Your IP address is not allowed", 403};
const struct fault plugin_request_size_limiting = {
    "request_size_limiting", "the body is larger than the plugin request-size-limiting allows",
    "Request size limit exceeded", 413};
const struct fault plugin_request_length_required = {
    "request_length_required", "the plugin request-size-limiting wants a Content-Length",
    "A valid Content-Length header is required", 411};
const struct fault plugin_rate_limiting = {
    "rate_limiting", "the plugin rate-limiting lets no more calls through for now",
    "API rate limit exceeded", 429};
const struct fault plugin_request_termination = {
    "request_termination", "the plugin request-termination answered", "Service unavailable", 503};

static bool refuse(struct plugin_verdict *out, const struct plugin *p, const struct fault *fault,
                   int64_t status, struct view message)
{
    out->refusing = p;
    out->fault = fault;
    out->status = (int)status;
    out->message = message;
    return false;
}

/* ---- ip-restriction ---- */

static bool has(const struct address_set *set, const struct address *a)
{
    return address_ranges_have(set->items, set->count, a);
}

/* An address of no family is in no set, and not let in where there is one to be in. */
static bool restrict_ip(const struct plugin *p, const struct plugin_request *q,
                        struct plugin_verdict *out)
{
    const struct ip_restriction *r = &p->config.ip_restriction;
    bool denied = r->deny.count > 0 && (q->peer->bytes[0] == 0 || has(&r->deny, q->peer));

    if (!denied && (r->allow.count == 0 || has(&r->allow, q->peer)))
        return true;
    return refuse(out, p, &plugin_ip_restriction, r->status, r->message);
}

/* ---- request-size-limiting ---- */

void plugins_refuse_body(const struct plugin *sizing, bool expects, struct plugin_verdict *out)
{
    *out = (struct plugin_verdict){.refusing = NULL};
    (void)refuse(out, sizing, &plugin_request_size_limiting, expects ? 417 : 413,
                 view_str(plugin_request_size_limiting.client_text));
}

/* Kong wants a length of every request; here of those that may have content (RFC 9110 section
 * 8.6), so that a GET is none the worse for it. */
static bool lacks_length(const struct plugin_request *q)
{
    return q->chunked || (!q->has_length && (view_is(q->method, "POST") ||
                                             view_is(q->method, "PUT") ||
                                             view_is(q->method, "PATCH")));
}

static bool limit_size(const struct plugin *p, const struct plugin_request *q,
                       struct plugin_verdict *out)
{
    const struct request_size_limiting *r = &p->config.request_size_limiting;

    if (r->require_content_length && lacks_length(q))
        return refuse(out, p, &plugin_request_length_required, 411,
                      view_str(plugin_request_length_required.client_text));
    if (q->content_length > (uint64_t)r->max_bytes)
        return refuse(out, p, &plugin_request_size_limiting, q->expects ? 417 : 413,
                      view_str(plugin_request_size_limiting.client_text));
    out->sizing = p;
    return true;
}

/* ---- request-termination ---- */

static struct view usual_message(int64_t status)
{
    switch (status) {
    case 401:
        return VIEW("Unauthorized");
    case 404:
        return VIEW("Not found");
    case 405:
        return VIEW("Method not allowed");
    case 500:
        return VIEW("An unexpected error occurred");
    case 502:
        return VIEW("Bad Gateway");
    case 503:
        return VIEW("Service unavailable");
    default:
        return (struct view){NULL, 0};
    }
}

static bool terminate(const struct plugin *p, const struct plugin_request *q,
                      struct plugin_verdict *out)
{
    const struct request_termination *r = &p->config.request_termination;
    struct view value;

    if (r->trigger.data != NULL && !q->header(q->arg, r->trigger, &value) &&
        !q->parameter(q->arg, r->trigger))
        return true;
    out->body = r->body;
    out->content_type = r->content_type;
    return refuse(out, p, &plugin_request_termination, r->status_code,
                  r->message.data != NULL ? r->message : usual_message(r->status_code));
}

/* ---- All of them ---- */

static bool ask(struct arena *arena, const struct plugin *p, const struct plugin_request *q,
                struct plugin_verdict *out)
{
    switch (p->kind) {
    case PLUGIN_IP_RESTRICTION:
        return restrict_ip(p, q, out);
    case PLUGIN_REQUEST_SIZE_LIMITING:
        return limit_size(p, q, out);
    case PLUGIN_RATE_LIMITING:
        return rate_limit(arena, p, q, out) ||
               refuse(out, p, &plugin_rate_limiting, p->config.rate_limiting.error_code,
                      p->config.rate_limiting.error_message);
    case PLUGIN_REQUEST_TERMINATION:
        return terminate(p, q, out);
    case PLUGIN_KINDS:
        break;
    }
    return false;
}

void plugins_decide(struct arena *arena, const struct plugin_chain *chain,
                    const struct plugin_request *request, struct plugin_verdict *out)
{
    *out = (struct plugin_verdict){.refusing = NULL};
    for (size_t i = 0; i < chain->count; i++) {
        if (!ask(arena, chain->items[i], request, out))
            return;
    }
}
