// SPDX-License-Identifier: MPL-2.0

// A common relay in Node: an event from one client is sent to all other clients.
//
// Prints "Running on URL", "client QUERY" for each client it accepts, and "answer" for each
// acknowledgement.

const fs = require("node:fs");
const { parseArgs } = require("node:util");

const { values: args } = parseArgs({
  options: {
    port: { type: "string", default: "0" },
    path: { type: "string", default: "/socket.io" },
    namespace: { type: "string", default: "/" },
    event: { type: "string", default: "stream" },
    auth: { type: "string" },
    certificate: { type: "string" },
    key: { type: "string" },
    cors: { type: "boolean" },
    "max-http-buffer-size": { type: "string" },
    "ping-interval": { type: "string" }, // in seconds; a pong may take one
    acks: { type: "boolean" }, // requests an acknowledgement for each event
    old: { type: "boolean" }, // Socket.IO 2, which speaks Engine.IO 3
  },
});

const options = { path: args.path };
if (args.cors) options.cors = { origin: "*" };
if (args["max-http-buffer-size"]) options.maxHttpBufferSize = Number(args["max-http-buffer-size"]);
if (args["ping-interval"]) Object.assign(options, { pingInterval: 1000 * args["ping-interval"], pingTimeout: 1000 });

const server = args.certificate
  ? require("node:https").createServer({
      cert: fs.readFileSync(args.certificate),
      key: fs.readFileSync(args.key),
    })
  : require("node:http").createServer();
const io = require(args.old ? "socket.io-2" : "socket.io")(server, options);
const namespace = io.of(args.namespace);

namespace.use((socket, next) => {
  const authorised = !args.auth || socket.handshake.auth.token === args.auth;
  next(authorised ? undefined : new Error("wrong token"));
});

namespace.on("connection", (socket) => {
  const { EIO, transport, sid, t, b64, ...query } = socket.handshake.query;
  console.log("client", new URLSearchParams(query).toString());
  socket.on(args.event, (data) => {
    if (!args.acks) return socket.broadcast.emit(args.event, data);
    for (const other of namespace.sockets.values()) {
      if (other !== socket) other.emit(args.event, data, () => console.log("answer"));
    }
  });
});

server.listen(Number(args.port), "127.0.0.1", () => {
  console.log(`Running on http${args.certificate ? "s" : ""}://127.0.0.1:${server.address().port}`);
});
