// Asks a service of `streams.js` over one connection, so many requests at once, and fails if one gets another's answer.
// Usage: streams_load.js stream|request|secure|grpc PORT FIRST COUNT AT_ONCE
"use strict";

const http2 = require("node:http2");

const [mode, port, first, count, atOnce] = process.argv.slice(2);
const isGrpc = mode === "grpc";
const session = http2.connect(`${mode === "secure" ? "https" : "http"}://127.0.0.1:${port}`);

// A gRPC message: not compressed, its length, and field 1 of it.
function framed(id) {
  const field = Buffer.concat([Buffer.from([10, id.length]), Buffer.from(id)]);
  return Buffer.concat([Buffer.from([0, 0, 0, 0, field.length]), field]);
}

function ask(id) {
  return new Promise((resolve, reject) => {
    const headers = { ":method": "POST", ":path": isGrpc ? "/golden.Shop/Get" : `/relay/${id}`, "x-number": id };
    if (isGrpc) Object.assign(headers, { "content-type": "application/grpc", te: "trailers" });
    const stream = session.request(headers);
    const chunks = [];
    stream.on("data", (chunk) => chunks.push(chunk));
    stream.on("error", reject);
    stream.on("end", () => {
      const [expected, found] = [isGrpc ? framed(id) : Buffer.from(id), Buffer.concat(chunks)];
      if (expected.equals(found)) resolve();
      else reject(new Error(`${id} was answered by ${found}`));
    });
    stream.end(isGrpc ? framed(id) : id);
  });
}

let next = Number(first);
const end = next + Number(count);
async function work() {
  while (next < end) await ask(String(next++));
}
Promise.all(Array.from({ length: Number(atOnce) }, work)).then(
  () => session.close(),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
