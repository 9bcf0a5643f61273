// oidc-provider over TLS: client credentials give JWT access tokens (RFC 9068) for api://orders.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import https from "node:https";
import { generateKeyPairSync } from "node:crypto";
import { pathToFileURL } from "node:url";

// An ES module does not look into NODE_PATH by itself.
const found = createRequire(import.meta.url).resolve("oidc-provider");
const { default: Provider } = await import(pathToFileURL(found));

const [certificate, key] = process.argv.slice(2);
const signing = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
const server = https.createServer({ cert: readFileSync(certificate), key: readFileSync(key) });
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
const issuer = `https://localhost:${server.address().port}`;

const provider = new Provider(issuer, {
  jwks: { keys: [{ ...signing.export({ format: "jwk" }), alg: "ES256", use: "sig" }] },
  clients: [
    {
      client_id: "alice",
      client_secret: "alice-secret",
      grant_types: ["client_credentials"],
      redirect_uris: [],
      response_types: [],
      id_token_signed_response_alg: "ES256",
    },
  ],
  scopes: ["orders.read"],
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: () => ({
        scope: "orders.read",
        audience: "api://orders",
        accessTokenFormat: "jwt",
        jwt: { sign: { alg: "ES256" } },
      }),
    },
  },
  extraTokenClaims: () => ({ groups: ["orders-readers"], tenant_id: "north" }),
});
server.on("request", provider.callback());
console.log(JSON.stringify({ issuer, token_endpoint: `${issuer}/token` }));
