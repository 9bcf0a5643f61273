/* A chain with an environment, files, a clock and a network that the test holds in its hands. */
#ifndef SALLYPORT_TESTS_AWS_CHAIN_BED_H
#define SALLYPORT_TESTS_AWS_CHAIN_BED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "aws/chain.h"
#include "aws/metadata.h"
#include "aws/profile.h"
#include "base/log.h"

#include <cmocka.h> /* last: its fail() would hide ours */

enum { BED_VARIABLES = 24, BED_START_S = 1767323045 /* 2026-01-02T03:04:05Z */ };

static struct {
    const char *name;
    char value[512];
} bed_environment[BED_VARIABLES];

static inline char *bed_lookup(const char *name)
{
    for (size_t i = 0; i < BED_VARIABLES; i++) {
        if (bed_environment[i].name != NULL && strcmp(bed_environment[i].name, name) == 0)
            return bed_environment[i].value;
    }
    return NULL;
}

static inline void bed_set(const char *name, const char *value)
{
    for (size_t i = 0; i < BED_VARIABLES; i++) {
        if (bed_environment[i].name != NULL && strcmp(bed_environment[i].name, name) != 0)
            continue;
        bed_environment[i].name = name;
        snprintf(bed_environment[i].value, sizeof bed_environment[i].value, "%s", value);
        return;
    }
    abort();
}

/* Holds what was asked for until the test answers. */
struct bed_fetcher {
    struct fetcher base;
    char method[8];
    char url[1024];
    char headers[8192]; /* "name: value\n" each */
    char body[8192];
    char ca_file[256];
    fetch_done *done;
    void *arg;
    unsigned started;
};

struct bed {
    struct bed_fetcher net;
    struct clock clock;
    int64_t wall_us;
    int64_t monotonic_ns;
    struct credential_chain *chain;
    char folder[64];
    int64_t next_ms;
};

static inline void bed_start(struct fetcher *f, const struct fetch_request *r, fetch_done *done,
                             void *arg)
{
    struct bed_fetcher *net = (struct bed_fetcher *)f;
    size_t n = 0;

    assert_null(net->done); /* one exchange at a time */
    snprintf(net->method, sizeof net->method, "%.*s", VIEW_ARG(r->method));
    snprintf(net->url, sizeof net->url, "%.*s", VIEW_ARG(r->url));
    snprintf(net->body, sizeof net->body, "%.*s", VIEW_ARG(r->body));
    snprintf(net->ca_file, sizeof net->ca_file, "%.*s", VIEW_ARG(r->ca_file));
    net->headers[0] = '\0';
    for (size_t i = 0; i < r->header_count; i++)
        n += (size_t)snprintf(net->headers + n, sizeof net->headers - n, "%.*s: %.*s\n",
                              VIEW_ARG(r->headers[i].name), VIEW_ARG(r->headers[i].value));
    net->done = done;
    net->arg = arg;
    net->started++;
}

static inline int64_t bed_wall(void *ctx)
{
    return ((struct bed *)ctx)->wall_us;
}

static inline int64_t bed_monotonic(void *ctx)
{
    return ((struct bed *)ctx)->monotonic_ns;
}

static inline int bed_open(void **state)
{
    struct bed *b = calloc(1, sizeof *b);

    memset(bed_environment, 0, sizeof bed_environment);
    b->net.base.start = bed_start;
    b->clock = (struct clock){bed_wall, bed_monotonic, b};
    b->wall_us = INT64_C(1000000) * BED_START_S;
    b->monotonic_ns = INT64_C(5000000000);
    snprintf(b->folder, sizeof b->folder, "/tmp/sallyport-aws-XXXXXX");
    *state = b;
    log_set_level(LOG_ERROR);
    return mkdtemp(b->folder) == NULL;
}

/* The path of a file in the test's folder; valid until the next call but three. */
static inline const char *bed_path(struct bed *b, const char *name)
{
    static char paths[4][128];
    static unsigned at;

    char *path = paths[at++ % 4];
    snprintf(path, 128, "%s/%s", b->folder, name);
    return path;
}

static inline void bed_file(struct bed *b, const char *name, const char *text)
{
    const char *path = bed_path(b, name), *fresh = bed_path(b, "fresh");
    FILE *f = fopen(fresh, "w");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0 && fclose(f) == 0);
    assert_int_equal(rename(fresh, path), 0);
}

static inline void bed_stop(struct bed *b)
{
    const struct fetch_response gone = {.status = 500, .max_age_s = -1};
    fetch_done *done = b->net.done;

    chain_free(b->chain);
    b->chain = NULL;
    b->net.done = NULL;
    if (done != NULL)
        done(b->net.arg, OK, NULL, &gone); /* comes after the end, and does nothing */
}

static inline int bed_close(void **state)
{
    static const char *const names[] = {"config", "credentials", "token", "fresh"};
    struct bed *b = *state;

    bed_stop(b);
    for (size_t i = 0; i < COUNT_OF(names); i++)
        unlink(bed_path(b, names[i]));
    int failed_to_remove = rmdir(b->folder);
    free(b);
    return failed_to_remove;
}

static inline void bed_tick(struct bed *b)
{
    b->next_ms = chain_tick(b->chain);
}

/* Makes the chain from the environment as it is set, and lets it begin. */
static inline void bed_begin(struct bed *b)
{
    const struct chain_options options = {.fetcher = &b->net.base, .clock = &b->clock,
                                          .lookup = bed_lookup};

    assert_false(failed(chain_new(&options, &b->chain)));
    bed_tick(b);
}

static inline void bed_pass(struct bed *b, int64_t seconds)
{
    b->wall_us += seconds * 1000000;
    b->monotonic_ns += seconds * 1000000000;
}

static inline void bed_answer(struct bed *b, int status, const char *body)
{
    const struct fetch_response response = {status, view_str(body), -1};
    fetch_done *done = b->net.done;

    assert_non_null(done);
    b->net.done = NULL;
    done(b->net.arg, OK, NULL, &response);
}

static inline void bed_fail(struct bed *b, const struct fault *fault, const char *detail)
{
    fetch_done *done = b->net.done;

    assert_non_null(done);
    b->net.done = NULL;
    done(b->net.arg, (err){fault}, detail, NULL);
}

/* "2026-01-02T04:04:05Z", so many seconds from now; good until the next call but three. */
static inline const char *bed_time(struct bed *b, int64_t seconds)
{
    static char texts[4][TIME_TEXT_BYTES];
    static unsigned at;

    char *text = texts[at++ % 4];
    time_format(b->wall_us + seconds * 1000000, text);
    return text;
}

/* Credentials as the container's or the instance's endpoint gives them. */
static inline const char *bed_json(struct bed *b, const char *id, int64_t seconds)
{
    static char text[1024];

    snprintf(text, sizeof text,
             "{\"Code\":\"Success\",\"AccessKeyId\":\"%s\",\"SecretAccessKey\":\"secret-%s\","
             "\"Token\":\"token-%s\",\"Expiration\":\"%s\"}",
             id, id, id, bed_time(b, seconds));
    return text;
}

/* The same of STS; action is AssumeRole or AssumeRoleWithWebIdentity. */
static inline const char *bed_xml(struct bed *b, const char *action, const char *id,
                                  int64_t seconds)
{
    static char text[2048];

    snprintf(text, sizeof text,
             "<%sResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><%sResult>"
             "<Credentials><AccessKeyId>%s</AccessKeyId><SecretAccessKey>secret-%s"
             "</SecretAccessKey><SessionToken>token-%s</SessionToken><Expiration>%s</Expiration>"
             "</Credentials></%sResult></%sResponse>",
             action, action, id, id, id, bed_time(b, seconds), action, action);
    return text;
}

static inline struct chain_status bed_status(struct bed *b)
{
    struct chain_status s;

    chain_status(b->chain, &s);
    return s;
}

/* The credentials in force, or the fault. */
static inline err bed_current(struct bed *b, const struct aws_credentials **out)
{
    return credentials_current(chain_provider(b->chain), b->wall_us, out);
}

static inline void bed_serves(struct bed *b, const char *source, const char *id)
{
    const struct aws_credentials *c;

    assert_false(failed(bed_current(b, &c)));
    assert_string_equal(c->source, source);
    assert_string_equal(c->access_key_id, id);
}

static inline void bed_refuses(struct bed *b, const struct fault *fault)
{
    const struct aws_credentials *c;

    assert_ptr_equal(bed_current(b, &c).fault, fault);
}

#define BED_ROLE "arn:aws:iam::123456789012:role/"

static inline void bed_set_keys(void)
{
    bed_set("AWS_ACCESS_KEY_ID", "AKIAENVIRONMENT");
    bed_set("AWS_SECRET_ACCESS_KEY", "secret");
}

static inline void bed_set_files(struct bed *b)
{
    bed_set("AWS_CONFIG_FILE", bed_path(b, "config"));
    bed_set("AWS_SHARED_CREDENTIALS_FILE", bed_path(b, "credentials"));
}

static inline void bed_set_web_identity(struct bed *b)
{
    bed_file(b, "token", "header.payload.signature\n");
    bed_set("AWS_WEB_IDENTITY_TOKEN_FILE", bed_path(b, "token"));
    bed_set("AWS_ROLE_ARN", BED_ROLE "pod");
}

#define assert_contains(text, part) assert_non_null(strstr((text), (part)))
#define assert_lacks(text, part) assert_null(strstr((text), (part)))

#endif
