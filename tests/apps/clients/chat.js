// Talks by `ws`, one message after the other: PORT TEXT...
"use strict";

const { WebSocket } = require("ws");

const [, , port, ...texts] = process.argv;
const socket = new WebSocket(`ws://127.0.0.1:${port}/rooms/17`);
const next = () => (texts.length ? socket.send(texts.shift()) : socket.close(1000));

socket.on("open", next);
socket.on("message", next);
socket.on("error", (error) => {
  throw error;
});
