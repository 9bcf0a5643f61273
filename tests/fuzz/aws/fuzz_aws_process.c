/* Any bytes as a command line and as the answer of a credential_process: refused, or words no
 * longer than the line and credentials that are whole. */
#include <stdint.h>

#include "aws/process.h"
#include "base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_words(struct view command)
{
    struct view words[PROCESS_WORDS_MAX];
    struct arena arena;
    size_t count, total = 0;

    arena_init(&arena, 1024, 8 * 1024 * 1024);
    err e = process_split(&arena, command, words, &count);
    ENSURE(failed(e) == (count == 0) && count <= PROCESS_WORDS_MAX);
    for (size_t i = 0; i < count; i++)
        total += words[i].len;
    ENSURE(total <= command.len);
    ENSURE(count == 0 || words[0].len > 0);
    arena_clear_secure(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct view text = view_of(data, size);
    struct aws_credentials c;

    check_words(text);
    err e = process_read_credentials(text, 1, "fuzz", &c);
    if (!failed(e))
        ENSURE(c.access_key_id[0] != '\0' && c.secret_access_key.len > 0 && c.expiry_us != 1);
    else
        ENSURE(c.secret_access_key.len == 0);
    aws_credentials_clear(&c);
    return 0;
}
