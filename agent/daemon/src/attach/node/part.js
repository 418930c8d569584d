// The part that runs inside Node. The agent has the inspector evaluate it, with `require` and an action; what comes back
// is an object for the agent.
//
// It keeps, in Node's own `AsyncLocalStorage`, the number of the server request that the present code works for, and
// tells the kernel's programs by a system call that does nothing: which number a request gets when it is read, and
// under which number a client's bytes are written. Where it is not sure it tells nothing. It must never throw into the
// application, and what it replaces it puts back.
(function part(require, action, channelName) {
  "use strict";

  const KEY = Symbol.for("remora.part");
  const VERSION = 7;
  const IS_WITH_WORKERS = action === "attach with workers";
  const TAKE = 0x52e0;
  const GIVE = 0x52e1;
  const LEAVE = 0x52e2;
  const ASK = 0x52e5;
  const SHARE = 0x52e7;
  const HEAR = 0x52e8;
  const STREAM = 0x53000000;
  const MAX_DESCRIPTOR = 0xffffff;
  // Above every process id, so that the system call finds nobody; and Node compares with its own.
  const FIRST_TOKEN = 1 << 23;
  const TOKENS_OF_THREAD = 1 << 20;
  const THREADS = 2040;
  const NOBODY = undefined;
  // Worker threads are reached for when nothing has changed for so long. One that begins takes some 50 ms.
  const QUIET_MS = 1000;
  const END_REMEMBERED_MS = 60_000;
  const LOOK_AFTER_MS = 100;
  const MANY_LOOKS = 100;
  const LOOK_RARELY_AFTER_MS = 1000;
  // The agent waits so long for them; they may be reached later.
  const ANSWER_WITHIN_MS = 3000;
  // Writes that wait for more are nobody's.
  const MAX_SHARES = 256;

  function detach() {
    const present = process[KEY];
    if (present === undefined) return { state: "absent" };
    delete process[KEY];
    present.undo();
    return { state: "detached" };
  }

  function attach() {
    const present = process[KEY];
    const isSame = present !== undefined && present.version === VERSION && present.action === action &&
      present.channelName === channelName;
    if (isSame) return { state: "attached", present: true };
    if (present !== undefined) detach();
    const kill = process._kill;
    if (typeof kill !== "function") return { state: "refused", reason: "process._kill is missing" };
    const undone = [];
    const undo = () => {
      while (undone.length > 0) undone.pop()();
    };
    let answer;
    try {
      answer = install(kill, undone);
    } catch (error) {
      undo();
      const refusal = { state: "refused", reason: String(error) };
      if (channelName !== undefined) tellMain(refusal);
      return refusal;
    }
    Object.defineProperty(process, KEY, { value: { version: VERSION, action, channelName, undo }, configurable: true });
    return answer;
  }

  function install(kill, undone) {
    const { AsyncLocalStorage } = require("async_hooks");
    const channels = require("diagnostics_channel");
    const { BroadcastChannel, isMainThread, MessagePort, threadId, Worker } = require("worker_threads");
    if (threadId >= THREADS) throw new Error("the process had too many threads");
    const http = require("http");
    const http2 = require("http2");
    const net = require("net");

    // ---- the kernel's side -----------------------------------------------------------------------------------------

    const base = FIRST_TOKEN + threadId * TOKENS_OF_THREAD;
    let count = 0;
    const nextToken = () => base + (count = (count + 1) % TOKENS_OF_THREAD);

    let taken = NOBODY;
    function take(token) {
      taken = token;
      if (token === NOBODY) kill(FIRST_TOKEN, LEAVE);
      else kill(token, TAKE);
    }

    // Calls a method while this thread executes the unit `token`.
    function callUnder(token, method, self, parameters) {
      if (token === taken) return Reflect.apply(method, self, parameters);
      const before = taken;
      take(token);
      try {
        return Reflect.apply(method, self, parameters);
      } finally {
        take(before);
      }
    }

    // ---- who the present code works for ----------------------------------------------------------------------------

    const store = new AsyncLocalStorage();
    // Somebody may hold what replaced a method, and call it after the end.
    let isAtWork = true;
    undone.push(() => {
      isAtWork = false;
      store.disable();
    });
    const present = () => store.getStore();

    function runFor(token, method, self, parameters) {
      if (!isAtWork) return Reflect.apply(method, self, parameters);
      return store.run(token, () => Reflect.apply(method, self, parameters));
    }

    // What is queued belongs to whom it was first seen with.
    const owners = new WeakMap();
    function adopt(queued) {
      if (!owners.has(queued)) owners.set(queued, present());
      return owners.get(queued);
    }
    // The owner of all of these, or nobody.
    function common(queued) {
      const [first, ...others] = queued.map(adopt);
      return others.every((owner) => owner === first) ? first : NOBODY;
    }

    // Replaces a method, until all is undone.
    function replace(target, name, make) {
      const original = target[name];
      if (typeof original !== "function") return;
      const own = Object.getOwnPropertyDescriptor(target, name);
      const replacement = make(original);
      Object.defineProperty(replacement, "name", { value: original.name, configurable: true });
      Object.defineProperty(replacement, "length", { value: original.length, configurable: true });
      const isPlain = own !== undefined && Object.hasOwn(own, "value");
      const enumerable = own?.enumerable ?? false;
      const descriptor = isPlain ? own : { writable: true, configurable: true, enumerable };
      Object.defineProperty(target, name, { ...descriptor, value: replacement });
      undone.push(() => {
        if (Object.getOwnPropertyDescriptor(target, name)?.value !== replacement) return;
        if (own === undefined) delete target[name];
        else Object.defineProperty(target, name, own);
      });
    }

    function subscribe(name, listener) {
      const guarded = (message) => {
        try {
          listener(message);
        } catch {
          // A listener's error would end the process.
        }
      };
      channels.channel(name).subscribe(guarded);
      undone.push(() => channels.channel(name).unsubscribe(guarded));
    }

    // ---- requests that are read ------------------------------------------------------------------------------------

    const requests = new WeakMap();
    subscribe("http.server.request.start", ({ request }) => {
      const token = nextToken();
      kill(token, GIVE);
      requests.set(request, token);
      store.enterWith(token);
    });

    // A body's chunks are told by the connection, which may serve another request by now.
    replace(http.IncomingMessage.prototype, "push", (push) => function (...parameters) {
      const token = requests.get(this);
      if (token === undefined) return Reflect.apply(push, this, parameters);
      return runFor(token, push, this, parameters);
    });

    // ---- sockets of clients ----------------------------------------------------------------------------------------

    const isClient = (socket) => !socket.server && !socket._server && !socket._isStdio;

    // Connections are shared: what arrives on one is nobody's, until a promise or a parser knows better.
    replace(net.Socket.prototype, "push", (push) => function (...parameters) {
      if (present() === NOBODY || !isClient(this)) return Reflect.apply(push, this, parameters);
      return runFor(NOBODY, push, this, parameters);
    });

    // Whose bytes wait in a socket, write by write; and whose wait for its connection.
    const waiting = new WeakMap();
    const opening = new WeakMap();
    // The socket whose `write` runs, and whether it has reached the handle.
    let writing;
    let hasReached = false;
    // The request that undici writes next, to which socket.
    let announced;

    replace(net.Socket.prototype, "write", (write) => function (...parameters) {
      if (!isAtWork || !isClient(this)) return Reflect.apply(write, this, parameters);
      const [outer, outerReached] = [writing, hasReached];
      [writing, hasReached] = [this, false];
      try {
        return Reflect.apply(write, this, parameters);
      } finally {
        if (!hasReached) wait(this);
        [writing, hasReached] = [outer, outerReached];
      }
    });

    function wait(socket) {
      const owner = writer(socket);
      const owners = waiting.get(socket);
      if (owners === undefined) waiting.set(socket, [owner]);
      else if (owners.length <= MAX_SHARES) owners.push(owners.length < MAX_SHARES ? owner : NOBODY);
    }

    function writer(socket) {
      if (announced?.socket !== socket) return present();
      const { token } = announced;
      announced = undefined;
      return token;
    }

    replace(net.Socket.prototype, "_writeGeneric", (writeGeneric) => function (...parameters) {
      if (!isAtWork || !isClient(this)) return Reflect.apply(writeGeneric, this, parameters);
      const owners = bytesOwners(this);
      if (!this.connecting) return writeFor(owners, writeGeneric, this, parameters);
      // It is called again when the connection is there.
      opening.set(this, owners);
      return Reflect.apply(writeGeneric, this, parameters);
    });

    function bytesOwners(socket) {
      if (writing === socket && !hasReached) {
        hasReached = true;
        return [writer(socket)];
      }
      const kept = opening.has(socket) ? opening : waiting;
      const owners = kept.get(socket) ?? [];
      kept.delete(socket);
      return owners;
    }

    function writeFor(owners, writeGeneric, socket, parameters) {
      const [first, ...others] = owners;
      if (others.every((owner) => owner === first)) return callUnder(first, writeGeneric, socket, parameters);
      const [isSeveral, chunks] = parameters;
      // What was not queued would shift what was.
      const isKnown = isSeveral && chunks.length === owners.length && owners.length <= MAX_SHARES;
      if (!isKnown) return callUnder(NOBODY, writeGeneric, socket, parameters);
      const before = taken;
      chunks.forEach(({ chunk, encoding }, index) => {
        const length = Buffer.byteLength(chunk, encoding);
        if (length === 0) return;
        if (owners[index] !== taken) take(owners[index]);
        kill(FIRST_TOKEN + length, SHARE);
      });
      take(NOBODY);
      try {
        return Reflect.apply(writeGeneric, socket, parameters);
      } finally {
        kill(FIRST_TOKEN, SHARE);
        take(before);
      }
    }

    // ---- streams of HTTP/2 -----------------------------------------------------------------------------------------

    // Node writes them later, those of all together.
    const streams = new WeakMap();
    const prototypes = new WeakSet();

    replace(http2, "connect", (connect) => function (...parameters) {
      const session = Reflect.apply(connect, this, parameters);
      if (isAtWork) once(Object.getPrototypeOf(session), replaceRequest);
      return session;
    });

    function once(prototype, act) {
      if (prototypes.has(prototype)) return;
      prototypes.add(prototype);
      act(prototype);
    }

    function replaceRequest(prototype) {
      replace(prototype, "request", (request) => function (...parameters) {
        const stream = Reflect.apply(request, this, parameters);
        const token = present();
        if (!isAtWork || token === NOBODY) return stream;
        once(Object.getPrototypeOf(stream), replaceEmit);
        streams.set(stream, token);
        if (stream.id === undefined) stream.once("ready", () => tellStream(this, stream, token));
        else tellStream(this, stream, token);
        return stream;
      });
    }

    // A handler works for its stream. All servers have their `emit` from here, whichever were there before.
    replace(net.Server.prototype, "emit", (emit) => function (...parameters) {
      const [event, stream] = parameters;
      const isServed = isAtWork && event === "stream" && stream?.id !== undefined && stream.session;
      if (!isServed) return Reflect.apply(emit, this, parameters);
      const token = nextToken();
      once(Object.getPrototypeOf(stream), replaceEmit);
      streams.set(stream, token);
      tellStream(stream.session, stream, token);
      return runFor(token, emit, this, parameters);
    });

    // What a stream tells, it tells whom it was asked for by, or who serves it.
    function replaceEmit(prototype) {
      replace(prototype, "emit", (emit) => function (...parameters) {
        return runFor(streams.get(this), emit, this, parameters);
      });
    }

    function tellStream(session, stream, token) {
      try {
        const descriptor = session.socket?._handle?.fd;
        if (!(descriptor >= 0 && descriptor <= MAX_DESCRIPTOR && stream.id < FIRST_TOKEN)) return;
        callUnder(token, kill, undefined, [FIRST_TOKEN + stream.id, STREAM + descriptor]);
      } catch {
        // The connection is gone.
      }
    }

    // ---- messages between threads ----------------------------------------------------------------------------------

    // A message is sent for whom the main thread works for.
    if (IS_WITH_WORKERS) {
      replace(MessagePort.prototype, "postMessage", (postMessage) => function (...parameters) {
        if (!isAtWork) return Reflect.apply(postMessage, this, parameters);
        return callUnder(present(), postMessage, this, parameters);
      });
    }

    // All listeners of a port are told by this method. The main thread does not follow what it hears: an answer to one
    // request often has the next one sent that waited for the worker.
    replace(MessagePort.prototype, Symbol.for("nodejs.internal.kHybridDispatch"), (dispatch) => function (...parameters) {
      if (!isAtWork) return Reflect.apply(dispatch, this, parameters);
      if (isMainThread) return runFor(NOBODY, dispatch, this, parameters);
      const token = nextToken();
      kill(token, HEAR);
      return runFor(token, dispatch, this, parameters);
    });

    // Whoever takes a message without waiting for it has done with the one before. `receiveMessageOnPort` looks for this
    // property first, wherever it was taken from; so does `structuredClone` in its own way.
    if (!isMainThread) {
      let isCloning = false;
      replace(globalThis, "structuredClone", (clone) => function (...parameters) {
        const before = isCloning;
        isCloning = true;
        try {
          return Reflect.apply(clone, this, parameters);
        } finally {
          isCloning = before;
        }
      });
      const probe = new BroadcastChannel(channelName);
      const handle = Object.getOwnPropertySymbols(probe).find((symbol) => symbol.description === "kHandle");
      probe.close();
      if (handle === undefined || handle in MessagePort.prototype) throw new Error("kHandle is missing");
      const get = () => {
        if (isAtWork && !isCloning) store.enterWith(NOBODY);
      };
      Object.defineProperty(MessagePort.prototype, handle, { get, configurable: true });
      undone.push(() => delete MessagePort.prototype[handle]);
    }

    // What a worker thread says is nobody's too: it may have been made for one request, and answer another.
    let noteEnd = () => {};
    replace(Worker.prototype, "emit", (emit) => function (...parameters) {
      if (parameters[0] === "exit") noteEnd();
      if (present() === NOBODY) return Reflect.apply(emit, this, parameters);
      return runFor(NOBODY, emit, this, parameters);
    });

    // ---- clients that write for somebody in another's time ---------------------------------------------------------

    subscribe("undici:request:create", ({ request }) => {
      adopt(request);
      replaceDispatch();
    });
    subscribe("undici:client:sendHeaders", ({ request, socket }) => {
      announced = { socket, token: adopt(request) };
    });

    const replaced = new WeakSet();
    function replaceDispatch(dispatcher = globalThis[Symbol.for("undici.globalDispatcher.1")]) {
      while (dispatcher && !Object.hasOwn(dispatcher, "dispatch")) dispatcher = Object.getPrototypeOf(dispatcher);
      if (dispatcher && !replaced.has(dispatcher)) {
        replaced.add(dispatcher);
        carry(dispatcher, "dispatch", 1);
      }
    }

    // A method is called for whom its argument was first seen with.
    function carry(target, name, index) {
      replace(target, name, (method) => function (...parameters) {
        const queued = parameters[index];
        if (queued === null || typeof queued !== "object") return Reflect.apply(method, this, parameters);
        return runFor(adopt(queued), method, this, parameters);
      });
    }

    // A method is called for whom its object was first seen with.
    function own(target, name) {
      replace(target, name, (method) => function (...parameters) {
        return runFor(adopt(this), method, this, parameters);
      });
    }

    // Callbacks are called for whom they were passed by.
    function bind(target, name) {
      replace(target, name, (method) => function (...parameters) {
        const token = present();
        const bound = (value) =>
          typeof value === "function"
            ? function (...results) {
                return runFor(token, value, this, results);
              }
            : value;
        return Reflect.apply(method, this, isAtWork ? parameters.map(bound) : parameters);
      });
    }

    // ---- queues of jobs --------------------------------------------------------------------------------------------

    // A job works under the number under which it was asked for.
    const jobs = new WeakMap();

    // What a method gives is a job, or begins with the data of one.
    function ask(target, name) {
      replace(target, name, (method) => function (...parameters) {
        if (!isAtWork) return Reflect.apply(method, this, parameters);
        const token = nextToken();
        kill(token, ASK);
        const answer = runFor(token, method, this, parameters);
        if (typeof answer?.then !== "function") return answer;
        // Handed on, not listened to: a refusal that nobody handles is still one that nobody handles.
        return answer.then((result) => {
          const job = Array.isArray(result) ? result[0] : result;
          if (job !== null && typeof job === "object") jobs.set(job, token);
          return result;
        });
      });
    }

    const libraries = [
      [/\/pg-pool\/index\.js$/, (Pool) => bind(Pool.prototype, "connect")],
      [/\/pg\/lib\/client\.js$/, (Client) => {
        bind(Client.prototype, "query");
        replace(Client.prototype, "_pulseQueryQueue", (pulse) => function () {
          const queue = this._queryQueue ?? [];
          queue.forEach(adopt);
          if (queue.length === 0) return Reflect.apply(pulse, this, []);
          const next = this.pipeline ? queue : queue.slice(0, 1);
          return runFor(common(next), pulse, this, []);
        });
      }],
      [/\/ioredis\/built\/(Redis|redis\/index|cluster\/index)\.js$/, (exports) => {
        replace((exports.default ?? exports).prototype, "sendCommand", (send) => function (...parameters) {
          const [command, stream] = parameters;
          const pipeline = stream?.isPipeline ? stream.destination : undefined;
          const token = Array.isArray(pipeline?._queue) ? common(pipeline._queue) : adopt(command);
          return runFor(token, send, this, parameters);
        });
      }],
      [/\/ioredis\/built\/[Pp]ipeline\.js$/, (exports) => carry((exports.default ?? exports).prototype, "sendCommand", 0)],
      // Calls wait for names and connections, and go on when those come.
      [/\/@grpc\/grpc-js\/build\/src\/resolving-call\.js$/, ({ ResolvingCall }) => {
        own(ResolvingCall.prototype, "start");
        own(ResolvingCall.prototype, "getConfig");
      }],
      [/\/@grpc\/grpc-js\/build\/src\/load-balancing-call\.js$/, ({ LoadBalancingCall }) => {
        own(LoadBalancingCall.prototype, "start");
        own(LoadBalancingCall.prototype, "doPick");
      }],
      [/\/mysql2\/lib\/(base\/)?connection\.js$/, (Connection) => carry(Connection.prototype, "addCommand", 0)],
      [/\/mysql2\/lib\/commands\/command\.js$/, (Command) => {
        own(Command.prototype, "execute");
      }],
      [/\/mysql2\/lib\/(base\/)?pool\.js$/, (Pool) => bind(Pool.prototype, "getConnection")],
      [/\/bullmq\/dist\/cjs\/classes\/worker\.js$/, ({ Worker }) => {
        ask(Worker.prototype, "moveToActive");
        replace(Worker.prototype, "createJob", (create) => function (...parameters) {
          const job = Reflect.apply(create, this, parameters);
          const token = jobs.get(parameters[0]);
          if (token !== undefined && job !== null && typeof job === "object") jobs.set(job, token);
          return job;
        });
        replace(Worker.prototype, "callProcessJob", (process) => function (...parameters) {
          return runFor(jobs.get(parameters[0]), process, this, parameters);
        });
      }],
      [/\/bullmq\/dist\/cjs\/classes\/job\.js$/, ({ Job }) => {
        // Who has done one asks for the next with the same word.
        ask(Job.prototype, "moveToCompleted");
        ask(Job.prototype, "moveToFailed");
      }],
      [/\/undici\/lib\/(dispatcher\/)?dispatcher-base\.js$/, (Base) => replaceDispatch(Base.prototype)],
    ];

    const known = new WeakSet();
    function look(filename, exports) {
      const isKnown = exports === null || (typeof exports !== "object" && typeof exports !== "function");
      if (isKnown || known.has(exports) || typeof filename !== "string") return;
      const found = libraries.find(([path]) => path.test(filename));
      if (found === undefined) return;
      known.add(exports);
      try {
        found[1](exports);
      } catch {
        // Another version of it: its calls keep what Node itself knows.
      }
    }

    const Module = require("module");
    for (const [filename, module] of Object.entries(Module._cache ?? {})) look(filename, module?.exports);
    replace(Module.prototype, "load", (load) => function (...parameters) {
      const loaded = Reflect.apply(load, this, parameters);
      look(parameters[0], this.exports);
      return loaded;
    });

    // ---- worker threads --------------------------------------------------------------------------------------------

    if (!isMainThread) return followMain(undone);
    if (!IS_WITH_WORKERS) return { state: "attached", present: false };
    const { answer, leaveAlone } = reachWorkers(undone);
    noteEnd = leaveAlone;
    replace(Worker.prototype, "terminate", (terminate) => function (...parameters) {
      noteEnd();
      return Reflect.apply(terminate, this, parameters);
    });
    return answer;
  }

  // A channel on which the threads tell each other that the part is in, and has to go.
  function openChannel(name, undone, listener) {
    const { BroadcastChannel } = require("worker_threads");
    const channel = new BroadcastChannel(name);
    channel.onmessage = ({ data }) => listener(data);
    channel.unref();
    undone.push(() => channel.close());
    return channel;
  }

  function followMain(undone) {
    openChannel(channelName, undone, (message) => message === LEAVE && detach());
    const answer = { state: "attached", present: false };
    tellMain(answer);
    return answer;
  }

  function tellMain(answer) {
    const { BroadcastChannel } = require("worker_threads");
    const channel = new BroadcastChannel(channelName);
    channel.postMessage(answer);
    channel.close();
  }

  // Brings the part into worker threads, by the inspector within the process. To reach for a thread that begins or ends
  // just then may end the process: so it is done only when the same threads have been there for a while, none of them is
  // doing anything, and no worker has ended lately, since the next may be about to.
  function reachWorkers(undone) {
    const name = `remora.part.${process.pid}.${Date.now()}.${Math.random()}`;
    const answer = { state: "attached", present: false, isVisited: false, workers: 0, refused: 0 };
    let settled;
    let expected = 0;
    let timer;
    const channel = openChannel(name, undone, ({ state, reason }) => {
      if (state === "attached") answer.workers += 1;
      if (state === "refused") [answer.refused, answer.reason] = [answer.refused + 1, reason];
      if (answer.workers + answer.refused >= expected) settled();
    });
    undone.push(() => {
      channel.postMessage(LEAVE);
      clearTimeout(timer);
    });

    let threads = "";
    let quietFrom = Date.now();
    let looks = 0;
    function look() {
      const present = threadsAsleep();
      if (present.names !== threads) quietFrom = Math.max(quietFrom, Date.now());
      threads = present.names;
      looks += 1;
      const isQuiet = Date.now() - quietFrom >= QUIET_MS && present.areAsleep;
      if (!isQuiet) return later(looks < MANY_LOOKS ? LOOK_AFTER_MS : LOOK_RARELY_AFTER_MS);
      try {
        expected += visit();
        answer.isVisited = true;
      } catch (error) {
        answer.reason = String(error);
      }
      if (expected === 0) settled();
    }
    function later(milliseconds) {
      clearTimeout(timer);
      timer = setTimeout(look, milliseconds);
      timer.unref();
    }
    function visit() {
      const { Session } = require("inspector");
      const session = new Session();
      const workers = [];
      session.connect();
      try {
        session.on("NodeWorker.attachedToWorker", ({ params }) => workers.push(params.sessionId));
        session.post("NodeWorker.enable", { waitForDebuggerOnStart: false });
        const expression = `(${part})(require, "attach", ${JSON.stringify(name)})`;
        const params = { expression, includeCommandLineAPI: true, returnByValue: true };
        const message = JSON.stringify({ id: 1, method: "Runtime.evaluate", params });
        for (const sessionId of workers) session.post("NodeWorker.sendMessageToWorker", { sessionId, message });
        session.post("NodeWorker.disable");
      } finally {
        session.disconnect();
      }
      return workers.length;
    }

    const begun = () => {
      looks = 0;
      later(LOOK_AFTER_MS);
    };
    const leaveAlone = () => (quietFrom = Date.now() + END_REMEMBERED_MS);
    process.on("worker", begun);
    undone.push(() => process.removeListener("worker", begun));
    const told = new Promise((resolve) => {
      settled = () => resolve(answer);
      setTimeout(settled, ANSWER_WITHIN_MS).unref();
      look();
    });
    return { answer: told, leaveAlone };
  }

  // The threads of this process, and whether all but this one wait for something.
  function threadsAsleep() {
    const { readdirSync, readFileSync, readlinkSync } = require("fs");
    try {
      const own = readlinkSync("/proc/self");
      const names = readdirSync("/proc/self/task");
      const isAsleep = (name) => {
        if (name === own) return true;
        const stat = readFileSync(`/proc/self/task/${name}/stat`, "latin1");
        return stat.slice(stat.lastIndexOf(")")).startsWith(") S");
      };
      return { names: names.join(), areAsleep: names.every(isAsleep) };
    } catch {
      return { names: "", areAsleep: false };
    }
  }

  return action === "detach" ? detach() : attach();
})
