// Google Pub/Sub in Node, over @grpc/grpc-js, without any instrumentation.
// Usage: client.js golden PORT
const [, port] = process.argv.slice(2);
process.env.PUBSUB_EMULATOR_HOST = `127.0.0.1:${port}`;
const { PubSub } = require('@google-cloud/pubsub');

async function golden() {
  const client = new PubSub({ projectId: 'golden' });
  const [topic] = await client.topic('orders').get({ autoCreate: true });
  const [subscription] = await topic.subscription('packing').get({ autoCreate: true });
  await topic.publishMessage({
    data: Buffer.from('one order'),
    attributes: { traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' },
  });
  await Promise.all(Array.from({ length: 4 }, () => topic.publishMessage({ data: Buffer.from('a part of a batch') })));
  let left = 5;
  await new Promise((resolve, reject) => {
    subscription.on('error', reject);
    subscription.on('message', (message) => {
      message.ack();
      left -= 1;
      if (left === 0) resolve();
    });
  });
  await subscription.close();
  await client.close();
}

golden().catch((error) => { console.error(error); process.exit(1); });
