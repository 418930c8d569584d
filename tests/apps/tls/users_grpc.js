// A gRPC service by grpc-js over TLS, without any instrumentation: users_grpc.js PORT KEY CERTIFICATE
const fs = require('fs');
const grpc = require('@grpc/grpc-js');

const [port, key, certificate] = process.argv.slice(2);
const same = (bytes) => bytes;
// Each user is a method, so that requests can be told apart.
const names = Array.from({ length: 1001 }, (_, user) => `user_${user}`);
const method = (name) => ({
  path: `/shop.Users/${name}`,
  requestStream: false,
  responseStream: false,
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
});
const ofAll = (value) => Object.fromEntries(names.map((name) => [name, value(name)]));

const server = new grpc.Server();
server.addService(ofAll(method), ofAll(() => (call, answer) => answer(null, call.request)));
const pair = { private_key: fs.readFileSync(key), cert_chain: fs.readFileSync(certificate) };
server.bindAsync(`127.0.0.1:${port}`, grpc.ServerCredentials.createSsl(null, [pair]), (error) => {
  if (error) throw error;
});
