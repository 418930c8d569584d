// A Node service without any instrumentation: http server and client, and pg.
// Usage: node server.js PORT [DATABASE_URL] [UPSTREAM_URL]
"use strict";

const http = require("node:http");
const { Pool } = require("pg");

const [port, databaseUrl, upstreamUrl] = process.argv.slice(2);
const pool = databaseUrl ? new Pool({ connectionString: databaseUrl, max: 8 }) : null;
const agent = new http.Agent({ keepAlive: true });

function fetchText(url) {
  return new Promise((resolve, reject) => {
    http
      .get(url, { agent }, (response) => {
        let text = "";
        response.on("data", (chunk) => (text += chunk));
        response.on("end", () => resolve(text));
      })
      .on("error", reject);
  });
}

async function answer(path) {
  const [, what, id] = path.split("/");
  switch (what) {
    case "healthz":
      return { ok: true };
    case "users":
      return { id };
    case "orders": {
      const found = await pool.query("SELECT note FROM orders WHERE id = $1", [id]);
      return { id, note: found.rows[0]?.note ?? null };
    }
    case "relay":
      return { id, upstream: await fetchText(`${upstreamUrl}/users/${id}`) };
    case "broken":
      throw new Error("this endpoint always fails");
    default:
      return undefined;
  }
}

http
  .createServer((request, response) => {
    answer(request.url.split("?")[0]).then(
      (body) => {
        response.writeHead(body === undefined ? 404 : 200, { "Content-Type": "application/json" });
        response.end(JSON.stringify(body ?? { error: "not found" }));
      },
      (error) => {
        response.writeHead(500, { "Content-Type": "application/json" });
        response.end(JSON.stringify({ error: error.message }));
      },
    );
  })
  .listen(Number(port), "127.0.0.1");
