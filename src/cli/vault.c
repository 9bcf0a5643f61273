/* sallyport vault get: what a reference to a secret stands for. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/attr.h"
#include "cli/cli.h"
#include "cli/configuration.h"
#include "cli/options.h"
#include "cli/secrets.h"
#include "gateway/config_host.h"

static const char usage[] =
    "usage: sallyport vault get [OPTION...] REFERENCE\n"
    "\n"
    "Prints the secret that a reference stands for: {vault://aws/NAME/KEY}, {vault://env/NAME},\n"
    "{vault://file/PATH}, or of a vault of the configuration's own; the short form aws/NAME/KEY\n"
    "does too.  Whoever sees the output sees the secret.\n"
    "\n"
    "The configuration's vaults are vault_aws_*, vault_env_prefix and those of its\n"
    "declarative_config.\n"
    "\n"
    CLI_OPTIONS_HELP
    "\n"
    "exit: 0, or 1 when the secret cannot be had\n";

enum { ARENA_BLOCK_BYTES = 64 << 10, ARENA_MAX_BYTES = 1 << 30 };

struct vaults {
    struct arena arena;
    struct node_config node;
    struct vault own[2]; /* of the node's configuration */
    const struct vault *items;
    size_t count;
};

/* Those of what is served, of which nothing else matters here; else those of sallyport.conf. */
static bool load_vaults(struct vaults *v, const struct cli_options *options)
{
    struct node_config_sources sources = cli_sources(options);
    struct diagnostics d = {.arena = &v->arena}, ignored = {.arena = &v->arena};
    struct config_host host = config_host_offline;
    struct cli_configuration c;
    struct entities entities;

    sources.host = &config_host_offline;
    err e = node_config_load(&v->arena, &sources, &v->node, &d);
    if (failed(e)) {
        diag_print(&d, STDERR_FILENO);
        fprintf(stderr, "Error: %s\n", e.fault->text);
        return false;
    }
    cli_tell_node(options, &v->node);
    host.node = &v->node;
    v->own[0] = v->node.vault_aws;
    v->own[1] = v->node.vault_env;
    v->items = v->own;
    v->count = COUNT_OF(v->own);
    if (!cli_configuration_open(&v->node, options, &c)) {
        fputs("Warning: the vaults of the configuration are not known\n", stderr);
        return true;
    }
    e = c.path[0] == '\0' ? fail(&config_unreadable)
                          : entities_load(&v->arena, c.path, &host, &entities, &ignored);
    if (!failed(e)) {
        v->items = entities.vaults;
        v->count = entities.vault_count;
    } else if (c.path[0] != '\0') {
        fprintf(stderr, "Warning: %s has mistakes; its vaults are not known\n", c.name);
    }
    cli_configuration_close(&c);
    return true;
}

static bool look_up(struct vaults *v, struct cli_secrets *secrets, struct view text,
                    struct secret_answer *answer)
{
    struct secret_reference reference;
    const struct vault *vault;

    if (!secret_reference_find(&v->arena, v->items, v->count, text, &reference, &vault,
                               answer->why))
        return false;
    cli_secrets_set_node(secrets, &v->node);
    while (!secret_read(&v->arena, cli_secrets_host(secrets), vault, &reference, answer)) {
        if (!answer->pending)
            return false;
        cli_secrets_wait(secrets);
    }
    return true;
}

static int get(const struct cli_options *options, const char *given)
{
    struct cli_secrets *secrets = cli_secrets_new(true);
    struct secret_answer answer = {.pending = false};
    struct vaults v = {.count = 0};

    arena_init(&v.arena, ARENA_BLOCK_BYTES, ARENA_MAX_BYTES);
    bool braces = given[0] == '{';
    struct view text = arena_printf(&v.arena, "%s%s%s", braces ? "" : "{vault://", given,
                                    braces ? "" : "}");
    bool good = secrets != NULL && text.data != NULL && load_vaults(&v, options);
    if (good && !look_up(&v, secrets, text, &answer)) {
        fprintf(stderr, "Error: %s\n", answer.why);
        good = false;
    }
    if (good)
        good = fwrite(answer.value.data, 1, answer.value.len, stdout) == answer.value.len &&
               putchar('\n') == '\n' && fflush(stdout) == 0;
    cli_secrets_free(secrets);
    arena_clear(&v.arena);
    return good ? 0 : 1;
}

static int run(int argc, char **argv)
{
    struct cli_options options = {.usage = usage};
    int code;

    if (!cli_options_parse(&options, argc, argv, &code))
        return code;
    if (argc - optind != 2 || strcmp(argv[optind], "get") != 0)
        return cli_misused(&options);
    cli_set_log_level(&options); /* what fails is said by the command */
    return get(&options, argv[optind + 1]);
}

const struct command command_vault = {"vault", "prints the secret that a reference stands for",
                                      run};
