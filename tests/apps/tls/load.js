// Asks COUNT users, from FIRST on, as many at once as IN_FLIGHT: load.js SERVER AUTHORITY FIRST COUNT IN_FLIGHT [BEGIN] [http2]
//
// Until the file BEGIN exists, user 0 is asked again and again, each time by a new connection.
const fs = require('fs');
const http2 = require('http2');
const https = require('https');

const [server, authority, first, count, inFlight, begin, version] = process.argv.slice(2);
const ca = fs.readFileSync(authority);

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
  return [get, () => agent.destroy()];
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
  return [get, () => session.close()];
}

const open = version === 'http2' ? overHttp2 : overHttp1;

async function main() {
  while (begin && !fs.existsSync(begin)) {
    const [get, close] = open();
    await get('/users/0');
    close();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const [get, close] = open();
  let next = Number(first);
  const end = next + Number(count);
  const worker = async () => {
    while (next < end) await get(`/users/${next++}`);
  };
  await Promise.all(Array.from({ length: Number(inFlight) }, worker));
  close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
