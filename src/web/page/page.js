// SPDX-License-Identifier: MPL-2.0
// Shows the cameras of the server that this page comes from.

const SECOND = 1000;
/** Period over which the frame rate and the delay are shown. */
const RECENT = 3 * SECOND;
/** Time without a new frame after which the page says so. */
const STALLED = 5 * SECOND;
/**
 * A frame that has waited for longer is replaced by a newer one, for which the page waits as long again.
 */
const MAX_AGE = 50;
/** Delay before the page connects again after a refusal. */
const REFUSED_DELAY = 10 * SECOND;
/** Removed cameras whose last picture stays. Beyond that, the page forgets the oldest. */
const MAX_REMOVED = 16;
/** Samples of the server's clock that are kept. The one with the shortest round trip counts. */
const CLOCK_SAMPLES = 60;

const $ = (selector, root = document) => root.querySelector(selector);
const grid = $("#cameras");
const notice = $("#notice");
const help = $("#help");

/** Writes a text only if it changed, because screen readers read every change. */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// ---- Cameras ---------------------------------------------------------------

/** The cameras of the server, by name. */
const cameras = new Map();
/** The camera that is shown alone. */
let chosen;

const shown = () => (chosen ? [chosen] : [...cameras.values()]);

class Camera {
  /** Recently painted frames: time, delay and number. */
  painted = [];
  /** Time of the last new frame. */
  since = performance.now();
  /** Whether the last frame cannot be decoded. */
  broken = false;
  /** Whether the server no longer has this camera. */
  gone = false;

  constructor(name) {
    this.name = name;
    this.element = $("#camera").content.firstElementChild.cloneNode(true);
    this.canvas = $("canvas", this.element);
    this.pen = this.canvas.getContext("2d", { alpha: false });
    this.button = $("button", this.element);
    this.button.ariaLabel = `${name || "Camera"}, alone`;
    this.button.onclick = () => choose(this === chosen ? undefined : this);
    write($(".name", this.element), name);
    grid.append(this.element);
  }

  paint(picture) {
    const { bitmap, captured, number } = picture;
    this.since = performance.now();
    this.broken = !bitmap;
    if (this.broken) return;
    if (this.canvas.width !== bitmap.width || this.canvas.height !== bitmap.height) {
      this.canvas.width = bitmap.width;
      this.canvas.height = bitmap.height;
      layout();
    }
    this.pen.drawImage(bitmap, 0, 0);
    this.picture = picture;
    this.painted.push({ at: this.since, delay: clock.now() - captured, number });
  }

  /** Discards the statistics from before an interruption. */
  restart() {
    this.painted = [];
    this.since = performance.now();
  }

  /** Size, frame rate (also that of the camera, if it is higher) and delay. */
  figures() {
    this.painted = this.painted.filter(({ at }) => at > performance.now() - RECENT);
    const [first, last] = [this.painted.at(0), this.painted.at(-1)];
    if (view() !== "live" || !first || last.at - first.at < SECOND / 2) return "";
    const rate = (count) => ((count * SECOND) / (last.at - first.at)).toFixed(1);
    const [seen, made] = [this.painted.length - 1, last.number - first.number];
    const delays = this.painted.map(({ delay }) => Math.max(0, delay)).sort((a, b) => a - b);
    const size = `${this.canvas.width}×${this.canvas.height}`;
    const rates = made > seen * 1.05 ? `${rate(seen)} of ${rate(made)}` : rate(seen);
    return `${size} · ${rates} frames/s · delay ${delays[delays.length >> 1].toFixed()} ms`;
  }

  trouble() {
    const quiet = performance.now() - this.since;
    if (!["live", "waiting"].includes(view())) return "";
    if (this.gone) return "This camera has gone";
    if (this.broken) return "This picture is broken";
    if (!this.picture) return "Waiting for the first picture";
    return quiet > STALLED ? `No new picture for ${Math.floor(quiet / SECOND)} s` : "";
  }

  render() {
    const trouble = $(".trouble", this.element);
    write(trouble, this.trouble());
    trouble.hidden = !trouble.textContent;
    write($(".figures", this.element), this.figures());
    this.element.classList.toggle("chosen", this === chosen);
    this.element.classList.toggle("gone", this.gone);
    this.button.ariaPressed = this === chosen;
    this.button.disabled = cameras.size < 2;
  }
}

/** Shows one camera alone, or all. */
function choose(camera) {
  chosen = camera;
  grid.classList.toggle("alone", Boolean(chosen));
  layout();
  render();
}

/** Gives the pictures the largest width with which all of them fit. */
function layout() {
  const all = shown();
  const gap = parseFloat(getComputedStyle(grid).columnGap);
  const shape = Math.max(...all.map(({ canvas }) => canvas.width / canvas.height));
  const share = (length, parts) => (length - gap * (parts - 1)) / parts;
  const widths = all.map((_, index) => {
    const columns = index + 1;
    const rows = Math.ceil(all.length / columns);
    return Math.min(share(grid.clientWidth, columns), share(grid.clientHeight, rows) * shape);
  });
  grid.style.setProperty("--width", `${Math.floor(Math.max(...widths))}px`);
  grid.style.setProperty("--shape", shape);
}

new ResizeObserver(layout).observe(grid);

// ---- Connection ------------------------------------------------------------

/** Keeps the token with the tab, unless the browser is set to store nothing. */
const storage = (() => {
  try {
    return sessionStorage;
  } catch {
    return {};
  }
})();

// A link may contain "#token=…" or "?token=…". It is removed from the address bar, where others could read it.
const address = new URL(location);
const links = [new URLSearchParams(address.hash.slice(1)), address.searchParams];
if (links.some((link) => link.has("token"))) {
  storage.token = links.map((link) => link.get("token")).find(Boolean) ?? "";
  address.hash = "";
  address.searchParams.delete("token");
  history.replaceState(null, "", address);
}
window.onhashchange = () => location.reload();

/** "connecting", "on", "lost", "token", "full" or "quit"; its cause; its start. */
let [state, cause, since] = ["connecting", "", new Date()];
let retry;

function enter(next, nextCause) {
  clearTimeout(retry);
  if (next !== state) [state, cause, since] = [next, nextCause, new Date()];
  render();
  if (state === "token") notice.elements.token.focus();
  if (state === "quit") $("button", notice).focus();
}

const socket = io("/view", {
  path: new URL("socket.io/", address).pathname,
  transports: ["websocket"],
  auth: (give) => give(storage.token ? { token: storage.token } : {}),
});

/** Whether the server has sent the names of its cameras on this connection. */
let greeted;

socket.on("connect", () => {
  greeted = false;
  clock.samples = [];
  clock.sample();
  for (const camera of cameras.values()) camera.restart();
  enter("on");
});

socket.on("disconnect", (reason) => {
  // Acknowledgements and frames belong to the old connection.
  unacknowledged.length = 0;
  waiting.clear();
  if (state === "quit") return;
  const causes = {
    "io server disconnect": "The server has ended the connection",
    "ping timeout": "The server has fallen silent",
    "transport close": "The server has closed the connection",
  };
  enter("lost", causes[reason] ?? "The connection has broken");
  if (!socket.active) connectAfter(SECOND);
});

socket.on("connect_error", ({ message }) => {
  if (socket.active) {
    enter("lost", "The server does not answer");
  } else if (message === "token") {
    enter("token", storage.token && "The server does not accept this token.");
    delete storage.token;
  } else {
    enter(message === "full" ? "full" : "lost", `The server refuses: ${message}`);
    connectAfter(REFUSED_DELAY);
  }
});

function connectAfter(delay) {
  retry = setTimeout(() => socket.connect(), delay);
}

socket.on("hello", ({ cameras: names, name, version }) => {
  for (const camera of names) cameras.set(camera, cameras.get(camera) ?? new Camera(camera));
  for (const camera of cameras.values()) camera.gone = !names.includes(camera.name);
  // The last picture stays until the next connection: a server that stops first removes its cameras.
  const removed = [...cameras.values()].filter(({ gone }) => gone);
  for (const camera of greeted ? removed.slice(0, -MAX_REMOVED) : removed) {
    camera.element.remove();
    cameras.delete(camera.name);
  }
  greeted = true;
  choose(cameras.get(chosen?.name));
  write($("#version"), `${name} ${version}`);
});

/** The server's clock, which the capture times refer to. */
const clock = {
  offset: 0,
  samples: [],

  now() {
    return performance.now() + this.offset;
  },

  sample() {
    const asked = performance.now();
    socket.emit("time", (time) => {
      const roundTrip = performance.now() - asked;
      const sample = { roundTrip, offset: time - asked - roundTrip / 2 };
      this.samples = [...this.samples, sample].slice(-CLOCK_SAMPLES);
      const best = this.samples.reduce((a, b) => (b.roundTrip < a.roundTrip ? b : a));
      this.offset = best.offset;
    });
  },
};

// ---- Pictures --------------------------------------------------------------

/** The newest unpainted frame of each camera. */
const waiting = new Map();
/** When the last of them arrived. */
let arrived;
/** Acknowledgements to send. With two of them outstanding the server sends no more frames. */
const unacknowledged = [];
/** When the user paused, or undefined. */
let paused;

const halted = () => paused || document.hidden;

let wake;
const woken = () => new Promise((resolve) => (wake = resolve));
const sleep = (delay) => new Promise((resolve) => setTimeout(resolve, delay));

socket.on("frames", (frames, acknowledge) => {
  for (const frame of frames) waiting.set(frame.camera, frame);
  unacknowledged.push(acknowledge);
  arrived = performance.now();
  wake();
});

function acknowledge() {
  for (const send of unacknowledged.splice(0)) send();
}

async function watch() {
  for (;;) {
    while (!waiting.size || halted()) await woken();
    // After a pause, or if painting is slow, the server has newer frames by now.
    if (performance.now() - arrived > MAX_AGE) {
      acknowledge();
      await Promise.race([woken(), sleep(MAX_AGE)]);
    }
    const frames = [...waiting.values()];
    waiting.clear();
    const pictures = await Promise.all(frames.map(decode));
    await new Promise(requestAnimationFrame);
    for (const picture of pictures) {
      cameras.get(picture.camera)?.paint(picture);
      picture.bitmap?.close();
    }
    acknowledge();
  }
}

async function decode({ jpeg, ...picture }) {
  const blob = new Blob([jpeg], { type: "image/jpeg" });
  const bitmap = await createImageBitmap(blob).catch(() => null);
  return { ...picture, blob, bitmap };
}

/** Applies a change of `halted()`. */
function updateHalted() {
  if (!halted()) {
    for (const camera of cameras.values()) camera.restart();
    wake();
  }
  render();
}

document.addEventListener("visibilitychange", updateHalted);

// ---- Texts -----------------------------------------------------------------

/** The state that the user sees. */
function view() {
  if (state !== "on") return state;
  if (halted()) return "paused";
  return shown().some(({ picture }) => picture) ? "live" : "waiting";
}

const time = (date) => date.toLocaleTimeString();

/** For each state: the status, and the text and button of a notice if it has one. */
const texts = {
  connecting: () => ["Connecting", `To ${address.host}.`],
  lost: () => [
    "Reconnecting",
    `${cause}. There has been no connection since ${time(since)}; the pictures go on as soon as there is one.`,
  ],
  token: () => [cause ? "Wrong token" : "Token needed", cause || "This server asks its viewers for one.", "Watch"],
  full: () => [
    "All places are taken",
    "The server lets no more viewers in. This page asks again every 10 seconds.",
    "Ask now",
  ],
  quit: () => ["Stopped", "You have stopped watching. Nothing is sent to this page any more.", "Watch again"],
  waiting: () => ["Waiting for the first picture"],
  paused: () => [paused ? `Paused since ${time(paused)}` : "Paused while nobody looks"],
  live: () => [cameras.size > 1 ? `Live, ${cameras.size} cameras` : "Live"],
};

function render() {
  const seen = view();
  const [status, text = "", button = ""] = texts[seen]();
  document.body.dataset.state = seen;
  write($("#status"), status);
  write($("h2", notice), status);
  write($("p", notice), text);
  write($("button", notice), button);
  notice.hidden = !text;
  $("button", notice).hidden = !button;
  $("label", notice).hidden = seen !== "token";

  const what = shown().length === 1 ? shown()[0].name : cameras.size && `${cameras.size} cameras`;
  document.title = [seen !== "live" && status, what, address.host].filter(Boolean).join(" – ");

  const pause = $("[data-action=pause]");
  write($("span", pause), paused ? "Resume" : "Pause");
  $("use", pause).setAttribute("href", paused ? "#icon-resume" : "#icon-pause");
  pause.disabled = state !== "on";
  $("[data-action=snapshot]").disabled = !shown().some(({ picture }) => picture);
  $("[data-action=quit]").disabled = state === "quit";
  for (const camera of cameras.values()) camera.render();
}

setInterval(() => {
  if (state === "on") clock.sample();
  render();
}, SECOND / 2);

// ---- Actions ---------------------------------------------------------------

const actions = {
  pause() {
    if (state !== "on") return;
    paused = paused ? undefined : new Date();
    updateHalted();
  },

  snapshot() {
    for (const { name, picture } of shown().filter(({ picture }) => picture)) {
      const link = document.createElement("a");
      const at = new Date(picture.captured);
      const local = new Date(at - at.getTimezoneOffset() * 60 * SECOND).toISOString();
      link.download = `${name || "camera"} ${local.slice(0, -1).replace("T", " ").replaceAll(":", "-")}.jpg`;
      link.href = URL.createObjectURL(picture.blob);
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10 * SECOND);
    }
  },

  fullscreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else document.documentElement.requestFullscreen();
  },

  info() {
    const bare = document.body.classList.toggle("bare");
    $("[data-action=info]").ariaPressed = !bare;
  },

  help() {
    if (help.open) help.close();
    else help.showModal();
  },

  all() {
    choose();
  },

  quit() {
    if (state === "quit") return;
    paused = undefined;
    enter("quit");
    socket.disconnect();
  },
};

const keys = { " ": "pause", s: "snapshot", f: "fullscreen", i: "info", "?": "help", q: "quit", escape: "all" };

document.addEventListener("keydown", (event) => {
  const action = keys[event.key.toLowerCase()];
  const isTyping = event.target.matches("input") || event.ctrlKey || event.metaKey || event.altKey;
  // There, the space key presses the focused button.
  const isPress = event.key === " " && event.target.closest("#tools, #notice");
  if (!action || isTyping || isPress || event.repeat || (help.open && action !== "help")) return;
  event.preventDefault();
  actions[action]();
});

$("#tools").onclick = (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  actions[button.dataset.action]();
  // After a click, the space key pauses again.
  if (event.detail) button.blur();
};

notice.onsubmit = (event) => {
  event.preventDefault();
  if (state === "token") storage.token = notice.elements.token.value;
  notice.reset();
  enter("connecting");
  socket.connect();
};

$("[data-action=fullscreen]").hidden = !document.fullscreenEnabled;
write($("#host"), address.host);
render();
watch();
