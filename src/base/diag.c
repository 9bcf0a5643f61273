#include "base/diag.h"

#include <stdarg.h>
#include <stdio.h>

void diag_add(struct diagnostics *d, enum severity severity, struct view file, unsigned line,
              unsigned column, const char *format, ...)
{
    char text[1024];
    va_list args;

    if (severity == SEVERITY_ERROR)
        d->errors++;
    else
        d->warnings++;
    struct diagnostic *entry = ARENA_NEW(d->arena, struct diagnostic);
    if (entry == NULL)
        return; /* still counted, so an error is never lost */
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    *entry = (struct diagnostic){.severity = severity,
                                 .file = file.data == NULL ? file : arena_copy(d->arena, file),
                                 .line = line,
                                 .column = column,
                                 .text = arena_copy(d->arena, view_str(text))};
    if (d->last != NULL)
        d->last->next = entry;
    else
        d->first = entry;
    d->last = entry;
}

static bool stands_before(const struct diagnostic *a, const struct diagnostic *b)
{
    return a->line != b->line ? a->line < b->line : a->column < b->column;
}

void diag_sort_after(struct diagnostics *d, struct diagnostic *after)
{
    struct diagnostic *rest = after != NULL ? after->next : d->first, *sorted = NULL;

    while (rest != NULL) {
        struct diagnostic *entry = rest, **at = &sorted;
        rest = rest->next;
        while (*at != NULL && !stands_before(entry, *at))
            at = &(*at)->next;
        entry->next = *at;
        *at = entry;
    }
    if (after != NULL)
        after->next = sorted;
    else
        d->first = sorted;
    d->last = after;
    for (struct diagnostic *entry = sorted; entry != NULL; entry = entry->next)
        d->last = entry;
}

void diag_forget_after(struct diagnostics *d, struct diagnostic *after)
{
    struct diagnostic *gone = after != NULL ? after->next : d->first;

    for (; gone != NULL; gone = gone->next) {
        if (gone->severity == SEVERITY_ERROR)
            d->errors--;
        else
            d->warnings--;
    }
    if (after != NULL)
        after->next = NULL;
    else
        d->first = NULL;
    d->last = after;
}

void diag_print(const struct diagnostics *d, int fd)
{
    for (const struct diagnostic *e = d->first; e != NULL; e = e->next) {
        if (e->file.len > 0)
            dprintf(fd, "%.*s:", VIEW_ARG(e->file));
        if (e->line > 0)
            dprintf(fd, "%u:", e->line);
        if (e->column > 0)
            dprintf(fd, "%u:", e->column);
        dprintf(fd, "%s%s: %.*s\n", e->file.len > 0 || e->line > 0 ? " " : "",
                e->severity == SEVERITY_ERROR ? "error" : "warning", VIEW_ARG(e->text));
    }
}

enum { NAME_MAX_BYTES = 64 };

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t ab = a < b ? a : b;
    return ab < c ? ab : c;
}

/* Levenshtein's distance, with the whole length for names too long to compare. */
static size_t edit_distance(struct view a, struct view b)
{
    size_t row[NAME_MAX_BYTES + 1];

    if (a.len > NAME_MAX_BYTES || b.len > NAME_MAX_BYTES)
        return a.len + b.len;
    for (size_t j = 0; j <= b.len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            size_t above = row[j];
            size_t swap = diagonal + (a.data[i - 1] != b.data[j - 1]);
            row[j] = min3(above + 1, row[j - 1] + 1, swap);
            diagonal = above;
        }
    }
    return row[b.len];
}

struct view diag_nearest(struct view word, const struct view *known, size_t count)
{
    size_t best = word.len / 3 + 1;
    struct view found = {NULL, 0};

    for (size_t i = 0; i < count; i++) {
        size_t distance = edit_distance(word, known[i]);
        if (distance <= best && distance < known[i].len) {
            if (found.data != NULL && distance == best)
                continue;
            best = distance;
            found = known[i];
        }
    }
    return found;
}
