/* sallyport audit: verify, show, explain, fields. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit/event.h"
#include "audit/shipped.h"
#include "audit/verify.h"
#include "cli/audit.h"
#include "cli/cli.h"

static const char help[] =
    "usage: sallyport audit verify  [--dir DIR] [--public-key FILE] [--anchors FILE]\n"
    "       sallyport audit show    [--dir DIR] [--since TIME] [--kind KIND] [--subject S] [--json]\n"
    "       sallyport audit explain [--dir DIR] REQUEST-ID\n"
    "       sallyport audit fields\n"
    "\n"
    "verify   checks every file against the anchors: what was changed, removed, inserted, cut off.\n"
    "         Exit code 1 when anything was.  Records after the last anchor of a run that was\n"
    "         killed are counted, and are no fault.\n"
    "show     prints the events, oldest first.\n"
    "explain  tells one call: the token, the role chosen and why not the others, the login, the\n"
    "         outcome and its timings.\n"
    "fields   prints the schema of the events as a table.\n"
    "\n"
    "  --dir DIR          the audit folder; default: what SALLYPORT_AUDIT_DIRECTORY says, else\n"
    "                     audit_directory of the configuration\n"
    "  --public-key FILE  default: anchor.pub in DIR; better a copy kept elsewhere\n"
    "  --anchors FILE     a copy of anchors that was kept elsewhere: each must still be in DIR,\n"
    "                     which shows the end of the log cut off together with its anchors\n"
    "  --since TIME       2026-01-02T03:04 or its beginning (UTC), or an age: 90s, 10m, 2h, 7d\n"
    "  --kind KIND        intent, outcome, auth_failure, denial, login, login_failure,\n"
    "                     config_change, start, stop\n"
    "  --subject S        calls of this subject, with their outcomes\n"
    "  --json             the records as they stand in the files\n"
    "\n"
    CLI_OPTIONS_HELP;

enum option_code { DIRECTORY = 256, PUBLIC_KEY, ANCHORS, SINCE, KIND, SUBJECT, AS_JSON };

static const struct option options[] = {
    {"dir", required_argument, NULL, DIRECTORY},
    {"public-key", required_argument, NULL, PUBLIC_KEY},
    {"anchors", required_argument, NULL, ANCHORS},
    {"since", required_argument, NULL, SINCE},
    {"kind", required_argument, NULL, KIND},
    {"subject", required_argument, NULL, SUBJECT},
    {"json", no_argument, NULL, AS_JSON},
    CLI_OPTIONS,
    {0},
};

static void print_finding(void *arg, const struct audit_finding *f)
{
    (void)arg;
    printf("BAD  %s", f->file);
    if (f->line > 0)
        printf(":%llu", (unsigned long long)f->line);
    if (f->seq > 0)
        printf(" (seq %llu)", (unsigned long long)f->seq);
    printf(": %s [%s]\n", f->text, audit_problem_name(f->problem));
}

/* False when an anchor of the shipped copy is gone, or the copy cannot be read. */
static bool verify_shipped(const struct audit_command *c)
{
    struct audit_shipped_counts n;

    if (failed(audit_verify_shipped(c->directory, c->anchors, print_finding, NULL, &n))) {
        fprintf(stderr, "Error: the shipped anchors %s cannot be read, or end in half a line\n",
                c->anchors);
        return false;
    }
    printf("%llu shipped anchors, %llu of them missing\n", (unsigned long long)n.anchors,
           (unsigned long long)n.missing);
    return n.missing == 0;
}

static int verify(const struct audit_command *c)
{
    struct audit_verify_counts n;
    struct audit_verify_options o = {
        .directory = c->directory, .public_key = c->public_key, .found = print_finding};

    if (failed(audit_verify(&o, &n))) {
        fprintf(stderr, "Error: the folder %s cannot be read\n", c->directory);
        return 1;
    }
    printf("%llu records in %llu files of %llu runs, %llu anchors, %llu problems\n",
           (unsigned long long)n.records, (unsigned long long)n.files, (unsigned long long)n.boots,
           (unsigned long long)n.anchors, (unsigned long long)n.problems);
    if (n.unanchored > 0)
        printf("note: %llu whole records stand after the last anchor of their run\n",
               (unsigned long long)n.unanchored);
    if (n.boots == 0)
        puts("note: there is no audit log in this folder");
    if (c->anchors != NULL && !verify_shipped(c))
        return 1;
    return n.problems > 0;
}

static int fields(const struct audit_command *c)
{
    struct buf out;

    (void)c;
    buf_init(&out, 1 << 20);
    audit_fields_markdown(&out);
    fwrite(out.data, 1, out.len, stdout);
    buf_clear(&out);
    return 0;
}

static int complain(const char *text)
{
    fprintf(stderr, "Error: %s\n", text);
    return 1;
}

/* What is wrong with the option, or NULL. */
static const char *take(struct audit_command *c, int code)
{
    switch (code) {
    case DIRECTORY:
        c->directory = optarg;
        return NULL;
    case PUBLIC_KEY:
        c->public_key = optarg;
        return NULL;
    case ANCHORS:
        c->anchors = optarg;
        return NULL;
    case SINCE:
        return audit_since(optarg, c->since) ? NULL
                                             : "--since wants a time such as 2026-01-02T03:04 or "
                                               "an age such as 10m, 2h, 7d";
    case KIND:
        c->has_kind = audit_kind_by_name(view_str(optarg), &c->kind);
        return c->has_kind ? NULL : "--kind is none of the events: see 'sallyport audit --help'";
    case SUBJECT:
        c->subject = optarg;
        return NULL;
    case AS_JSON:
        c->json = true;
        return NULL;
    default:
        return cli_option(&c->common, code, optarg) ? NULL : "see 'sallyport audit --help'";
    }
}

static const struct {
    const char *name;
    int (*run)(const struct audit_command *c);
    int arguments;
    bool reads_folder;
} verbs[] = {
    {"verify", verify, 0, true},
    {"show", audit_show, 0, true},
    {"explain", audit_explain, 1, true},
    {"fields", fields, 0, false},
};

static int run_verb(struct audit_command *c, int argc, char **argv)
{
    for (size_t i = 0; i < COUNT_OF(verbs); i++) {
        if (strcmp(argv[optind], verbs[i].name) != 0)
            continue;
        if (argc - optind - 1 != verbs[i].arguments)
            return complain(verbs[i].arguments == 1 ? "explain wants one REQUEST-ID"
                                                    : "too many arguments");
        c->request_id = argv[optind + 1];
        if (verbs[i].reads_folder && c->directory == NULL &&
            (c->directory = audit_default_directory(c)) == NULL)
            return complain("which folder? give --dir or -c");
        return verbs[i].run(c);
    }
    return complain("audit wants one of verify, show, explain, fields");
}

static int run(int argc, char **argv)
{
    struct audit_command c = {0};
    const char *wrong;
    int code;

    optind = 1;
    while ((code = getopt_long(argc, argv, CLI_LETTERS, options, NULL)) != -1) {
        if (code == 'h') {
            fputs(help, stdout);
            return 0;
        }
        if ((wrong = take(&c, code)) != NULL)
            return complain(wrong);
    }
    if (optind == argc) {
        fputs(help, stderr);
        return 1;
    }
    int status = run_verb(&c, argc, argv);
    free(c.directory_text);
    return status;
}

const struct command command_audit = {"audit", "verifies, shows and explains the audit log", run};
