// A Node service whose requests wait for timers, for a queue and for each other.
// Usage: node relay.js PORT [own-handler | secure LEAF_PORT]
// With `secure` each call opens a connection of its own, inside TLS; CERTIFICATE and KEY name files.
"use strict";

const { spawnSync } = require("node:child_process");
const { readFileSync } = require("node:fs");
const http = require("node:http");
const https = require("node:https");
const net = require("node:net");
const { setTimeout: sleep } = require("node:timers/promises");
const { Worker } = require("node:worker_threads");

const [port, mode, leafPort] = process.argv.slice(2);
const isSecure = mode === "secure";
// Two connections for all: most requests wait until one is free.
const agent = isSecure ? new https.Agent({ keepAlive: false }) : new http.Agent({ keepAlive: true, maxSockets: 2 });

if (mode === "own-handler") {
  process.on("SIGUSR1", () => console.log("the application's own handler was called"));
}

function leaf(id) {
  return new Promise((resolve, reject) => {
    const [client, origin] = isSecure ? [https, `https://localhost:${leafPort}`] : [http, `http://127.0.0.1:${port}`];
    client
      .get(`${origin}/leaf/${id}`, { agent }, (response) => {
        let text = "";
        response.on("data", (chunk) => (text += chunk));
        response.on("end", () => resolve(text));
      })
      .on("error", reject);
  });
}

// A worker thread that says everything again, and a call for each of its words.
const ECHO = `const { parentPort } = require("node:worker_threads");
parentPort.on("message", (word) => parentPort.postMessage(word));`;
const waiting = new Map();
let echo;

function startEcho() {
  echo = new Worker(ECHO, { eval: true });
  echo.on("message", (id) => waiting.get(id)(leaf(id)));
}

function byEcho(id) {
  return new Promise((resolve) => {
    waiting.set(id, resolve);
    echo.postMessage(id);
  });
}

// What a part inside would change, as the application could see it.
function traces() {
  const replaced = ["write", "push"].filter((name) => Object.hasOwn(net.Socket.prototype, name));
  if (Object.hasOwn(net.Server.prototype, "emit")) replaced.push("emit");
  const symbols = Object.getOwnPropertySymbols(process).map(String);
  return { replaced, symbols: symbols.filter((name) => name.includes("remora")) };
}

// Does nothing else until the file is gone that the path names.
function block(file) {
  spawnSync("sh", ["-c", 'while [ -e "$0" ]; do sleep 0.05; done', file], { timeout: 60_000 });
}

async function answer(what, id) {
  if (what === "block") block(decodeURIComponent(id));
  if (what === "relay") {
    await sleep(Math.random() * 10);
    const first = await leaf(id);
    await new Promise((resolve) => setImmediate(resolve));
    return { first, second: await leaf(id) };
  }
  if (what === "start") {
    startEcho();
    // It is served while others talk to the worker.
    await new Promise((resolve) => waiting.set("start", resolve));
  }
  if (what === "stop") waiting.get("start")();
  if (what === "echo" && echo !== undefined) return { echo: await byEcho(id) };
  return what === "traces" ? traces() : { id };
}

async function serve(request, response) {
  const [, what, id] = request.url.split("/");
  const body = JSON.stringify(await answer(what, id));
  response.writeHead(200, { "Content-Type": "application/json", "Content-Length": body.length });
  response.end(body);
}

if (isSecure) {
  const [cert, key] = [process.env.CERTIFICATE, process.env.KEY].map((file) => readFileSync(file));
  https.createServer({ cert, key }, serve).listen(Number(leafPort), "127.0.0.1");
}
http.createServer(serve).listen(Number(port), "127.0.0.1");
