/* Any bytes as an answer of STS: refused, or credentials that are whole. */
#include <stdint.h>

#include "aws/sts.h"
#include "aws/xml.h"
#include "base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t check_tree(const struct xml_element *root)
{
    size_t count = 0, depth = 0;

    for (const struct xml_element *e = root; e != NULL;) {
        count++;
        ENSURE(e->name.len > 0);
        ENSURE(e->first == NULL || e->text.data == NULL);
        ENSURE(view_is_utf8(e->text));
        if (e->first != NULL) {
            ENSURE(e->first->parent == e && ++depth < XML_MAX_DEPTH);
            e = e->first;
            continue;
        }
        while (e != NULL && e != root && e->next == NULL) {
            e = e->parent;
            depth--;
        }
        e = e == NULL || e == root ? NULL : e->next;
    }
    return count;
}

/* The same bytes as a caller's token, whose claims a hint shows. */
static void check_refusal(struct view body)
{
    static const char *const codes[] = {"InvalidIdentityToken", "AccessDenied", "IDPRejectedClaim"};
    const struct sts_call call = {.action = STS_ASSUME_ROLE_WITH_WEB_IDENTITY,
                                  .web_identity_token = body};
    char code[STS_ERROR_CODE_MAX + 1], hint[200];

    sts_error_code(body, code);
    ENSURE(strnlen(code, sizeof code) < sizeof code);
    (void)sts_failure_of(400, code);
    for (size_t i = 0; i < COUNT_OF(codes); i++) {
        sts_hint(&call, codes[i], hint, sizeof hint);
        ENSURE(hint[0] != '\0' && strnlen(hint, sizeof hint) < sizeof hint);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct view body = view_of(data, size);
    const struct xml_element *root;
    struct aws_credentials c;
    struct sts_caller caller;
    struct arena arena;
    char text[100];

    arena_init(&arena, 1024, 8 * 1024 * 1024);
    if (failed(xml_parse(&arena, body, &root)))
        ENSURE(root == NULL);
    else
        ENSURE(check_tree(root) <= XML_MAX_ELEMENTS);
    if (!failed(sts_read_credentials(body, (enum sts_action)(size % 2), 0, "fuzz", &c))) {
        ENSURE(c.access_key_id[0] != '\0' && c.secret_access_key.len > 0);
        ENSURE(c.session_token.len > 0 && c.expiry_us > 0);
        aws_credentials_clear(&c);
    }
    if (!failed(sts_read_caller(body, &arena, &caller)))
        ENSURE(caller.arn.len > 0);
    sts_describe_error(body, text, sizeof text);
    ENSURE(strnlen(text, sizeof text) < sizeof text);
    check_refusal(body);
    arena_clear(&arena);
    return 0;
}
