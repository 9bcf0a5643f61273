/* Any bytes as an answer of Secrets Manager: refused, or what the API promises. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "aws/secrets_manager.h"
#include "base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct sm_answer *a)
{
    ENSURE(a->version.stage_count <= SM_STAGES_MAX && a->version.id.len <= SM_VERSION_ID_MAX);
    ENSURE(view_is_utf8(a->string) && view_is_utf8(a->random_password));
    for (size_t i = 0; i < a->version_count; i++)
        ENSURE(a->versions[i].id.len > 0 && a->versions[i].stage_count <= SM_STAGES_MAX);
    if (a->action == SM_GET_SECRET_VALUE)
        ENSURE(a->has_string == (a->string.data != NULL) &&
               a->has_string == (a->binary.data == NULL));
    if (a->action == SM_GET_RANDOM_PASSWORD)
        ENSURE(a->random_password.len > 0);
    else
        ENSURE(a->arn.len > 0 && a->name.len > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *body = malloc(size + 1);
    struct sm_answer answer;
    struct arena arena;
    char detail[100];

    for (int action = SM_GET_SECRET_VALUE; action <= SM_GET_RANDOM_PASSWORD; action++) {
        memcpy(body, data, size); /* anew: it was wiped */
        arena_init(&arena, 1024, 8 * 1024 * 1024);
        err e = sm_read_answer((enum sm_action)action, view_of(body, size), &arena, &answer);
        if (!failed(e))
            check(&answer);
        sm_answer_wipe(&answer);
        arena_clear(&arena);
    }
    ENSURE(failed(sm_read_error(400, view_of(data, size), detail, sizeof detail)));
    ENSURE(strnlen(detail, sizeof detail) < sizeof detail);
    free(body);
    return 0;
}
