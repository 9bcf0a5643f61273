#include <stdio.h>

#include "cli/cli.h"

static int run(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    puts("sallyport " SALLYPORT_VERSION);
    return 0;
}

const struct command command_version = {"version", "prints the version", run};
