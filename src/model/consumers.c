#include "model/consumers.h"

void consumer_index_init(struct consumer_index *index)
{
    map_init(&index->ids);
    map_init(&index->usernames);
    map_init(&index->custom_ids);
}

void consumer_index_clear(struct consumer_index *index)
{
    map_clear(&index->ids);
    map_clear(&index->usernames);
    map_clear(&index->custom_ids);
}

static bool put(struct map *map, struct view key, const struct consumer *c)
{
    union {
        const struct consumer *read;
        void *any;
    } value = {c};
    return key.data == NULL || map_put(map, key, value.any);
}

bool consumer_index_fill(struct consumer_index *index, const struct consumer *consumers,
                         size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct consumer *c = &consumers[i];
        if (!put(&index->ids, c->meta.id, c) || !put(&index->usernames, c->username, c) ||
            !put(&index->custom_ids, c->custom_id, c))
            return false;
    }
    return true;
}

const struct consumer *consumer_by_reference(const struct consumer_index *index, struct view text)
{
    const struct consumer *c = map_get(&index->ids, text);

    return c != NULL ? c : map_get(&index->usernames, text);
}

static const struct map *map_of(const struct consumer_index *index, struct view field)
{
    if (view_is(field, "id"))
        return &index->ids;
    return view_is(field, "custom_id") ? &index->custom_ids : &index->usernames;
}

const struct consumer *consumer_by_claim(const struct consumer_index *index,
                                         const struct issuer *issuer, struct view value)
{
    const struct consumer *found = NULL;

    if (issuer->consumer_claim.data == NULL || value.data == NULL)
        return NULL;
    for (size_t i = 0; found == NULL && i < issuer->consumer_by.count; i++)
        found = map_get(map_of(index, issuer->consumer_by.items[i]), value);
    return found;
}
