/* What the files of the audit command share. */
#ifndef SALLYPORT_CLI_AUDIT_H
#define SALLYPORT_CLI_AUDIT_H

#include <stdbool.h>

#include "audit/event.h"
#include "base/time.h"
#include "cli/options.h"

struct audit_command {
    const char *directory;
    char *directory_text; /* what directory points at when it came from the configuration */
    struct cli_options common;
    const char *public_key;
    const char *anchors; /* a shipped copy; NULL: none */
    char since[TIME_TEXT_BYTES]; /* compared with the records' own text; "": from the beginning */
    bool has_kind;
    enum audit_kind kind;
    const char *subject;
    bool json;
    const char *request_id;
};

/* A time's beginning, or an age, as the text that records are compared with. */
bool audit_since(const char *text, char out[TIME_TEXT_BYTES]);
/* The folder that the environment or the configuration names, or NULL. */
const char *audit_default_directory(struct audit_command *c);

int audit_show(const struct audit_command *c);
int audit_explain(const struct audit_command *c);

#endif
