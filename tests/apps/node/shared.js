// A Node service whose requests await one promise together, as with tokens and caches that are filled once, and then
// make a call each.
// Usage: node shared.js PORT
"use strict";

const http = require("node:http");
const { setTimeout: sleep } = require("node:timers/promises");

const [port] = process.argv.slice(2);
const agent = new http.Agent({ keepAlive: true });

function get(path) {
  return new Promise((resolve, reject) => {
    http
      .get({ host: "127.0.0.1", port, path, agent }, (response) => {
        let text = "";
        response.on("data", (chunk) => (text += chunk));
        response.on("end", () => resolve(text));
      })
      .on("error", reject);
  });
}

let flight;

function token() {
  flight ??= get("/leaf/0").finally(() => (flight = undefined));
  return flight;
}

async function answer(path) {
  const [, what, id] = path.split("/");
  if (what === "leaf") return sleep(5, id);
  if (what !== "shared") return "ok";
  await token();
  return get(`/leaf/${id}`);
}

http
  .createServer(async (request, response) => response.end(String(await answer(request.url))))
  .listen(port, "127.0.0.1");
