// A service by Node's own https, without any instrumentation: service.js PORT KEY CERTIFICATE
const fs = require('fs');
const https = require('https');

const [port, key, certificate] = process.argv.slice(2);
const options = { key: fs.readFileSync(key), cert: fs.readFileSync(certificate) };
const server = https.createServer(options, (request, response) => {
  response.statusCode = request.url.startsWith('/users/') ? 200 : 404;
  response.end(request.url);
});
server.listen(Number(port), '127.0.0.1');
