// Asks COUNT users, from FIRST on, as many at once as IN_FLIGHT: load.js SERVER AUTHORITY FIRST COUNT IN_FLIGHT [BEGIN] [WAY]
//
// Until the file BEGIN exists, user 0 is asked again and again, each time by a new connection. WAY is a name of `ways`.
const fs = require('fs');
const http2 = require('http2');
const https = require('https');

const [server, authority, first, count, inFlight, begin, way] = process.argv.slice(2);
const ca = fs.readFileSync(authority);
const address = new URL(server);

function overHttp1() {
  const agent = new https.Agent({ keepAlive: true, maxSockets: Number(inFlight), ca });
  const get = (path) =>
    new Promise((resolve, reject) => {
      const request = https.get(server + path, { agent }, (response) => {
        response.resume();
        response.on('end', () => (response.statusCode === 200 ? resolve() : reject(new Error(path))));
      });
      request.on('error', reject);
    });
  return [(user) => get(`/users/${user}`), () => agent.destroy()];
}

function overHttp2() {
  const session = http2.connect(server, { ca });
  const get = (path) =>
    new Promise((resolve, reject) => {
      const stream = session.request({ ':path': path });
      let status;
      stream.on('response', (headers) => (status = headers[':status']));
      stream.on('error', reject);
      stream.resume();
      stream.on('end', () => (status === 200 ? resolve() : reject(new Error(path))));
      stream.end();
    });
  return [(user) => get(`/users/${user}`), () => session.close()];
}

function byUndici() {
  const { Pool } = require('undici');
  const pool = new Pool(server, { connections: Number(inFlight), connect: { ca } });
  const ask = async (user) => {
    const { statusCode, body } = await pool.request({ method: 'GET', path: `/users/${user}` });
    await body.text();
    if (statusCode !== 200) throw new Error(`user ${user}: ${statusCode}`);
  };
  return [ask, () => pool.close()];
}

function byIoredis() {
  const { Redis } = require('ioredis');
  const client = new Redis(Number(address.port), address.hostname, { tls: { ca } });
  return [(user) => client.publish(`user_${user}`, 'nobody reads this'), () => client.disconnect()];
}

function byGrpc() {
  const grpc = require('@grpc/grpc-js');
  const same = (bytes) => bytes;
  const ownConnections = { 'grpc.use_local_subchannel_pool': 1 };
  const client = new grpc.Client(address.host, grpc.credentials.createSsl(ca), ownConnections);
  const ask = (user) =>
    new Promise((resolve, reject) => {
      const answered = (error) => (error ? reject(error) : resolve());
      client.makeUnaryRequest(`/shop.Users/user_${user}`, same, same, Buffer.alloc(8), answered);
    });
  return [ask, () => client.close()];
}

const ways = { undefined: overHttp1, http2: overHttp2, undici: byUndici, ioredis: byIoredis, grpc: byGrpc };
const open = ways[way];

async function main() {
  while (begin && !fs.existsSync(begin)) {
    const [ask, close] = open();
    await ask(0);
    close();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const [ask, close] = open();
  let next = Number(first);
  const end = next + Number(count);
  const worker = async () => {
    while (next < end) await ask(next++);
  };
  await Promise.all(Array.from({ length: Number(inFlight) }, worker));
  close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
