// A site that queues a job of BullMQ for each request: PORT.
"use strict";

const http = require("node:http");
const { Queue } = require("bullmq");
const { Redis } = require("ioredis");

const connection = new Redis(process.env.BROKER_URL, { maxRetriesPerRequest: null });
const queue = new Queue("mails", { connection });

const server = http.createServer(async (request, response) => {
  await queue.add("mail", { address: `${request.url.slice(1)}@example.org` }, { removeOnComplete: true });
  response.writeHead(202).end();
});
queue.waitUntilReady().then(() => server.listen(Number(process.argv[2]), "127.0.0.1"));
