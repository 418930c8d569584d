// A Node service whose requests wait for timers, for a queue and for each other.
// Usage: node relay.js PORT [own-handler]
"use strict";

const http = require("node:http");
const net = require("node:net");
const { setTimeout: sleep } = require("node:timers/promises");

const [port, mode] = process.argv.slice(2);
// Two connections for all: most requests wait until one is free.
const agent = new http.Agent({ keepAlive: true, maxSockets: 2 });

if (mode === "own-handler") {
  process.on("SIGUSR1", () => console.log("the application's own handler was called"));
}

function leaf(id) {
  return new Promise((resolve, reject) => {
    http
      .get(`http://127.0.0.1:${port}/leaf/${id}`, { agent }, (response) => {
        let text = "";
        response.on("data", (chunk) => (text += chunk));
        response.on("end", () => resolve(text));
      })
      .on("error", reject);
  });
}

// What a part inside would change, as the application could see it.
function traces() {
  const replaced = ["write", "push"].filter((name) => Object.hasOwn(net.Socket.prototype, name));
  const symbols = Object.getOwnPropertySymbols(process).map(String);
  return { replaced, symbols: symbols.filter((name) => name.includes("remora")) };
}

async function answer(what, id) {
  if (what === "relay") {
    await sleep(Math.random() * 10);
    const first = await leaf(id);
    await new Promise((resolve) => setImmediate(resolve));
    return { first, second: await leaf(id) };
  }
  return what === "traces" ? traces() : { id };
}

http
  .createServer(async (request, response) => {
    const [, what, id] = request.url.split("/");
    const body = JSON.stringify(await answer(what, id));
    response.writeHead(200, { "Content-Type": "application/json", "Content-Length": body.length });
    response.end(body);
  })
  .listen(Number(port), "127.0.0.1");
