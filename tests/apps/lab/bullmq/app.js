// Express that enqueues BullMQ jobs.
"use strict";

const express = require("express");
const { Queue } = require("bullmq");
const { Redis } = require("ioredis");

const app = express();
const connection = new Redis(process.env.QUEUE_URL, { maxRetriesPerRequest: null });
const queue = new Queue("items", { connection });

app.get("/healthz", (request, response) => {
  response.send("ok");
});

app.get("/:route/:id", async (request, response) => {
  const { route, id } = request.params;
  const job = await queue.add(route, { id: Number(id) }, { removeOnComplete: true });
  response.json({ id: Number(id), job: job.id });
});

app.listen(Number(process.env.PORT), "127.0.0.1");
