/* The part of `sallyport check` that asks about one token. */
#ifndef SALLYPORT_CLI_CHECK_TOKEN_H
#define SALLYPORT_CLI_CHECK_TOKEN_H

#include <stdbool.h>

#include "gateway/snapshot.h"

/* Prints what the token in the file ("-": standard input) would be allowed, without any call; keys
 * are fetched as the running program would.  The exit code: 0 when the token verifies. */
int check_token(const struct snapshot *s, const char *token_file, bool as_json);

#endif
