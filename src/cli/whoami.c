/* sallyport whoami: which AWS identity the gateway has here, and why that one. */
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "aws/caller.h"
#include "base/log.h"
#include "base/time.h"
#include "cli/aws_errand.h"
#include "cli/cli.h"

static const char help[] =
    "usage: sallyport whoami [--profile NAME] [--offline]\n"
    "\n"
    "Finds AWS credentials as 'sallyport start' does and says where they came from, whose they\n"
    "are (asking STS), when they end, and why the sources before did not serve.\n"
    "\n"
    "  --profile NAME  this profile of the shared files, and no other source\n"
    "  --offline       does not ask STS whose the credentials are\n"
    "  -h, --help      this text\n"
    "\n"
    "Exit code: 0 with credentials; 1 without, or with ones that STS refuses.\n";

struct errand {
    struct aws_errand aws;
    bool offline;
    struct view profile;
    /* GetCallerIdentity */
    bool asked;
    bool answered;
    bool refused; /* the credentials themselves are of no use */
    err answer;
    char answer_detail[CALLER_DETAIL_MAX];
    char account[64];
    char arn[AWS_ARN_MAX + 1];
};

static void on_caller(void *arg, err e, const struct caller_answer *answer)
{
    struct errand *x = arg;

    snprintf(x->answer_detail, sizeof x->answer_detail, "%s", answer->detail);
    snprintf(x->account, sizeof x->account, "%s", answer->account);
    snprintf(x->arn, sizeof x->arn, "%s", answer->arn);
    x->refused = answer->refused;
    x->answer = e;
    x->answered = true;
    uv_stop(&x->aws.loop);
}

static void ask_whose(struct errand *x)
{
    const struct aws_credentials *c;
    const struct aws_plan *plan = chain_plan(x->aws.chain);
    struct caller_question *open;
    int64_t now_us = time_wall_us();

    if (x->offline || failed(credentials_current(chain_provider(x->aws.chain), now_us, &c)))
        return;
    x->asked = true;
    x->answer = caller_ask(net_fetcher_base(x->aws.fetcher), &plan->sts, c, now_us, plan->ca_file,
                           on_caller, x, &open);
    while (!failed(x->answer) && !x->answered)
        uv_run(&x->aws.loop, UV_RUN_DEFAULT);
}

/* ---- What is said ---- */

static void line(const char *name, const char *format, ...) PRINTF_LIKE(2, 3);
static void line(const char *name, const char *format, ...)
{
    va_list args;

    printf("%-12s", name);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

static void say_sources(const struct aws_plan *plan, bool good)
{
    for (size_t i = 0; i < AWS_SOURCES; i++) {
        const struct aws_verdict *v = &plan->verdicts[i];
        const char *name = i == 0 ? "Sources:" : "";
        const char *source = aws_source_name((enum aws_source)i);
        switch (v->kind) {
        case AWS_VERDICT_ABSENT:
            line(name, "%s: %s", source, v->reason);
            break;
        case AWS_VERDICT_CHOSEN:
            line(name, "%s: %s", source, good ? "this one" : "this one, but it failed");
            break;
        case AWS_VERDICT_WRONG:
            line(name, "%s: configured, but %s", source, v->reason);
            break;
        case AWS_VERDICT_LATER:
            line(name, "%s: not asked, it comes after", source);
            break;
        }
    }
}

static void say_roles(const struct aws_plan *plan)
{
    for (size_t i = 0; i < plan->count; i++) {
        if (plan->steps[i].role_arn.len > 0)
            line("Role:", "%.*s", VIEW_ARG(plan->steps[i].role_arn));
    }
}

static void say_whose(const struct errand *x)
{
    if (!x->asked)
        return;
    if (failed(x->answer)) {
        line("Account:", "not known: %s%s%s", x->answer.fault->text,
             x->answer_detail[0] != '\0' ? ": " : "", x->answer_detail);
        return;
    }
    line("Account:", "%s", x->account);
    line("ARN:", "%s", x->arn);
}

static void say_expiry(const struct chain_status *s)
{
    char until[TIME_TEXT_BYTES];

    if (s->expiry_us == 0) {
        line("Expires:", "never, or it is not known");
        return;
    }
    time_format(s->expiry_us, until);
    line("Expires:", "%.19sZ (in %lld minutes)", until,
         (long long)((s->expiry_us - time_wall_us()) / 60000000));
}

static int report(const struct errand *x)
{
    const struct aws_plan *plan = chain_plan(x->aws.chain);
    struct chain_status s;
    char kong[256];

    chain_status(x->aws.chain, &s);
    bool good = s.state == CHAIN_READY;
    line("Source:", "%s", good ? s.source : "none");
    if (plan->profile.len > 0)
        line("Profile:", "%.*s", VIEW_ARG(plan->profile));
    say_roles(plan);
    if (good) {
        line("Key:", "%s", s.access_key_id);
        say_whose(x);
        say_expiry(&s);
    }
    const char *region = chain_region(x->aws.chain);
    if (region[0] != '\0')
        line("Region:", "%s", region);
    if (plan->sts.url.len > 0)
        line("STS:", "%.*s, signed for %.*s", VIEW_ARG(plan->sts.url),
             VIEW_ARG(plan->sts.signing_region));
    say_sources(plan, good);
    for (size_t i = 0; i < plan->warning_count; i++)
        line("Warning:", "%s.", plan->warnings[i]);
    chain_kong_difference(x->aws.chain, kong, sizeof kong);
    if (plan->count > 0 && kong[0] != '\0')
        line("Note:", "%s.", kong);
    fflush(stdout);
    if (!good) {
        bool more = s.detail[0] != '\0' && strcmp(s.detail, s.last_error.fault->text) != 0;
        fprintf(stderr, "Error: %s%s%s\n", s.last_error.fault->text, more ? ": " : "",
                more ? s.detail : "");
    } else if (x->refused) {
        fprintf(stderr, "Error: STS refuses these credentials: %s\n", x->answer_detail);
    }
    return good && !x->refused ? 0 : 1;
}

/* ---- The command ---- */

static int find_out(struct errand *x)
{
    struct chain_status s;

    if (!aws_errand_begin(&x->aws, (struct view){NULL, 0}, x->profile))
        return 1;
    aws_errand_wait(&x->aws, &s);
    ask_whose(x);
    int code = report(x);
    aws_errand_end(&x->aws);
    return code;
}

static int run(int argc, char **argv)
{
    static const struct option options[] = {{"offline", no_argument, NULL, 'o'},
                                            {"profile", required_argument, NULL, 'p'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    static struct errand x;
    int option;

    optind = 1;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        switch (option) {
        case 'h':
            fputs(help, stdout);
            return 0;
        case 'o':
            x.offline = true;
            break;
        case 'p':
            if (optarg[0] == '\0') {
                fputs("Error: --profile wants a name\n", stderr);
                return 1;
            }
            x.profile = view_str(optarg);
            break;
        default:
            return 1;
        }
    }
    if (optind < argc) {
        fputs("Error: no argument is wanted: see 'sallyport whoami --help'\n", stderr);
        return 1;
    }
    log_set_level(LOG_ERROR); /* what fails is said by the report */
    return find_out(&x);
}

const struct command command_whoami = {
    "whoami", "says which AWS identity the gateway has here, and why", run};
