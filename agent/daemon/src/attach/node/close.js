// Closes the inspector once the agent's own connection to it is gone: closing it under a connection may end the process.
(function close(require, descriptor, socket) {
  "use strict";
  const { readlinkSync } = require("fs");
  const inspector = require("inspector");
  const since = Date.now();
  const isGone = () => {
    // Nobody knows which connection it is: by then it is gone.
    if (descriptor === null) return Date.now() - since > 2000;
    try {
      return readlinkSync(`/proc/self/fd/${descriptor}`) !== socket;
    } catch {
      return true;
    }
  };
  const timer = setInterval(() => {
    if (!isGone()) return;
    clearInterval(timer);
    setTimeout(() => inspector.close(), 100).unref();
  }, 20);
  timer.unref();
})
