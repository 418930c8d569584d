// A service by Node's own https or http2, without any instrumentation: service.js PORT KEY CERTIFICATE [http2]
const fs = require('fs');
const http2 = require('http2');
const https = require('https');

const [port, key, certificate, version] = process.argv.slice(2);
const options = { key: fs.readFileSync(key), cert: fs.readFileSync(certificate) };
const create = version === 'http2' ? http2.createSecureServer : https.createServer;
const server = create(options, (request, response) => {
  response.statusCode = request.url.startsWith('/users/') ? 200 : 404;
  response.end(request.url);
});
server.listen(Number(port), '127.0.0.1');
