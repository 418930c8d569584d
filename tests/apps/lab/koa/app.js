// Koa with pg, ioredis and node:http's client with a keep-alive agent.
"use strict";

const http = require("node:http");
const Koa = require("koa");
const { Pool } = require("pg");
const { Redis } = require("ioredis");

const app = new (Koa.default ?? Koa)();
const pool = new Pool({ connectionString: process.env.DATABASE_URL, max: 20 });
const redis = new Redis(process.env.REDIS_URL);
const agent = new http.Agent({ keepAlive: true, maxSockets: 32 });

const pause = () => new Promise((resolve) => setTimeout(resolve, 1 + Math.random() * 4));

function fetchDown(id) {
  return new Promise((resolve, reject) => {
    http
      .get(`${process.env.DOWN_URL}/down/${id}`, { agent }, (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (chunk) => (text += chunk));
        response.on("end", () => resolve(JSON.parse(text)));
      })
      .on("error", reject);
  });
}

async function item(id) {
  const { rows } = await pool.query(`SELECT name FROM items WHERE id = $1 /* item ${id} */`, [id]);
  return rows[0]?.name ?? null;
}

const cached = (id) => redis.get(`item:${id}`);

const routes = {
  async paced(id) {
    const down = await fetchDown(id);
    await pause();
    const name = await item(id);
    await pause();
    return { id, down, name, cached: await cached(id) };
  },
  async await(id) {
    return { id, down: await fetchDown(id), name: await item(id), cached: await cached(id) };
  },
  async fan(id) {
    const [down, name, kept] = await Promise.all([fetchDown(id), item(id), cached(id)]);
    return { id, down, name, cached: kept };
  },
};

app.use(async (context, next) => {
  if (context.path === "/healthz") {
    context.body = "ok";
    return;
  }
  await next();
});

app.use(async (context) => {
  const [, route, id] = context.path.split("/");
  if (Object.hasOwn(routes, route)) {
    context.body = await routes[route](Number(id));
  }
});

app.listen(Number(process.env.PORT), "127.0.0.1");
