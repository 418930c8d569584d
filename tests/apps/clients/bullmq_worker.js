// A worker of BullMQ that counts what it mails.
"use strict";

const { Worker } = require("bullmq");
const { Redis } = require("ioredis");

const counts = new Redis(process.env.REDIS_URL);
const connection = new Redis(process.env.BROKER_URL, { maxRetriesPerRequest: null });
const worker = new Worker("mails", () => counts.incr("mailed"), { connection });
worker.on("error", (error) => console.error(error));
worker.waitUntilReady().then(() => console.log("ready"));
