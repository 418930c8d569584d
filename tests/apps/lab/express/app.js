// Express with pg, ioredis and fetch. Neighbours come from the environment.
"use strict";

const fs = require("node:fs");
const http = require("node:http");
const https = require("node:https");
const { setTimeout: sleep } = require("node:timers/promises");
const express = require("express");
const { Pool } = require("pg");
const { Redis } = require("ioredis");

const app = express();
const pool = new Pool({ connectionString: process.env.DATABASE_URL, max: 20 });
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

app.get("/healthz", (request, response) => {
  response.send("ok");
});

app.get("/paced/:id", async (request, response) => {
  const id = Number(request.params.id);
  const down = await fetchDown(id);
  await pause();
  const name = await item(id);
  await pause();
  response.json({ id, down, name, cached: await cached(id) });
});

app.get("/await/:id", async (request, response) => {
  const id = Number(request.params.id);
  response.json({ id, down: await fetchDown(id), name: await item(id), cached: await cached(id) });
});

app.get("/fan/:id", async (request, response) => {
  const id = Number(request.params.id);
  const [down, name, kept] = await Promise.all([fetchDown(id), item(id), cached(id)]);
  response.json({ id, down, name, cached: kept });
});

const { TLS_KEY: key, TLS_CERTIFICATE: certificate } = process.env;
const server = certificate
  ? https.createServer({ key: fs.readFileSync(key), cert: fs.readFileSync(certificate) }, app)
  : http.createServer(app);
server.listen(Number(process.env.PORT), "127.0.0.1");
