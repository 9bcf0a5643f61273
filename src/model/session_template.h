/*
 * The templates of iam_auth: texts of the last AssumeRole that may hold {subject}, {client}, {role}
 * and {issuer}.  Here is what a template may look like; who renders them is the gateway
 * (gateway/session_name.h).  Pure.
 *
 * What a text may hold is STS's rule ("AssumeRole", AWS STS API reference): RoleSessionName and
 * SourceIdentity 2 to 64 of [A-Za-z0-9_+=,.@-]; a session tag's value at most 256 of letters,
 * digits, blanks and _.:/=+-@ (of letters here only ASCII's).  A brace is in neither, so that every
 * one belongs to a placeholder.
 */
#ifndef SALLYPORT_MODEL_SESSION_TEMPLATE_H
#define SALLYPORT_MODEL_SESSION_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"
#include "base/view.h"

enum session_text { SESSION_TEXT_NAME, SESSION_TEXT_TAG };

enum { SESSION_NAME_MIN = 2, SESSION_NAME_MAX = 64, SESSION_TAG_VALUE_MAX = 256 };

enum session_placeholder {
    SESSION_SUBJECT,
    SESSION_CLIENT,
    SESSION_ROLE,
    SESSION_ISSUER,
    SESSION_PLACEHOLDERS,
};

/* One piece of a template: literal text, or a placeholder. */
struct session_piece {
    bool is_placeholder;
    enum session_placeholder placeholder;
    struct view text; /* as written; of a placeholder with its braces */
};

/* Takes the next piece off *rest; false at the end, and at a brace that belongs to no known
 * placeholder (then *rest is not empty). */
bool session_template_next(struct view *rest, struct session_piece *piece);

/* NULL: it may stand in the configuration.  Else what is wrong with it, a static text for the
 * operator. */
const char *session_template_check(struct view text, enum session_text kind) MUST_USE;

/* True when it holds a placeholder: a session per value, not one for all. */
bool session_template_varies(struct view text);

/* Whether the character may stand in such a text. */
bool session_text_may_have(enum session_text kind, char c);
size_t session_text_max(enum session_text kind);

#endif
