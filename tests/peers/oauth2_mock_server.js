// oauth2-mock-server over TLS: every client gets a token; its claims are Alice's.
const { OAuth2Server } = require("oauth2-mock-server");

const [certificate, key] = process.argv.slice(2);

async function main() {
  const server = new OAuth2Server(key, certificate);
  await server.issuer.keys.generate("RS256");
  await server.start(0, "127.0.0.1");
  const issuer = `https://localhost:${server.address().port}`;
  server.issuer.url = issuer;
  server.service.on("beforeTokenSigning", (token) => {
    Object.assign(token.payload, {
      sub: "alice",
      client_id: "alice",
      aud: "api://orders",
      scope: "orders.read",
      groups: ["orders-readers"],
      tenant_id: "north",
    });
  });
  console.log(JSON.stringify({ issuer, token_endpoint: `${issuer}/token` }));
}

main();
