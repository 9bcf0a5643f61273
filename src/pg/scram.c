#include "pg/scram.h"

#include "base/secret.h"
#include "crypto/base64.h"
#include "crypto/random.h"
#include "pg/login.h"

enum {
    NONCE_RANDOM_BYTES = 18, /* as libpq; 24 characters of base64 */
    MAX_SALT_BYTES = 1024,   /* PostgreSQL's has 16 */
    /* Of what we send and sign: our own texts and a server-first-message of one login message. */
    MAX_TEXT_BYTES = 2 * PG_LOGIN_MAX_MESSAGE_BYTES,
};

/* RFC 5802 section 5.1: "," and "=" cannot stand in a name as they are. */
static void add_saslname(struct buf *out, struct view name)
{
    for (size_t i = 0; i < name.len; i++) {
        if (name.data[i] == ',')
            buf_add_str(out, "=2C");
        else if (name.data[i] == '=')
            buf_add_str(out, "=3D");
        else
            buf_add_char(out, name.data[i]);
    }
}

static void add_nonce(struct buf *out, struct view given)
{
    uint8_t bytes[NONCE_RANDOM_BYTES];

    if (given.data != NULL) {
        buf_add_view(out, given);
        return;
    }
    random_bytes(bytes, sizeof bytes);
    base64_encode(out, view_of(bytes, sizeof bytes));
}

static const char *gs2_header(enum scram_binding binding)
{
    if (binding == SCRAM_BINDING_USED)
        return "p=tls-server-end-point,,";
    return binding == SCRAM_BINDING_NOT_OFFERED ? "y,," : "n,,";
}

err scram_init(struct scram *s, const struct scram_options *options)
{
    struct buf channel;

    *s = (struct scram){.header = gs2_header(options->binding)};
    buf_init(&s->bare, MAX_TEXT_BYTES);
    buf_add_str(&s->bare, "n=");
    add_saslname(&s->bare, options->user);
    buf_add_str(&s->bare, ",r=");
    s->nonce_at = s->bare.len;
    add_nonce(&s->bare, options->nonce);

    buf_init(&channel, MAX_TEXT_BYTES);
    buf_add_str(&channel, s->header);
    if (options->binding == SCRAM_BINDING_USED)
        buf_add_view(&channel, options->channel_binding);
    buf_init(&s->channel, MAX_TEXT_BYTES);
    base64_encode(&s->channel, buf_view(&channel));
    bool complete = !buf_failed(&channel) && !buf_failed(&s->channel) && !buf_failed(&s->bare);
    buf_clear(&channel);
    return complete ? OK : fail(&fault_too_large);
}

void scram_clear(struct scram *s)
{
    buf_clear_secure(&s->bare);
    buf_clear_secure(&s->channel);
    secret_wipe(s->signature, sizeof s->signature);
}

void scram_first(const struct scram *s, struct buf *out)
{
    buf_add_str(out, s->header);
    buf_add_view(out, buf_view(&s->bare));
}

struct server_first {
    struct view nonce;
    uint8_t salt[MAX_SALT_BYTES];
    size_t salt_len;
    uint32_t iterations;
};

/* Takes "<letter>=<value>" off the front of a list cut by commas.  "m=", a mandatory extension
 * (RFC 5802 section 5.1), is thereby refused like anything else that does not belong there. */
static bool next_attribute(struct view *rest, char letter, struct view *value)
{
    struct view head;

    if (rest->data == NULL)
        return false;
    *rest = view_cut(*rest, ',', &head);
    *value = view_from(head, 2);
    return head.len >= 2 && head.data[0] == letter && head.data[1] == '=';
}

/* RFC 5802 section 7: printable = %x21-2B / %x2D-7E. */
static bool is_nonce(struct view v)
{
    for (size_t i = 0; i < v.len; i++) {
        if (v.data[i] < 0x21 || v.data[i] > 0x7e || v.data[i] == ',')
            return false;
    }
    return v.len > 0;
}

static err parse_iterations(struct view text, uint32_t *out)
{
    uint64_t n;

    if (!view_to_u64(text, UINT64_MAX, &n) || (text.len > 1 && text.data[0] == '0'))
        return fail(&pg_scram_malformed);
    if (n < 1 || n > PG_SCRAM_MAX_ITERATIONS)
        return fail(&pg_scram_iterations);
    *out = (uint32_t)n;
    return OK;
}

/* r=…,s=…,i=… and nothing more: like libpq we take no extensions. */
static err parse_server_first(struct view text, struct view client_nonce, struct server_first *out)
{
    struct view rest = text, salt, iterations;

    if (!next_attribute(&rest, 'r', &out->nonce) || !is_nonce(out->nonce) ||
        !next_attribute(&rest, 's', &salt) ||
        !base64_decode(salt, out->salt, sizeof out->salt, &out->salt_len) || out->salt_len == 0 ||
        !next_attribute(&rest, 'i', &iterations) || rest.data != NULL)
        return fail(&pg_scram_malformed);
    if (!view_starts_with(out->nonce, client_nonce) || out->nonce.len == client_nonce.len)
        return fail(&pg_scram_nonce);
    return parse_iterations(iterations, &out->iterations);
}

/* RFC 5802 section 3: the client's proof, and the signature that the server must answer with. */
static void prove(struct scram *s, const struct server_first *first, struct view password,
                  struct view auth_message, uint8_t proof[SHA256_BYTES])
{
    struct {
        uint8_t salted[SHA256_BYTES], client[SHA256_BYTES], stored[SHA256_BYTES],
            server[SHA256_BYTES];
    } key;

    pbkdf2_sha256(password, view_of(first->salt, first->salt_len), first->iterations, key.salted);
    hmac_sha256(view_of(key.salted, SHA256_BYTES), VIEW("Client Key"), key.client);
    sha256(view_of(key.client, SHA256_BYTES), key.stored);
    hmac_sha256(view_of(key.stored, SHA256_BYTES), auth_message, proof);
    for (size_t i = 0; i < SHA256_BYTES; i++)
        proof[i] ^= key.client[i];
    hmac_sha256(view_of(key.salted, SHA256_BYTES), VIEW("Server Key"), key.server);
    hmac_sha256(view_of(key.server, SHA256_BYTES), auth_message, s->signature);
    secret_wipe(&key, sizeof key);
}

err scram_continue(struct scram *s, struct view server_first, struct view password,
                   struct buf *out)
{
    struct server_first first;
    struct buf text;
    uint8_t proof[SHA256_BYTES];

    TRY(parse_server_first(server_first, view_from(buf_view(&s->bare), s->nonce_at), &first));
    buf_init(&text, 2 * MAX_TEXT_BYTES);
    buf_add_view(&text, buf_view(&s->bare));
    buf_add_char(&text, ',');
    buf_add_view(&text, server_first);
    buf_add_char(&text, ',');
    size_t without_proof_at = text.len;
    buf_add_str(&text, "c=");
    buf_add_view(&text, buf_view(&s->channel));
    buf_add_str(&text, ",r=");
    buf_add_view(&text, first.nonce);
    bool complete = !buf_failed(&text);
    if (complete) {
        prove(s, &first, password, buf_view(&text), proof);
        buf_add_view(out, view_from(buf_view(&text), without_proof_at));
        buf_add_str(out, ",p=");
        base64_encode(out, view_of(proof, sizeof proof));
    }
    buf_clear_secure(&text);
    return complete ? OK : fail(&fault_too_large);
}

err scram_finish(const struct scram *s, struct view server_final)
{
    struct view rest = server_final, value;
    uint8_t signature[SHA256_BYTES];
    size_t len;

    if (view_starts_with(server_final, VIEW("e=")))
        return fail(&pg_scram_refused);
    if (!next_attribute(&rest, 'v', &value) || rest.data != NULL ||
        !base64_decode(value, signature, sizeof signature, &len) || len != sizeof signature)
        return fail(&pg_scram_malformed);
    return secret_eq(view_of(signature, len), view_of(s->signature, len))
               ? OK
               : fail(&pg_scram_signature);
}
