/* The vectors of tests/vectors/jwt and the issuers that they are meant for. */
#ifndef SALLYPORT_TEST_IDENTITY_VECTORS_H
#define SALLYPORT_TEST_IDENTITY_VECTORS_H

#include <stdio.h>
#include <stdlib.h>

#include "identity/identity.h"
#include "identity/key_refresher.h"
#include "json/json.h"


static const struct view every_alg[] = {
    VIEW("RS256"), VIEW("RS384"), VIEW("RS512"), VIEW("PS256"), VIEW("PS384"),
    VIEW("PS512"), VIEW("ES256"), VIEW("ES384"), VIEW("ES512"), VIEW("EdDSA"),
};
static const struct view orders[] = {VIEW("api://orders")};
static const struct view only_rs256[] = {VIEW("RS256")};
static const struct view only_es256[] = {VIEW("ES256")};
static const struct view cognito_clients[] = {VIEW("client-1")};
static const struct view access_only[] = {VIEW("access")};
static const struct view okta_audience[] = {VIEW("api://default")};
static const struct view entra_audience[] = {VIEW("6e74172b-be56-4843-9ff4-e66a39bb12e3")};
static const struct view plain_clients[] = {VIEW("c-0"), VIEW("c-1")};

#define KEYS_FILE VIEW(TEST_VECTORS "/jwt/keys.json")

static const struct issuer vector_issuers[] = {
    {.name = VIEW("generic"), .issuer = VIEW("https://issuer.example/generic"),
     .jwks_file = KEYS_FILE, .audience = {orders, 1}, .algorithms = {every_alg, 10},
     .leeway_s = 30},
    {.name = VIEW("cognito"), .preset = PRESET_COGNITO,
     .issuer = VIEW("https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Example"),
     .jwks_file = KEYS_FILE, .clients = {cognito_clients, 1}, .algorithms = {only_rs256, 1},
     .token_use = {access_only, 1}, .leeway_s = 30},
    {.name = VIEW("okta"), .preset = PRESET_OKTA,
     .issuer = VIEW("https://example.okta.com/oauth2/default"), .jwks_file = KEYS_FILE,
     .audience = {okta_audience, 1}, .algorithms = {every_alg, 10}, .leeway_s = 30},
    {.name = VIEW("entra"), .preset = PRESET_ENTRA,
     .issuer = VIEW("https://login.microsoftonline.com/0f5c7ea1-0000-4000-8000-000000000001/v2.0"),
     .jwks_file = KEYS_FILE, .audience = {entra_audience, 1}, .algorithms = {every_alg, 10},
     .leeway_s = 30},
    {.name = VIEW("strict"), .issuer = VIEW("https://issuer.example/strict"),
     .jwks_file = KEYS_FILE, .audience = {orders, 1}, .algorithms = {only_es256, 1},
     .leeway_s = 30, .max_token_age_s = 600},
    {.name = VIEW("realm"), .issuer = VIEW("https://issuer.example/realms/shop"),
     .jwks_file = KEYS_FILE, .audience = {orders, 1}, .algorithms = {every_alg, 10},
     .groups_claim = VIEW("realm_access.roles"), .leeway_s = 30},
    {.name = VIEW("single"), .issuer = VIEW("https://issuer.example/single"),
     .jwks_file = VIEW(TEST_VECTORS "/jwt/single.json"), .audience = {orders, 1},
     .algorithms = {every_alg, 10}, .leeway_s = 30},
    {.name = VIEW("clients"), .issuer = VIEW("https://issuer.example/clients"),
     .jwks_file = KEYS_FILE, .clients = {plain_clients, 2}, .algorithms = {every_alg, 10},
     .leeway_s = 30},
    {.name = VIEW("unfetched"), .issuer = VIEW("https://issuer.example/unfetched"),
     .jwks_file = VIEW(TEST_VECTORS "/jwt/there-is-no-such-file.json"), .audience = {orders, 1},
     .algorithms = {every_alg, 10}, .leeway_s = 30},
};

/* The whole file, NUL-terminated; the test ends when it cannot be read. */
static inline char *read_vectors(const char *name, size_t *len)
{
    char path[512];
    snprintf(path, sizeof path, "%s/jwt/%s", TEST_VECTORS, name);
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        perror(path);
        abort();
    }
    char *data = malloc(1 << 20);
    *len = data == NULL ? 0 : fread(data, 1, (1 << 20) - 1, f);
    fclose(f);
    if (*len == 0)
        abort();
    data[*len] = '\0';
    return data;
}

/* The first `count` issuers with their key files read. */
static inline struct identity *vector_identity(size_t count, struct key_refresher **refresher)
{
    static const struct key_refresher_options options = {0};
    struct identity *id;

    if (failed(identity_new(vector_issuers, count, NULL, &id)) ||
        failed(key_refresher_new(&options, refresher)))
        abort();
    key_refresher_set_identity(*refresher, id);
    (void)key_refresher_tick(*refresher, 0);
    return id;
}

#endif
