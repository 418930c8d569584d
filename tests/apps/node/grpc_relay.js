// A Node service that asks a gRPC service after a timer, and itself when the answer is called back.
// Usage: grpc_relay.js PORT GRPC_PORT
"use strict";

const http = require("node:http");
const grpc = require("@grpc/grpc-js");

const [port, grpcPort] = process.argv.slice(2);
const agent = new http.Agent({ keepAlive: true });

const serialize = (value) => Buffer.concat([Buffer.from([10, Buffer.byteLength(value)]), Buffer.from(value)]);
const deserialize = (bytes) => bytes.subarray(2).toString();
const Shop = grpc.makeGenericClientConstructor({
  get: {
    path: "/golden.Shop/Get",
    requestStream: false,
    responseStream: false,
    requestSerialize: serialize,
    requestDeserialize: deserialize,
    responseSerialize: serialize,
    responseDeserialize: deserialize,
  },
});
const shop = new Shop(`127.0.0.1:${grpcPort}`, grpc.credentials.createInsecure());

function relay(id, response) {
  const metadata = new grpc.Metadata();
  metadata.set("x-number", id);
  shop.get(id, metadata, (error) => {
    if (error) return response.writeHead(500).end(String(error));
    http.get(`http://127.0.0.1:${port}/leaf/${id}`, { agent }, (leaf) => {
      leaf.resume();
      leaf.on("end", () => response.end(id));
    });
  });
}

http
  .createServer((request, response) => {
    const [, what, id] = request.url.split("/");
    if (what !== "relay") return response.end(id);
    setTimeout(() => relay(id, response), 1 + Math.random() * 4);
  })
  .listen(Number(port), "127.0.0.1");
