/*
 * The commands, one file each (src/cli/NAME.c), listed in main.c.
 *
 * run gets the arguments from the command's own name on, and returns the exit code: 0 for success,
 * 1 with "Error: …" on standard error otherwise, as Kong's commands do.
 */
#ifndef SALLYPORT_CLI_CLI_H
#define SALLYPORT_CLI_CLI_H

struct command {
    const char *name;
    const char *summary;
    int (*run)(int argc, char **argv);
};

extern const struct command command_audit;
extern const struct command command_check;
extern const struct command command_config;
extern const struct command command_keyring;
extern const struct command command_rotate;
extern const struct command command_setup;
extern const struct command command_token;
extern const struct command command_drain;
extern const struct command command_health;
extern const struct command command_migrations;
extern const struct command command_prepare;
extern const struct command command_quit;
extern const struct command command_reload;
extern const struct command command_restart;
extern const struct command command_start;
extern const struct command command_stop;
extern const struct command command_vault;
extern const struct command command_version;
extern const struct command command_whoami;

#endif
