// A cluster by ioredis, while a slot moves from one node to another: PORT of any node.
"use strict";

const { Cluster, Redis } = require("ioredis");

const KEY = "moving";

async function main() {
  const cluster = new Cluster([{ host: "127.0.0.1", port: Number(process.argv[2]) }]);
  await cluster.set("item:0", 0);
  const admin = new Redis(Number(process.argv[2]));
  const slot = await admin.cluster("KEYSLOT", KEY);
  const ranges = await admin.cluster("SLOTS");
  const owns = ([first, last]) => first <= slot && slot <= last;
  const node = ([, , [host, port]]) => new Redis(port, host);
  const old = node(ranges.find(owns));
  const next = node(ranges.find((range) => !owns(range)));
  const own = async (on, word, whose) => on.cluster("SETSLOT", slot, word, await whose.cluster("MYID"));

  await cluster.set("item:1", 1);
  await cluster.set("item:2", 2);
  await own(next, "IMPORTING", old);
  await own(old, "MIGRATING", next);
  await cluster.set(KEY, "asked");
  await own(next, "NODE", next);
  await own(old, "NODE", next);
  await cluster.append(KEY, "moved");
  await Promise.all([admin, old, next, cluster].map((client) => client.quit()));
}

main();
