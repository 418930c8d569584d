// A service by Node's own http2, without any instrumentation: http2.js PORT
const http2 = require('http2');

const server = http2.createServer();
server.on('stream', (stream, headers) => {
  const status = headers[':path'].startsWith('/users/') ? 200 : 404;
  stream.respond({ ':status': status, 'content-type': 'text/plain' });
  stream.end(headers[':path']);
});
server.listen(Number(process.argv[2]), '127.0.0.1');
