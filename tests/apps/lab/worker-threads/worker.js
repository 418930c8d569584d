"use strict";

const { setTimeout: sleep } = require("node:timers/promises");
const { parentPort } = require("node:worker_threads");
const { Pool } = require("pg");
const { Redis } = require("ioredis");

const pool = new Pool({ connectionString: process.env.DATABASE_URL, max: 8 });
const redis = new Redis(process.env.REDIS_URL);

const pause = () => sleep(1 + Math.random() * 4);

async function fetchDown(id) {
  const response = await fetch(`${process.env.DOWN_URL}/down/${id}`);
  return response.json();
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

parentPort.on("message", async ({ ticket, route, id }) => {
  try {
    parentPort.postMessage({ ticket, body: await routes[route](id) });
  } catch (error) {
    console.error(error);
    parentPort.postMessage({ ticket, body: null });
  }
});
