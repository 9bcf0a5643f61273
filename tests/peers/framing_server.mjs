// Answers every request with one line, "METHOD target [body]", as node's own parser (llhttp) sees it.
import http from "node:http";

const server = http.createServer({ insecureHTTPParser: false }, (request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    const line = `${request.method} ${request.url} [${Buffer.concat(parts).toString("latin1")}]`;
    response.end(Buffer.from(line, "latin1"));
  });
});
server.on("connect", (request, socket) => socket.end("HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n"));
server.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ port: server.address().port })));
