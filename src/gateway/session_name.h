/*
 * The IAM session of a caller: iam_auth's templates with the caller's values in them, and the key
 * by which the session's credentials and connections are kept apart from every other's.
 *
 * No two callers ever share a name.  A rendered text stays plain only when nothing had to be
 * changed or cut, the template has one placeholder, its value is not itself shaped like one of our
 * made-up names nor the gateway's own, and a subject's or client's issuer is the only configured
 * one.  In every other case it is a readable part, '-', and 26 characters of a digest over all that
 * the template names, each part with its length, the issuer too where a subject or client is named
 * (a subject is unique only within its issuer, RFC 7519 section 4.1.2).  The digest is the first
 * 128 bits of SHA-256, in the lower-case base32 of RFC 4648.
 *
 * Pure; any thread.
 */
#ifndef SALLYPORT_GATEWAY_SESSION_NAME_H
#define SALLYPORT_GATEWAY_SESSION_NAME_H

#include "base/arena.h"
#include "base/err.h"
#include "database/database.h"
#include "model/entities.h"
#include "model/principal.h"
#include "model/session_template.h"

enum { SESSION_DIGEST_CHARS = 26 };

/* Whose session; an absent value is told from an empty one. */
struct session_caller {
    struct view issuer;      /* the token's iss: in digests */
    struct view issuer_name; /* the configured name: what {issuer} shows */
    struct view subject;
    struct view client;
    struct view role;
    bool only_issuer; /* the configuration has no other */
    const struct claim *claims; /* of the token, which may be what the session is assumed with */
    size_t claim_count;
};

/* A checked template, rendered; the text lives in the arena, or is the template itself. */
err session_text_render(struct arena *arena, struct view text, enum session_text kind,
                        const struct session_caller *caller, struct view *out) MUST_USE;

/*
 * The whole identity for an endpoint's iam_auth, of which per_caller is true.  Everything lives in
 * the arena.  The key is over what the texts of the AssumeRole that vary are rendered from, and
 * over everything of iam_auth that goes into the AssumeRole: equal keys mean the same request.
 * web_identity_token stays absent: with WEB_IDENTITY_CALLER the issuer, subject and client are in
 * the key, and the claims by which STS may give another session to another token of theirs; whoever
 * makes the call puts the token of the moment in.
 */
err session_identity_make(struct arena *arena, const struct iam_auth *iam,
                          const struct session_caller *caller,
                          struct db_session_identity *out) MUST_USE;

#endif
