// A Node service whose requests are streams of HTTP/2, each of which calls twice: after a timer, and when that is answered.
// Usage: streams.js stream|request|secure|grpc PORT LEAF_PORT; `secure` has its certificate from CERTIFICATE and KEY.
"use strict";

const { readFileSync } = require("node:fs");
const http = require("node:http");
const http2 = require("node:http2");
const { setTimeout: sleep } = require("node:timers/promises");

const [mode, port, leafPort] = process.argv.slice(2);
// Two connections for all: most calls wait until one is free.
const agent = new http.Agent({ keepAlive: true, maxSockets: 2 });

function leaf(id) {
  return new Promise((resolve, reject) => {
    http
      .get(`http://127.0.0.1:${leafPort}/leaf/${id}`, { agent }, (response) => {
        response.resume();
        response.on("end", resolve);
      })
      .on("error", reject);
  });
}

async function relay(id) {
  await sleep(1 + Math.random() * 4);
  await leaf(id);
  const answer = await fetch(`http://127.0.0.1:${leafPort}/leaf/${id}`);
  return answer.text();
}

// Hands on what a stream has brought, when it has ended.
function whole(readable, act) {
  const chunks = [];
  readable.on("data", (chunk) => chunks.push(chunk));
  readable.on("end", () => act(Buffer.concat(chunks).toString()));
}

function onStream(stream) {
  stream.respond({ ":status": 200 });
  whole(stream, (id) => relay(id).then((text) => stream.end(text)));
}

function onRequest(request, response) {
  whole(request, (id) => relay(id).then((text) => response.end(text)));
}

function serveSecurely() {
  const [cert, key] = [process.env.CERTIFICATE, process.env.KEY].map((path) => readFileSync(path));
  return http2.createSecureServer({ cert, key }).on("stream", onStream);
}

const serialize = (value) => Buffer.concat([Buffer.from([10, Buffer.byteLength(value)]), Buffer.from(value)]);
const deserialize = (bytes) => bytes.subarray(2).toString();

function serveGrpc() {
  const grpc = require("@grpc/grpc-js");
  const server = new grpc.Server();
  const get = {
    path: "/golden.Shop/Get",
    requestStream: false,
    responseStream: false,
    requestSerialize: serialize,
    requestDeserialize: deserialize,
    responseSerialize: serialize,
    responseDeserialize: deserialize,
  };
  const handler = (call, answer) => relay(call.request).then((text) => answer(null, text), answer);
  server.addService({ get }, { get: handler });
  server.listen = () =>
    server.bindAsync(`127.0.0.1:${port}`, grpc.ServerCredentials.createInsecure(), (error) => {
      if (error) throw error;
    });
  return server;
}

http.createServer((request, response) => response.end(request.url.split("/").pop())).listen(Number(leafPort), "127.0.0.1");
const servers = {
  stream: () => http2.createServer().on("stream", onStream),
  request: () => http2.createServer(onRequest),
  secure: serveSecurely,
  grpc: serveGrpc,
};
servers[mode]().listen(Number(port), "127.0.0.1");
