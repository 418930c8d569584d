// Express with @grpc/grpc-js, mysql2, mongodb and kafkajs. Neighbours come from the environment.
"use strict";

const { setTimeout: sleep } = require("node:timers/promises");
const path = require("node:path");
const grpc = require("@grpc/grpc-js");
const { loadSync } = require("@grpc/proto-loader");
const express = require("express");
const { Kafka, logLevel } = require("kafkajs");
const { MongoClient } = require("mongodb");
const mysql = require("mysql2/promise");

const proto = loadSync(path.join(__dirname, "health.proto"), { enums: String });
const { Health } = grpc.loadPackageDefinition(proto).grpc.health.v1;
const down = new Health(process.env.GRPC_ADDRESS, grpc.credentials.createInsecure());
const database = mysql.createPool({ uri: process.env.MYSQL_URL, connectionLimit: 20 });
const notes = new MongoClient(process.env.MONGODB_URL).db("lab").collection("notes");
const kafka = new Kafka({ brokers: [process.env.KAFKA_ADDRESS], logLevel: logLevel.ERROR });
const events = kafka.producer();

const pause = () => sleep(1 + Math.random() * 4);

function ask(id) {
  const metadata = new grpc.Metadata();
  metadata.set("x-item", String(id));
  return new Promise((resolve, reject) => {
    down.Check({ service: String(id) }, metadata, (error, response) =>
      error ? reject(error) : resolve(response.status),
    );
  });
}

async function item(id) {
  const [rows] = await database.query("SELECT name FROM items WHERE id = ?", [id]);
  return rows[0]?.name ?? null;
}

const note = async (id) => (await notes.findOne({ item: id }))?.text ?? null;

const tell = (id) =>
  events.send({ topic: "items", acks: 1, messages: [{ key: String(id), value: '{"seen":true}' }] });

const app = express();

app.get("/healthz", (request, response) => {
  response.send("ok");
});

app.get("/paced/:id", async (request, response) => {
  const id = Number(request.params.id);
  const answer = { id, down: await ask(id) };
  await pause();
  answer.name = await item(id);
  await pause();
  answer.note = await note(id);
  await pause();
  await tell(id);
  response.json(answer);
});

app.get("/await/:id", async (request, response) => {
  const id = Number(request.params.id);
  const answer = { id, down: await ask(id), name: await item(id), note: await note(id) };
  await tell(id);
  response.json(answer);
});

app.get("/fan/:id", async (request, response) => {
  const id = Number(request.params.id);
  const [status, name, text] = await Promise.all([ask(id), item(id), note(id), tell(id)]);
  response.json({ id, down: status, name, note: text });
});

events.connect().then(() => app.listen(Number(process.env.PORT), "127.0.0.1"));
