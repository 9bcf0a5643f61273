/* What a session of an assumed role costs: asked for when it is there, obtained (all but the
 * network: the request, its signature, the answer's reading), and kept in memory.  The clock does
 * not run, STS answers at once.  Prints one JSON object. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "aws/sessions.h"
#include "base/log.h"

enum { SESSIONS = 10000, HITS = 200000, TOKEN_CHARS = 1000, ANSWER_BYTES = 4096 };

static fetch_done *waiting_done;
static void *waiting_arg;

static void start(struct fetcher *f, const struct fetch_request *request, fetch_done *done,
                  void *arg)
{
    (void)f;
    (void)request;
    waiting_done = done;
    waiting_arg = arg;
}

static int64_t wall(void *ctx)
{
    (void)ctx;
    return INT64_C(1767323045000000); /* 2026-01-02T03:04:05Z */
}

static int64_t monotonic(void *ctx)
{
    (void)ctx;
    return INT64_C(5000000000);
}

static struct aws_credentials base_credentials;

static err current(struct credential_provider *p, int64_t now_us,
                   const struct aws_credentials **out)
{
    (void)p;
    (void)now_us;
    *out = &base_credentials;
    return OK;
}

static void release(struct credential_provider *p)
{
    (void)p;
}

static size_t resident_bytes(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    char line[128] = "";

    if (f == NULL || fgets(line, sizeof line, f) == NULL)
        exit(1);
    fclose(f);
    const char *resident = strchr(line, ' ');
    return resident == NULL ? 0 : strtoul(resident, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE);
}

static void make_answer(char out[ANSWER_BYTES])
{
    char token[TOKEN_CHARS + 1];

    memset(token, 'x', TOKEN_CHARS);
    token[TOKEN_CHARS] = '\0';
    snprintf(out, ANSWER_BYTES,
             "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">"
             "<AssumeRoleResult><AssumedRoleUser><AssumedRoleId>AROAEXAMPLE:c</AssumedRoleId>"
             "<Arn>arn:aws:sts::123456789012:assumed-role/shop/caller</Arn></AssumedRoleUser>"
             "<Credentials><AccessKeyId>ASIAIOSFODNN7EXAMPLE</AccessKeyId><SecretAccessKey>"
             "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY</SecretAccessKey><SessionToken>%s"
             "</SessionToken><Expiration>2026-01-02T04:04:05Z</Expiration></Credentials>"
             "</AssumeRoleResult></AssumeRoleResponse>", token);
}

static const struct sts_endpoint endpoint = {.url = {"https://sts.eu-west-1.amazonaws.com/", 36},
                                             .host = {"sts.eu-west-1.amazonaws.com", 27},
                                             .path = {"/", 1},
                                             .signing_region = {"eu-west-1", 9}};
static const struct view role = {"arn:aws:iam::123456789012:role/shop", 35};

static enum aws_ready get(struct aws_sessions *s, unsigned caller)
{
    char name[32];
    const struct aws_credentials *credentials;
    const char *detail;
    err why;

    int len = snprintf(name, sizeof name, "caller-%u@example.com", caller);
    const struct aws_session_request request = {
        .roles = &role,
        .role_count = 1,
        .session_name = view_of(name, (size_t)len),
        .source_identity = view_of(name, (size_t)len),
        .max_sessions = SESSIONS,
        .endpoint = &endpoint,
    };
    return aws_sessions_get(s, &request, &credentials, &why, &detail);
}

int main(void)
{
    static const struct credential_provider_ops ops = {current, release};
    static char answer[ANSWER_BYTES];
    struct credential_provider base = {&ops};
    struct fetcher fetcher = {start};
    const struct clock clock = {wall, monotonic, NULL};
    const struct aws_sessions_options options = {.fetcher = &fetcher, .clock = &clock,
                                                 .base = &base, .per_second = 1000000000,
                                                 .in_flight = 1000000};
    struct aws_sessions *s;

    log_set_level(LOG_ERROR);
    make_answer(answer);
    const struct fetch_response response = {.status = 200, .body = view_str(answer)};
    if (failed(aws_credentials_init(&base_credentials, VIEW("AKIAIOSFODNN7EXAMPLE"),
                                    VIEW("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
                                    (struct view){NULL, 0}, 0, "bench")) ||
        failed(aws_sessions_new(&options, &s)))
        return 1;
    size_t before = resident_bytes();
    int64_t begin = time_monotonic_ns();
    for (unsigned i = 0; i < SESSIONS; i++) {
        if (get(s, i) != AWS_WAIT)
            return 1;
        waiting_done(waiting_arg, OK, NULL, &response);
        if (get(s, i) != AWS_READY)
            return 1;
    }
    int64_t assumed = time_monotonic_ns();
    size_t after = resident_bytes();
    for (unsigned i = 0; i < HITS; i++) {
        if (get(s, i % SESSIONS) != AWS_READY)
            return 1;
    }
    int64_t end = time_monotonic_ns();
    printf("{\"session_assume_us\": %.2f, \"session_hit_us\": %.3f, \"session_bytes\": %zu}\n",
           (double)(assumed - begin) / 1e3 / SESSIONS, (double)(end - assumed) / 1e3 / HITS,
           (after - before) / SESSIONS);
    aws_sessions_free(s);
    aws_credentials_clear(&base_credentials);
    return 0;
}
