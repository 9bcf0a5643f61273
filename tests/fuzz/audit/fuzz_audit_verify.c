/* A line of the audit log, and a file's name: what is taken is told apart without a byte lost. */
#include <stdlib.h>
#include <string.h>

#include "audit/read.h"
#include "audit/verify.h"
#include "base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct view line = view_of(data, size);
    struct audit_line record;
    struct audit_file file;

    if (audit_line_parse(line, &record)) {
        ENSURE(record.chain.len == 64);
        ENSURE(record.body.len + sizeof(",\"chain\":\"") - 1 + 64 + 2 == size);
        ENSURE(record.kind.data >= line.data);
        ENSURE(record.kind.data + record.kind.len < record.body.data + record.body.len);
    }
    char *name = strndup((const char *)data, size < 300 ? size : 300);
    if (name != NULL && audit_file_parse(name, &file))
        ENSURE(file.anchors || file.number > 0);
    free(name);
    return 0;
}
