#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

#include "base/attr.h"
#include "base/secret.h"

static const struct command *const commands[] = {
    &command_audit,
    &command_check,
    &command_config,
    &command_keyring,
    &command_rotate,
    &command_setup,
    &command_token,
    &command_drain,
    &command_health,
    &command_migrations,
    &command_prepare,
    &command_quit,
    &command_reload,
    &command_restart,
    &command_start,
    &command_stop,
    &command_vault,
    &command_version,
    &command_whoami,
};

static void print_help(FILE *to)
{
    fputs("usage: sallyport COMMAND [OPTION...]\n\ncommands:\n", to);
    for (size_t i = 0; i < COUNT_OF(commands); i++)
        fprintf(to, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
    fputs("\n'sallyport COMMAND --help' explains one.\n", to);
}

int main(int argc, char **argv)
{
    secret_harden_process();
    if (argc < 2) {
        print_help(stderr);
        return 1;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0)
        return command_version.run(1, argv + 1);
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        if (strcmp(argv[1], commands[i]->name) == 0)
            return commands[i]->run(argc - 1, argv + 1);
    }
    fprintf(stderr, "Error: there is no command '%s'\n\n", argv[1]);
    print_help(stderr);
    return 1;
}
