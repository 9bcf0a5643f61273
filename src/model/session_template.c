#include "model/session_template.h"

static const struct {
    struct view text;
    enum session_placeholder placeholder;
} placeholders[] = {
    {VIEW("{subject}"), SESSION_SUBJECT},
    {VIEW("{client}"), SESSION_CLIENT},
    {VIEW("{role}"), SESSION_ROLE},
    {VIEW("{issuer}"), SESSION_ISSUER},
};

static const char *const wrong_character[] = {
    [SESSION_TEXT_NAME] = "may hold only letters, digits and _+=,.@- beside placeholders",
    [SESSION_TEXT_TAG] = "may hold only letters, digits, blanks and _.:/=+-@ beside placeholders",
};

bool session_text_may_have(enum session_text kind, char c)
{
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
        return true;
    return c != '\0' && strchr(kind == SESSION_TEXT_NAME ? "_+=,.@-" : " _.:/=+-@", c) != NULL;
}

size_t session_text_max(enum session_text kind)
{
    return kind == SESSION_TEXT_NAME ? SESSION_NAME_MAX : SESSION_TAG_VALUE_MAX;
}

bool session_template_next(struct view *rest, struct session_piece *piece)
{
    size_t at = 0;

    if (rest->len == 0)
        return false;
    if (rest->data[0] == '{') {
        for (size_t i = 0; i < COUNT_OF(placeholders); i++) {
            if (!view_starts_with(*rest, placeholders[i].text))
                continue;
            *piece = (struct session_piece){true, placeholders[i].placeholder,
                                            view_upto(*rest, placeholders[i].text.len)};
            *rest = view_from(*rest, placeholders[i].text.len);
            return true;
        }
        return false;
    }
    while (at < rest->len && rest->data[at] != '{' && rest->data[at] != '}')
        at++;
    if (at == 0)
        return false;
    *piece = (struct session_piece){.text = view_upto(*rest, at)};
    *rest = view_from(*rest, at);
    return true;
}

bool session_template_varies(struct view text)
{
    struct session_piece piece;

    while (session_template_next(&text, &piece)) {
        if (piece.is_placeholder)
            return true;
    }
    return false;
}

const char *session_template_check(struct view text, enum session_text kind)
{
    struct view rest = text;
    struct session_piece piece;
    size_t literal = 0;
    bool varies = false;

    while (session_template_next(&rest, &piece)) {
        varies |= piece.is_placeholder;
        if (piece.is_placeholder)
            continue;
        literal += piece.text.len;
        for (size_t i = 0; i < piece.text.len; i++) {
            if (!session_text_may_have(kind, piece.text.data[i]))
                return wrong_character[kind];
        }
    }
    if (rest.len > 0)
        return "has a brace that is none of {subject}, {client}, {role}, {issuer}";
    if (literal > session_text_max(kind))
        return kind == SESSION_TEXT_NAME ? "is longer than 64 characters"
                                         : "is longer than 256 characters";
    if (kind == SESSION_TEXT_NAME && !varies && literal < SESSION_NAME_MIN)
        return "is shorter than 2 characters";
    return NULL;
}
