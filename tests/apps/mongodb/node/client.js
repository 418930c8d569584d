// Writes, reads and fails by the driver for Node; the argument is the port.
const { MongoClient } = require("mongodb");

async function main() {
  const client = new MongoClient(`mongodb://127.0.0.1:${process.argv[2]}`, { maxPoolSize: 2 });
  const items = client.db("store").collection("items");
  await items.insertOne({ _id: 1, name: "lamp" });
  await Promise.all([items.findOne({ name: "lamp" }), items.updateOne({ name: "lamp" }, { $set: { price: 3 } })]);
  await items.insertOne({ _id: 1 }).catch((error) => error.code);
  await items.drop();
  await client.close();
}

main();
