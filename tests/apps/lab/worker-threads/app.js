// node:http in the main thread; each request is handed to one of four worker threads, which makes the calls.
"use strict";

const http = require("node:http");
const { Worker } = require("node:worker_threads");

const workers = Array.from({ length: 4 }, () => new Worker(require.resolve("./worker.js")));
const waiting = new Map();
let next = 0;

for (const worker of workers) {
  worker.on("message", ({ ticket, body }) => {
    waiting.get(ticket)(body);
    waiting.delete(ticket);
  });
}

function ask(route, id) {
  const ticket = next++;
  workers[ticket % workers.length].postMessage({ ticket, route, id });
  return new Promise((resolve) => waiting.set(ticket, resolve));
}

http
  .createServer(async (request, response) => {
    const [, route, id] = request.url.split("/");
    if (route === "healthz") {
      response.end("ok");
      return;
    }
    const body = await ask(route, Number(id));
    response.writeHead(body ? 200 : 500, { "Content-Type": "application/json" });
    response.end(JSON.stringify(body));
  })
  .listen(Number(process.env.PORT), "127.0.0.1");
