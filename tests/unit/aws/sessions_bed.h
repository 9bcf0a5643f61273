/* Sessions with a clock, base credentials and an STS that the test holds in its hands. */
#ifndef SALLYPORT_TESTS_AWS_SESSIONS_BED_H
#define SALLYPORT_TESTS_AWS_SESSIONS_BED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aws/chain.h"
#include "aws/sessions.h"
#include "base/list.h"
#include "base/log.h"

#include <cmocka.h> /* last: its fail() would hide ours */

enum { STS_BED_START_S = 1767323045 /* 2026-01-02T03:04:05Z */, STS_BED_BODY = 8192 };

/* A request under way, in the order of their start. */
struct sts_flight {
    struct list link;
    char url[512];
    char headers[4096]; /* "name: value\n" each */
    char body[STS_BED_BODY];
    int64_t at_ms;
    fetch_done *done;
    void *arg;
};

struct sts_bed {
    struct fetcher net;
    struct credential_provider base;
    struct clock clock;
    int64_t wall_us;
    int64_t monotonic_ns;
    err base_error;
    struct aws_credentials base_credentials;
    struct aws_sessions *sessions;
    struct list flights;
    unsigned flying, most_flying;
    unsigned started;
    unsigned minted;
    unsigned woken;
    int64_t lifetime_s; /* of what STS gives */
    char last_body[STS_BED_BODY];
    char last_headers[4096];
    char last_url[512];
    struct sts_endpoint endpoint;
    struct view roles[AWS_SESSION_ROLES_MAX];
    /* The latest answer of sts_bed_get. */
    const struct aws_credentials *credentials;
    err why;
    const char *detail;
};

static inline int64_t sts_bed_wall(void *ctx)
{
    return ((struct sts_bed *)ctx)->wall_us;
}

static inline int64_t sts_bed_monotonic(void *ctx)
{
    return ((struct sts_bed *)ctx)->monotonic_ns;
}

static inline int64_t sts_bed_now_ms(const struct sts_bed *b)
{
    return b->monotonic_ns / 1000000;
}

static inline void sts_bed_start(struct fetcher *f, const struct fetch_request *r,
                                 fetch_done *done, void *arg)
{
    struct sts_bed *b = CONTAINER_OF(f, struct sts_bed, net);
    struct sts_flight *flight = calloc(1, sizeof *flight);
    size_t n = 0;

    assert_non_null(flight);
    snprintf(flight->url, sizeof flight->url, "%.*s", VIEW_ARG(r->url));
    snprintf(flight->body, sizeof flight->body, "%.*s", VIEW_ARG(r->body));
    for (size_t i = 0; i < r->header_count; i++)
        n += (size_t)snprintf(flight->headers + n, sizeof flight->headers - n, "%.*s: %.*s\n",
                              VIEW_ARG(r->headers[i].name), VIEW_ARG(r->headers[i].value));
    flight->done = done;
    flight->arg = arg;
    flight->at_ms = sts_bed_now_ms(b);
    list_init(&flight->link);
    list_push_back(&b->flights, &flight->link);
    memcpy(b->last_body, flight->body, sizeof b->last_body);
    memcpy(b->last_headers, flight->headers, sizeof b->last_headers);
    memcpy(b->last_url, flight->url, sizeof b->last_url);
    b->started++;
    if (++b->flying > b->most_flying)
        b->most_flying = b->flying;
}

static inline err sts_bed_current(struct credential_provider *p, int64_t now_us,
                                  const struct aws_credentials **out)
{
    struct sts_bed *b = CONTAINER_OF(p, struct sts_bed, base);
    (void)now_us;

    *out = failed(b->base_error) ? NULL : &b->base_credentials;
    return b->base_error;
}

static inline void sts_bed_release(struct credential_provider *p)
{
    (void)p;
}

static inline void sts_bed_wake(void *arg)
{
    ((struct sts_bed *)arg)->woken++;
}

static inline int sts_bed_open(void **state)
{
    static const struct credential_provider_ops ops = {sts_bed_current, sts_bed_release};
    struct sts_bed *b = calloc(1, sizeof *b);

    log_set_level(LOG_ERROR);
    b->net.start = sts_bed_start;
    b->base.ops = &ops;
    b->clock = (struct clock){sts_bed_wall, sts_bed_monotonic, b};
    b->wall_us = INT64_C(1000000) * STS_BED_START_S;
    b->monotonic_ns = INT64_C(5000000000);
    b->lifetime_s = 3600;
    list_init(&b->flights);
    b->endpoint = (struct sts_endpoint){.url = VIEW("https://sts.eu-west-1.amazonaws.com/"),
                                        .host = VIEW("sts.eu-west-1.amazonaws.com"),
                                        .path = VIEW("/"),
                                        .signing_region = VIEW("eu-west-1")};
    b->roles[0] = VIEW("arn:aws:iam::123456789012:role/first");
    b->roles[1] = VIEW("arn:aws:iam::123456789012:role/second");
    b->roles[2] = VIEW("arn:aws:iam::123456789012:role/third");
    *state = b;
    return failed(aws_credentials_init(&b->base_credentials, VIEW("AKIABASE"), VIEW("base-secret"),
                                       VIEW(""), 0, "container"));
}

/* per_second and in_flight 0: as it is without a word. */
static inline void sts_bed_begin(struct sts_bed *b, unsigned per_second, unsigned in_flight)
{
    const struct aws_sessions_options options = {
        .fetcher = &b->net,
        .clock = &b->clock,
        .base = &b->base,
        .per_second = per_second,
        .in_flight = in_flight,
        .wake = sts_bed_wake,
        .wake_arg = b,
    };
    assert_false(failed(aws_sessions_new(&options, &b->sessions)));
}

static inline struct sts_flight *sts_bed_first(struct sts_bed *b)
{
    assert_false(list_is_empty(&b->flights));
    return LIST_ENTRY(b->flights.next, struct sts_flight, link);
}

static inline void sts_bed_answer_flight(struct sts_bed *b, struct sts_flight *f, int status,
                                         const char *body)
{
    const struct fetch_response response = {.status = status, .body = view_str(body),
                                            .max_age_s = -1};
    list_unlink(&f->link);
    b->flying--;
    f->done(f->arg, OK, NULL, &response);
    free(f);
}

/* The oldest request gets the answer. */
static inline void sts_bed_answer(struct sts_bed *b, int status, const char *body)
{
    sts_bed_answer_flight(b, sts_bed_first(b), status, body);
}

static inline void sts_bed_refuse(struct sts_bed *b, int status, const char *code,
                                  const char *message)
{
    char body[2048];

    snprintf(body, sizeof body,
             "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error>"
             "<Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error>"
             "<RequestId>r</RequestId></ErrorResponse>", code, message);
    sts_bed_answer(b, status, body);
}

/* A form's value, undecoded but for what session names and ARNs need. */
static inline void sts_bed_field(const char *body, const char *name, char *out, size_t size)
{
    char key[80];
    size_t n = 0;

    snprintf(key, sizeof key, "&%s=", name);
    const char *at = strstr(body, key);
    out[0] = '\0';
    if (at == NULL)
        return;
    for (at += strlen(key); *at != '\0' && *at != '&' && n + 1 < size; at++) {
        if (*at == '%' && at[1] != '\0' && at[2] != '\0') {
            const char digits[3] = {at[1], at[2], '\0'};
            out[n++] = (char)strtoul(digits, NULL, 16);
            at += 2;
        } else {
            out[n++] = *at;
        }
    }
    out[n] = '\0';
}

/* Credentials for the flight: ASIA00000001 and up, their ARN of its role and session name. */
static inline void sts_bed_grant_flight(struct sts_bed *b, struct sts_flight *f)
{
    char role[256], name[128], until[TIME_TEXT_BYTES], body[4096];
    const bool web = strstr(f->body, "Action=AssumeRoleWithWebIdentity&") != NULL;
    const char *action = web ? "AssumeRoleWithWebIdentity" : "AssumeRole";

    sts_bed_field(f->body, "RoleArn", role, sizeof role);
    sts_bed_field(f->body, "RoleSessionName", name, sizeof name);
    time_format(b->wall_us + b->lifetime_s * 1000000, until);
    b->minted++;
    snprintf(body, sizeof body,
             "<%sResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><%sResult>"
             "<AssumedRoleUser><AssumedRoleId>AROA:%s</AssumedRoleId>"
             "<Arn>arn:aws:sts::123456789012:assumed-role/%s/%s</Arn></AssumedRoleUser>"
             "<Credentials><AccessKeyId>ASIA%08u</AccessKeyId><SecretAccessKey>secret%u"
             "</SecretAccessKey><SessionToken>token%u</SessionToken><Expiration>%s</Expiration>"
             "</Credentials></%sResult></%sResponse>", action, action, name,
             strrchr(role, '/') != NULL ? strrchr(role, '/') + 1 : role, name, b->minted,
             b->minted, b->minted, until, action, action);
    sts_bed_answer_flight(b, f, 200, body);
}

static inline void sts_bed_grant(struct sts_bed *b)
{
    sts_bed_grant_flight(b, sts_bed_first(b));
}

static inline void sts_bed_grant_all(struct sts_bed *b)
{
    while (!list_is_empty(&b->flights))
        sts_bed_grant(b);
}

static inline void sts_bed_lose(struct sts_bed *b)
{
    struct sts_flight *f = sts_bed_first(b);

    list_unlink(&f->link);
    b->flying--;
    f->done(f->arg, (err){&fault_too_large}, "no route", NULL);
    free(f);
}

static inline void sts_bed_pass(struct sts_bed *b, int64_t ms)
{
    b->monotonic_ns += ms * 1000000;
    b->wall_us += ms * 1000;
}

/* Time goes by in the ticks that the sessions ask for; what they ask of STS stays unanswered. */
static inline void sts_bed_run(struct sts_bed *b, int64_t ms)
{
    int64_t end_ms = sts_bed_now_ms(b) + ms;

    for (;;) {
        int64_t next_ms = aws_sessions_tick(b->sessions);
        if (next_ms <= sts_bed_now_ms(b))
            next_ms = sts_bed_now_ms(b) + 1;
        if (next_ms > end_ms)
            break;
        sts_bed_pass(b, next_ms - sts_bed_now_ms(b));
    }
    sts_bed_pass(b, end_ms - sts_bed_now_ms(b));
    aws_sessions_tick(b->sessions);
}

/* The same, every request answered with credentials after a moment. */
static inline void sts_bed_live(struct sts_bed *b, int64_t ms, int64_t latency_ms)
{
    int64_t end_ms = sts_bed_now_ms(b) + ms;

    while (sts_bed_now_ms(b) < end_ms) {
        int64_t next_ms = aws_sessions_tick(b->sessions);
        if (!list_is_empty(&b->flights) && sts_bed_first(b)->at_ms + latency_ms < next_ms)
            next_ms = sts_bed_first(b)->at_ms + latency_ms;
        if (next_ms <= sts_bed_now_ms(b))
            next_ms = sts_bed_now_ms(b) + 1;
        sts_bed_pass(b, (next_ms < end_ms ? next_ms : end_ms) - sts_bed_now_ms(b));
        while (!list_is_empty(&b->flights) &&
               sts_bed_first(b)->at_ms + latency_ms <= sts_bed_now_ms(b))
            sts_bed_grant(b);
    }
}

static inline struct aws_session_request sts_bed_request(const struct sts_bed *b, size_t roles,
                                                         const char *name)
{
    return (struct aws_session_request){
        .roles = b->roles,
        .role_count = roles,
        .session_name = view_str(name),
        .endpoint = &b->endpoint,
    };
}

static inline enum aws_ready sts_bed_get(struct sts_bed *b, const struct aws_session_request *r)
{
    return aws_sessions_get(b->sessions, r, &b->credentials, &b->why, &b->detail);
}

static inline struct aws_sessions_counts sts_bed_counts(const struct sts_bed *b)
{
    struct aws_sessions_counts counts;

    aws_sessions_counts(b->sessions, &counts);
    return counts;
}

/* Ends the sessions; what is in flight is answered after that and does nothing. */
static inline void sts_bed_end(struct sts_bed *b)
{
    aws_sessions_free(b->sessions);
    b->sessions = NULL;
    while (!list_is_empty(&b->flights))
        sts_bed_answer(b, 500, "");
}

static inline int sts_bed_close(void **state)
{
    struct sts_bed *b = *state;

    sts_bed_end(b);
    aws_credentials_clear(&b->base_credentials);
    free(b);
    return 0;
}

#endif
