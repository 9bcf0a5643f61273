/* sallyport version: of the program, and with --all of the libraries that it runs with. */
#include <curl/curl.h>
#include <getopt.h>
#include <libpq-fe.h>
#include <stdbool.h>
#include <stdio.h>
#include <uv.h>

#include "cli/cli.h"
#include "crypto/version.h"

static const char usage[] =
    "usage: sallyport version [-a]\n"
    "\n"
    "  -a, --all    the versions of the libraries, too\n"
    "  -h, --help   this text\n";

static void print_all(void)
{
    int pq = PQlibVersion(); /* 150010: 15.10 */

    printf("sallyport: %s\n", SALLYPORT_VERSION);
    printf("OpenSSL: %s\n", crypto_openssl_version());
    printf("libcurl: %s\n", curl_version_info(CURLVERSION_NOW)->version);
    printf("libpq: %d.%d\n", pq / 10000, pq % 10000);
    printf("libuv: %s\n", uv_version_string());
}

static int run(int argc, char **argv)
{
    static const struct option options[] = {
        {"all", no_argument, NULL, 'a'}, {"help", no_argument, NULL, 'h'}, {0}};
    bool all = false;
    int option;

    while ((option = getopt_long(argc, argv, "ah", options, NULL)) != -1) {
        if (option != 'a') {
            fputs(usage, option == 'h' ? stdout : stderr);
            return option == 'h' ? 0 : 1;
        }
        all = true;
    }
    if (optind < argc) {
        fputs(usage, stderr);
        return 1;
    }
    if (all)
        print_all();
    else
        puts("sallyport " SALLYPORT_VERSION);
    return 0;
}

const struct command command_version = {"version", "prints the version", run};
