// A Node service whose main thread hands each request to a worker thread, which makes the calls.
// Usage: node workers.js PORT
//   /direct/ID    by a message to one of four workers, several of them at once in each
//   /port/ID      by a port that the worker was given when it began
//   /drain/ID     by a port that the worker empties without waiting, whenever it has done with a message
//   /pool/ID      by a worker that has nothing else to do, or else when one has; its answer is a callback
//   /late/ID      by a worker that begins with the first such request
//   /traces/late  what a part inside that worker would change, as it could see it; of the others /traces/first
"use strict";

const http = require("node:http");
const net = require("node:net");
const { once } = require("node:events");
const { setTimeout: sleep } = require("node:timers/promises");
const { isMainThread, MessageChannel, parentPort, receiveMessageOnPort, Worker } = require("node:worker_threads");

const port = Number(process.argv[2]);
const WORKERS = 4;
const agent = new http.Agent({ keepAlive: true, maxSockets: 2 });

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

async function work(id) {
  await sleep(Math.random() * 5);
  const first = await leaf(id);
  await new Promise((resolve) => setImmediate(resolve));
  // A clone is no message.
  return structuredClone({ id, first, second: await leaf(id) });
}

function traces() {
  const { MessagePort } = require("node:worker_threads");
  const own = ({ prototype }) => Reflect.ownKeys(prototype).map(String);
  return [...own(net.Socket), ...own(MessagePort), ...Reflect.ownKeys(process).map(String)].join();
}

function serveMessages(end) {
  end.on("message", async (message) => {
    if (message.end) return serveMessages(message.end);
    if (message.traced) return end.postMessage({ id: message.id, traces: traces() });
    if (message.drained === undefined) return end.postMessage(await work(message.id));
    for (let next = { message }; next !== undefined; next = receiveMessageOnPort(end)) {
      end.postMessage(await work(next.message.drained));
    }
  });
}

if (!isMainThread) {
  serveMessages(parentPort);
} else {
  const waiting = new Map();
  const answered = (body) => {
    waiting.get(body.id)(body);
    waiting.delete(body.id);
  };
  const start = () => {
    const worker = new Worker(__filename, { argv: [String(port)] });
    worker.on("message", answered);
    return worker;
  };
  const workers = Array.from({ length: WORKERS }, start);
  const ends = workers.map((worker) => {
    const { port1, port2 } = new MessageChannel();
    worker.postMessage({ end: port2 }, [port2]);
    return port1.on("message", answered);
  });
  const ask = (target, id, message) =>
    new Promise((resolve) => {
      waiting.set(id, resolve);
      target.postMessage(message);
    });

  // As the documentation of Node has it: who waits is served when a worker has answered somebody else.
  const idle = [];
  const queue = [];
  const pooled = Array.from({ length: 2 }, () => {
    const worker = new Worker(__filename, { argv: [String(port)] });
    worker.on("message", (body) => {
      worker.answered(body);
      idle.push(worker);
      serveNext();
    });
    idle.push(worker);
    return worker;
  });
  function serveNext() {
    if (queue.length === 0 || idle.length === 0) return;
    const { id, callback } = queue.shift();
    const worker = idle.pop();
    worker.answered = callback;
    worker.postMessage({ id });
  }

  let late;
  const modes = {
    direct: (id) => ask(workers[id % WORKERS], id, { id }),
    port: (id) => ask(ends[id % WORKERS], id, { id }),
    drain: (id) => ask(ends[id % WORKERS], id, { drained: id }),
    pool: (id) =>
      new Promise((resolve) => {
        queue.push({ id, callback: (body) => leaf(id).then(() => resolve(body)) });
        serveNext();
      }),
    late: (id) => ask((late ??= start()), id, { id }),
    leaf: async (id) => ({ id }),
    traces: (id) => ask(id === "late" ? (late ??= start()) : workers[0], id, { id, traced: true }),
  };

  const ready = [...workers, ...pooled].map((worker) => once(worker, "online"));
  const server = http.createServer(async (request, response) => {
    const [, mode, id] = request.url.split("/");
    const body = JSON.stringify(await modes[mode](Number(id) || id));
    response.writeHead(200, { "Content-Type": "application/json", "Content-Length": body.length });
    response.end(body);
  });
  Promise.all(ready).then(() => server.listen(port, "127.0.0.1"));
}
