// Asks COUNT users, from /users/FIRST on, as many at once as IN_FLIGHT: load.js URL CA FIRST COUNT IN_FLIGHT
const fs = require('fs');
const https = require('https');

const [url, ca, first, count, inFlight] = process.argv.slice(2);
const agent = new https.Agent({ keepAlive: true, maxSockets: Number(inFlight), ca: fs.readFileSync(ca) });

function get(path) {
  return new Promise((resolve, reject) => {
    const request = https.get(url + path, { agent }, (response) => {
      response.resume();
      response.on('end', () => (response.statusCode === 200 ? resolve() : reject(new Error(path))));
    });
    request.on('error', reject);
  });
}

let next = Number(first);
const end = next + Number(count);
async function worker() {
  while (next < end) await get(`/users/${next++}`);
}

Promise.all(Array.from({ length: Number(inFlight) }, worker)).then(
  () => agent.destroy(),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
