/* A cache of secrets with a clock and a network that the test holds in its hands. */
#ifndef SALLYPORT_TESTS_AWS_SECRET_BED_H
#define SALLYPORT_TESTS_AWS_SECRET_BED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aws/secret_cache.h"
#include "base/attr.h"
#include "base/log.h"

#include <cmocka.h> /* last: its fail() would hide ours */

#define assert_view(v, text) assert_true(view_is((v), (text)))
#define assert_fault(e, f) assert_ptr_equal((e).fault, &(f))

enum { FLIGHTS = 32 };

static const struct fault no_answer = {"no_answer", "no answer", NULL, 0};

struct flight {
    char url[256];
    char body[256];
    char authorization[512];
    fetch_done *done;
    void *arg;
};

struct bed {
    struct fetcher net;
    struct flight flights[FLIGHTS];
    size_t first, last; /* those in flight, oldest first */
    unsigned started;
    struct clock clock;
    int64_t now_us;
    struct aws_credentials credentials;
    enum aws_ready signer;
    struct secret_cache *cache;
    unsigned wakes;
    int64_t next_ms;
};

static inline void start(struct fetcher *f, const struct fetch_request *r, fetch_done *done,
                         void *arg)
{
    struct bed *b = (struct bed *)f;
    struct flight *x = &b->flights[b->last++ % FLIGHTS];

    assert_true(b->last - b->first <= FLIGHTS);
    snprintf(x->url, sizeof x->url, "%.*s", VIEW_ARG(r->url));
    snprintf(x->body, sizeof x->body, "%.*s", VIEW_ARG(r->body));
    for (size_t i = 0; i < r->header_count; i++) {
        if (view_is(r->headers[i].name, "authorization"))
            snprintf(x->authorization, sizeof x->authorization, "%.*s",
                     VIEW_ARG(r->headers[i].value));
    }
    x->done = done;
    x->arg = arg;
    b->started++;
}

static inline int64_t wall(void *ctx)
{
    return ((struct bed *)ctx)->now_us;
}

static inline int64_t monotonic(void *ctx)
{
    return (((struct bed *)ctx)->now_us - INT64_C(1767323000000000)) * 1000;
}

static inline enum aws_ready sign(void *arg, const struct secret_origin *origin,
                           struct secret_signer *out, err *why, const char **detail)
{
    struct bed *b = arg;
    (void)origin;

    if (b->signer == AWS_FAILED) {
        *why = (err){&no_answer};
        *detail = "the role is not ours";
    }
    *out = (struct secret_signer){.credentials = &b->credentials,
                                  .place = {.region = VIEW("eu-west-1")}};
    return b->signer;
}

static inline void wake(void *arg)
{
    ((struct bed *)arg)->wakes++;
}

static inline int open_bed(void **state)
{
    struct bed *b = calloc(1, sizeof *b);
    if (b == NULL)
        return -1;
    b->net.start = start;
    b->clock = (struct clock){wall, monotonic, b};
    b->now_us = INT64_C(1767323045000000); /* 2026-01-02T03:04:05Z */
    b->signer = AWS_READY;
    const struct secret_cache_options options = {
        .fetcher = &b->net, .clock = &b->clock, .signer = sign, .signer_arg = b,
        .wake = wake, .wake_arg = b};
    *state = b;
    log_set_level(LOG_ERROR);
    return failed(aws_credentials_init(&b->credentials, VIEW("AKID"), VIEW("key"), VIEW(""), 0,
                                       "test")) ||
           failed(secret_cache_new(&options, &b->cache));
}

static inline int close_bed(void **state)
{
    const struct fetch_response gone = {.status = 500, .max_age_s = -1};
    struct bed *b = *state;

    secret_cache_free(b->cache);
    for (; b->first < b->last; b->first++) /* comes after the end, and does nothing */
        b->flights[b->first % FLIGHTS].done(b->flights[b->first % FLIGHTS].arg, OK, NULL, &gone);
    aws_credentials_clear(&b->credentials);
    free(b);
    return 0;
}

static inline void tick(struct bed *b)
{
    b->next_ms = secret_cache_tick(b->cache);
}

static inline void pass_ms(struct bed *b, int64_t ms)
{
    b->now_us += ms * 1000;
    tick(b);
}

static inline size_t in_flight(const struct bed *b)
{
    return b->last - b->first;
}

/* Lets the time pass until something is asked, at most so long; how long it was. */
static inline int64_t pass_until_asked(struct bed *b, int64_t max_ms)
{
    int64_t begun = b->now_us;

    while (in_flight(b) == 0 && b->now_us - begun < max_ms * 1000) {
        int64_t left = begun + max_ms * 1000 - b->now_us;
        int64_t wait = b->next_ms == INT64_MAX ? left : b->next_ms * 1000 - monotonic(b) / 1000;
        pass_ms(b, (wait < left ? wait : left) / 1000 + 1);
    }
    return (b->now_us - begun) / 1000;
}

/* Answers the oldest exchange. */
static inline void answer(struct bed *b, int status, const char *format, ...) PRINTF_LIKE(3, 4);

static inline void answer(struct bed *b, int status, const char *format, ...)
{
    char body[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(body, sizeof body, format, args);
    va_end(args);
    assert_true(in_flight(b) > 0);
    const struct flight x = b->flights[b->first++ % FLIGHTS];
    const struct fetch_response response = {status, view_str(body), -1};
    x.done(x.arg, OK, NULL, &response);
    tick(b);
}

static inline void value(struct bed *b, const char *version, const char *text)
{
    answer(b, 200,
           "{\"ARN\":\"arn:x\",\"Name\":\"n\",\"VersionId\":\"%s\",\"SecretString\":\"%s\"}",
           version, text);
}

static inline void no_connection(struct bed *b)
{
    const struct flight x = b->flights[b->first++ % FLIGHTS];
    x.done(x.arg, (err){&no_answer}, "nobody there", NULL);
    tick(b);
}

static inline void not_found(struct bed *b)
{
    answer(b, 400, "{\"__type\":\"ResourceNotFoundException\",\"Message\":\"no such secret\"}");
}

static const struct secret_origin usual = {.prefix = {"aws", 3}, .ttl_s = 300, .neg_ttl_s = 60,
                                           .resurrect_ttl_s = 86400};
static const struct secret_id shop = {&usual, {"shop", 4}, SECRET_CURRENT};

static inline enum aws_ready get(struct bed *b, const struct secret_id *id,
                                 struct secret_value *out)
{
    const char *detail;
    err why;
    enum aws_ready r = secret_cache_get(b->cache, id, out, &why, &detail);
    assert_true(failed(why) == (r == AWS_FAILED));
    tick(b);
    return r;
}

static inline void serves(struct bed *b, const struct secret_id *id, const char *version,
                   const char *text)
{
    struct secret_value v;
    assert_int_equal(get(b, id, &v), AWS_READY);
    assert_view(v.text, text);
    assert_string_equal(v.version_id, version);
}

static inline void fails(struct bed *b, const struct secret_id *id, const struct fault *fault)
{
    struct secret_value v;
    const char *detail;
    err why;
    assert_int_equal(secret_cache_get(b->cache, id, &v, &why, &detail), AWS_FAILED);
    assert_ptr_equal(why.fault, fault);
}

static inline void waits(struct bed *b, const struct secret_id *id)
{
    struct secret_value v;
    assert_int_equal(get(b, id, &v), AWS_WAIT);
}

static inline void begin(struct bed *b, const struct secret_id *id, const char *version,
                         const char *text)
{
    waits(b, id);
    value(b, version, text);
    serves(b, id, version, text);
}

static inline int64_t now_ms(struct bed *b)
{
    return monotonic(b) / 1000000;
}

#define BED(test) cmocka_unit_test_setup_teardown(test, open_bed, close_bed)

#endif
