/*
 * The shared configuration and credentials files ("Shared config and credentials files" of the AWS
 * SDKs and Tools reference guide): sections, keys, values.  Pure: the text comes in.
 */
#ifndef SALLYPORT_AWS_PROFILE_H
#define SALLYPORT_AWS_PROFILE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/view.h"

enum {
    AWS_PROFILE_FILE_MAX = 256 * 1024,
    AWS_PROFILE_ENTRIES_MAX = 4096, /* lookups go through all of them */
};

enum aws_section {
    AWS_SECTION_PROFILE,
    AWS_SECTION_SSO_SESSION, /* [sso-session NAME] */
    AWS_SECTION_SERVICES,    /* [services NAME]: a block of settings for each service */
};

struct aws_profile_entry {
    enum aws_section section;
    struct view profile; /* the section's name, without the word before it */
    struct view service; /* of a services section: whose block it is; else absent */
    struct view key;
    struct view value;
    bool prefixed; /* [profile default], which goes before [default] */
};

/* One file.  The views point into its text, the entries stand in the arena. */
struct aws_profile_file {
    struct aws_profile_entry *entries;
    size_t count;
    size_t capacity;
};

enum aws_profile_kind {
    /* [default], [profile NAME], [sso-session NAME], [services NAME]; others are passed over. */
    AWS_PROFILE_CONFIG,
    AWS_PROFILE_CREDENTIALS, /* [NAME] */
};

/* A line that is neither a section, nor `key = value`, nor a comment. */
extern const struct fault aws_profile_syntax;

/*
 * Comments begin a line, or follow a blank, with '#' or ';'.  A line indented deeper than the key
 * before it belongs to that key's value: read in a services section, passed over elsewhere (the s3
 * block, for one).  *line is where a syntax fault stands.  Also fault_out_of_memory and
 * fault_too_large.
 */
err aws_profile_parse(struct arena *arena, struct view text, enum aws_profile_kind kind,
                      struct aws_profile_file *out, unsigned *line) MUST_USE;

/* True when the file has a profile of the name, even an empty one. */
bool aws_profile_exists(const struct aws_profile_file *file, struct view profile);
/* The same of any kind of section. */
bool aws_section_exists(const struct aws_profile_file *file, enum aws_section section,
                        struct view name);
/* The last value given; {NULL, 0} when there is none, or an empty one.  Keys in any case. */
struct view aws_profile_get(const struct aws_profile_file *file, struct view profile,
                            const char *key);
struct view aws_sso_session_get(const struct aws_profile_file *file, struct view session,
                                const char *key);
/* In [services NAME] the key of the service's block; service as "sts", "sso_oidc". */
struct view aws_services_get(const struct aws_profile_file *file, struct view name,
                             const char *service, const char *key);

#endif
