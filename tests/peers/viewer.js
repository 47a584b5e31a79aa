// SPDX-License-Identifier: MPL-2.0

// The viewer of a page: a Socket.IO client that receives the JPEG of each event.
//
// Prints "connected" when it has changed from long polling to a websocket, and for each JPEG
// "frame [CAMERA] BYTES SHA256".

const { createHash } = require("node:crypto");
const fs = require("node:fs");
const { parseArgs } = require("node:util");
const { io } = require("socket.io-client");

const { values: args, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    namespace: { type: "string", default: "/" },
    event: { type: "string", default: "stream" },
    path: { type: "string", default: "/socket.io" },
    auth: { type: "string", default: "{}" },
    ca: { type: "string" },
  },
});

const socket = io(positionals[0] + args.namespace, {
  path: args.path,
  auth: JSON.parse(args.auth),
  ca: args.ca && fs.readFileSync(args.ca),
});

const show = (picture, ...camera) => {
  const jpeg = typeof picture === "string" ? Buffer.from(picture.split(",").pop(), "base64") : picture;
  console.log("frame", ...camera, jpeg.length, createHash("sha256").update(jpeg).digest("hex"));
};

const reportWebSocket = () => {
  if (socket.connected && socket.io.engine.transport.name === "websocket") console.log("connected");
};
socket.on("connect", () => {
  socket.io.engine.on("upgrade", reportWebSocket);
  reportWebSocket();
});
socket.on("connect_error", (error) => console.log("refused:", error.message));
socket.on(args.event, (data) => {
  if (typeof data === "string" || Buffer.isBuffer(data)) show(data);
  else for (const [camera, picture] of Object.entries(data)) show(picture, camera);
});
