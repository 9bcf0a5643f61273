/* Any bytes as a shared config file: refused with a line, or entries that lie within the text. */
#include <stdint.h>

#include "aws/profile.h"
#include "base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool within(struct view part, struct view whole)
{
    return part.data == NULL ||
           (part.data >= whole.data && part.data + part.len <= whole.data + whole.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct view text = view_of(data, size);
    struct aws_profile_file f;
    struct arena arena;
    unsigned line;

    for (int kind = AWS_PROFILE_CONFIG; kind <= AWS_PROFILE_CREDENTIALS; kind++) {
        arena_init(&arena, 1024, 8 * 1024 * 1024);
        err e = aws_profile_parse(&arena, text, (enum aws_profile_kind)kind, &f, &line);
        ENSURE(!is_fault(e, &aws_profile_syntax) || line > 0);
        for (size_t i = 0; !failed(e) && i < f.count && i < 64; i++) {
            const struct aws_profile_entry *at = &f.entries[i];
            ENSURE(within(at->profile, text) && within(at->key, text) && within(at->value, text));
            ENSURE(at->profile.len > 0 && aws_section_exists(&f, at->section, at->profile));
            ENSURE(within(at->service, text));
            (void)aws_profile_get(&f, at->profile, "role_arn");
            (void)aws_services_get(&f, at->profile, "sts", "endpoint_url");
        }
        arena_clear(&arena);
    }
    return 0;
}
