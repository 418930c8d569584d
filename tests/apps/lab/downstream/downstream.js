// The service that encrypted programs ask: an answer after a moment that differs from path to path.
// downstream.js PORT KEY CERTIFICATE
"use strict";

const fs = require("node:fs");
const https = require("node:https");

const SLOWEST_MS = 3;

const [port, key, certificate] = process.argv.slice(2);
const options = { key: fs.readFileSync(key), cert: fs.readFileSync(certificate) };

function moment(path) {
  let mixed = 0;
  for (const character of path) {
    mixed = (mixed * 31 + character.charCodeAt(0)) >>> 0;
  }
  return mixed % (SLOWEST_MS + 1);
}

const server = https.createServer(options, (request, response) => {
  const body = JSON.stringify({ down: request.url.split("/").pop() });
  const headers = { "Content-Type": "application/json", "Content-Length": body.length };
  setTimeout(() => response.writeHead(200, headers).end(body), moment(request.url));
});
server.keepAliveTimeout = 60_000;
server.listen(Number(port), "127.0.0.1");
