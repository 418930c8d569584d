// The worker of the BullMQ queue: it makes the calls that a request asked for.
"use strict";

const { setTimeout: sleep } = require("node:timers/promises");
const { Worker } = require("bullmq");
const { Pool } = require("pg");
const { Redis } = require("ioredis");

const pool = new Pool({ connectionString: process.env.DATABASE_URL, max: 20 });
const redis = new Redis(process.env.REDIS_URL);
const connection = new Redis(process.env.QUEUE_URL, { maxRetriesPerRequest: null });

const pause = () => sleep(1 + Math.random() * 4);

async function fetchDown(id) {
  const response = await fetch(`${process.env.DOWN_URL}/down/${id}`);
  return response.json();
}

const item = (id) => pool.query(`SELECT name FROM items WHERE id = $1 /* item ${id} */`, [id]);

const cached = (id) => redis.get(`item:${id}`);

async function work({ name, data: { id } }) {
  if (name === "fan") {
    await Promise.all([fetchDown(id), item(id), cached(id)]);
    return;
  }
  const between = name === "paced" ? pause : async () => {};
  await fetchDown(id);
  await between();
  await item(id);
  await between();
  await cached(id);
}

const worker = new Worker("items", work, { connection, concurrency: 10 });
worker.on("error", (error) => console.error(error));
