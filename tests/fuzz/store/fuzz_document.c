/* sallyport.yaml to a document and back: what was a valid configuration is the same one still. */
#include <stdint.h>
#include <stdlib.h>

#include "store/document.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *variable(const struct config_host *host, const char *name)
{
    (void)host;
    (void)name;
    return "value";
}

static void require(int condition)
{
    if (!condition)
        abort();
}

static struct view write_out(struct arena *arena, const struct store_document *document)
{
    struct buf out;

    buf_init(&out, 1 << 24);
    require(document_to_yaml(document, &out) && !buf_failed(&out));
    struct view kept = arena_copy(arena, buf_view(&out));
    buf_clear(&out);
    return kept;
}

static void go_round(struct arena *arena, const struct config_host *host, struct view text,
                     struct diagnostics *d)
{
    struct store_document first, second;
    struct store_changes changes;
    struct entities e;

    require(!failed(document_from_yaml(arena, VIEW("f"), VIEW("/f"), text, &first, d)));
    struct view once = write_out(arena, &first);
    require(!failed(entities_parse(arena, "/f/f", once, host, &e, d)));
    require(!failed(document_from_yaml(arena, VIEW("f"), VIEW("/f"), once, &second, d)));
    require(view_eq(once, write_out(arena, &second)));
    for (size_t kind = 0; kind < STORE_KINDS; kind++) {
        for (size_t i = 0; i < first.counts[kind]; i++) {
            if (first.entities[kind][i].id.len == 0)
                first.entities[kind][i].id = arena_printf(arena, "id %zu", i);
        }
    }
    require(!failed(document_compare(arena, &first, &second, &changes)));
    require(changes.count == 0 && !changes.role_order);
}

/* As rows are, so that sealed secrets know their place. */
static void give_ids(struct arena *arena, struct store_document *document)
{
    for (enum store_kind kind = 0; kind < STORE_KINDS; kind++) {
        for (size_t i = 0; i < document->counts[kind]; i++) {
            struct store_entity *e = &document->entities[kind][i];
            if (e->id.len == 0)
                e->id = store_entity_derive_id(arena, kind, e);
        }
    }
}

/* With a keyring: what a file holds in plain is sealed, opens where nodes load it, and is no
 * difference when it is imported again. */
static void go_round_sealed(struct arena *arena, const struct config_host *host, struct view text,
                            struct diagnostics *d)
{
    static const struct store_document nothing;
    struct config_host nodes = *host;
    struct store_document first, second;
    struct store_changes changes;
    struct store_why why;
    struct keyring ring;
    struct entities e;

    nodes.literal_secrets = false;
    keyring_init(&ring, host->keyring);
    require(!failed(document_from_yaml(arena, VIEW("f"), VIEW("/f"), text, &first, d)));
    require(!failed(document_from_yaml(arena, VIEW("f"), VIEW("/f"), text, &second, d)));
    require(!failed(document_seal(arena, &ring, &nothing, &first, &why)));
    give_ids(arena, &first);
    require(!failed(entities_parse(arena, "/f/f", write_out(arena, &first), &nodes, &e, d)));
    require(!failed(document_seal(arena, &ring, &first, &second, &why)));
    require(!failed(document_compare(arena, &first, &second, &changes)));
    require(changes.count == 0 && !changes.role_order);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct config_host host = {.variable = variable, .leave_aws = true};
    const struct keyring_settings keyring = {
        .enabled = true, .key = VIEW("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")};
    struct config_host sealing = host;
    struct arena arena;
    struct entities e;

    sealing.open_sealed = keyring_host_open;
    sealing.keyring = &keyring;
    sealing.literal_secrets = true;
    arena_init(&arena, 4096, 1 << 26);
    struct diagnostics d = {.arena = &arena};
    struct view text = view_of(size > 0 ? (const char *)data : "", size);
    if (!failed(entities_parse(&arena, "/f/f", text, &host, &e, &d)))
        go_round(&arena, &host, text, &d);
    if (!failed(entities_parse(&arena, "/f/f", text, &sealing, &e, &d)))
        go_round_sealed(&arena, &sealing, text, &d);
    arena_clear(&arena);
    return 0;
}
