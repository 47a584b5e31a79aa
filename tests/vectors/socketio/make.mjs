// SPDX-License-Identifier: MPL-2.0
// Encodes cases.json with the parsers of Node to node.txt, or compares it with --check.
// For the lines, see make.py. Needs `npm install socket.io-parser engine.io-parser` in a folder
// that Node searches, such as NODE_PATH.

import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const { Encoder } = require("socket.io-parser");
const { encodePayload } = require("engine.io-parser");

const here = (name) => new URL(name, import.meta.url);

function value(data) {
  if (data === null || typeof data !== "object") return data;
  if (Array.isArray(data)) return data.map(value);
  if ("$binary" in data) return Buffer.from(data.$binary, "base64");
  return Object.fromEntries(Object.entries(data).map(([key, item]) => [key, value(item)]));
}

function packets({ engine, type, nsp, id, data }) {
  if (engine) {
    const text = typeof data === "object" ? JSON.stringify(data) : data;
    return [{ type: engine, data: text }];
  }
  const parts = new Encoder().encode({ type, nsp, id, data: value(data) });
  return parts.map((part) => ({ type: "message", data: part }));
}

const cases = JSON.parse(readFileSync(here("cases.json"), "utf8"));
let text = "";
for (const packet of cases) encodePayload(packets(packet), (payload) => (text += payload + "\n"));
if (!process.argv.includes("--check")) writeFileSync(here("node.txt"), text);
else if (readFileSync(here("node.txt"), "utf8") !== text) throw Error("node.txt differs from the output of Node");
