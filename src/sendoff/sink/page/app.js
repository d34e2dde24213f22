// The live page: puts its parts together and listens to the keyboard.

import { Detail } from "./detail.js";
import { Faults } from "./faults.js";
import { EventList } from "./list.js";
import { Panel } from "./panels.js";
import { Stream } from "./stream.js";
import { at, duration, element, number, put, say, TITLES } from "./words.js";

const FIELDS = ["vendor", "kind", "name", "user"];
// Typing rests for so many milliseconds before the sink is asked anew.
const TYPING = 250;

const panels = new Map();
const faults = new Faults();
let epoch = null;
let typing = 0;

// --- what is to be seen ---------------------------------------------------------------------------

const lower = (id) => at(id).value.trim().toLowerCase();

function makeFilter() {
  const wanted = Object.fromEntries(FIELDS.map((field) => [field, ""]));
  wanted.text = "";
  const takes = (row) =>
    (!wanted.vendor || row.vendor === wanted.vendor) &&
    (!wanted.kind || row.kinds.includes(wanted.kind)) &&
    row.name.toLowerCase().includes(wanted.name) &&
    row.user.toLowerCase().includes(wanted.user) &&
    (!wanted.text || matches(row, wanted.text));
  takes.isActive = () => Object.values(wanted).some(Boolean);
  takes.read = () => {
    for (const field of FIELDS) wanted[field] = lower(field);
    wanted.text = lower("search");
  };
  return takes;
}

function matches(row, text) {
  // Lower case is made once for each row, and only if somebody searches.
  row.haystack ??= [row.name, row.user, row.id, row.reason, row.fault, row.body].join("\n").toLowerCase();
  return row.haystack.includes(text);
}

const filter = makeFilter();
const detail = new Detail({ onClose: () => close() });
const list = new EventList({ filter, onChoice: (row) => detail.show(row) });

const stream = new Stream({
  query: () => {
    const fields = FIELDS.map((field) => [field, at(field).value.trim()]);
    return new URLSearchParams(fields.filter(([, value]) => value));
  },
  onHello: (message) => {
    for (const [vendor, limits] of Object.entries(message.limits)) addVendor(vendor, limits);
    update(message);
  },
  onTurn: (message) => {
    update(message);
    sampled(message);
  },
  onState: (state) => {
    at("link").dataset.state = state;
    const words = { live: "live", lost: "not connected, trying again", asleep: "asleep" };
    put(at("link-text"), words[state]);
    document.body.classList.toggle("lost", state !== "live");
    say(state === "live" ? "Connected" : "Not connected");
  },
});

function addVendor(vendor, limits) {
  if (panels.has(vendor)) return;
  panels.set(vendor, new Panel(vendor, limits, (name, what) => faults.press(name, what)));
  const option = element("option", "", TITLES[vendor]);
  option.value = vendor;
  at("vendor").append(option);
  const pair = element("div");
  const code = element("code", "", `${location.origin}${limits.path}`);
  const value = element("dd");
  value.append(code);
  pair.append(element("dt", "", TITLES[vendor]), value);
  at("endpoints").append(pair);
}

function update({ counts, rows }) {
  if (counts.epoch !== epoch) {
    // Another run of the sink, or a reset: what was here belongs to counts that are gone.
    if (epoch !== null) say("The counts began anew");
    epoch = counts.epoch;
    list.clear();
    for (const panel of panels.values()) panel.clear();
  }
  for (const [vendor, panel] of panels) {
    panel.update(counts.vendors[vendor], counts.now);
    panel.stand(counts.script);
  }
  faults.show(counts.script);
  put(at("address"), location.host);
  put(at("uptime"), `up ${duration(counts.uptime)}`);
  put(at("strays"), counts.strays ? `${number(counts.strays)} to unknown paths` : "");
  list.add(rows);
}

function sampled({ rows, seen, matching }) {
  const all = filter.isActive() ? matching : seen;
  let text = "Every event is shown";
  if (rows.length < all) text = `A sample: ${rows.length} of ${number(all)} in this quarter of a second`;
  if (all === 0) text = list.isEmpty ? "Waiting for events" : "Nothing new at the moment";
  put(at("sampling"), list.isHeld ? "The list stands still; counts go on" : text);
}

function refilter({ ask }) {
  filter.read();
  at("clear-filters").hidden = !filter.isActive();
  list.choose(null);
  list.refresh();
  clearTimeout(typing);
  // The sink is asked to sample from what matches, so that rare events are found among many.
  if (ask) typing = setTimeout(() => stream.open(), TYPING);
}

at("search").addEventListener("input", () => refilter({ ask: false }));
for (const field of FIELDS) at(field).addEventListener("input", () => refilter({ ask: true }));
at("clear-filters").addEventListener("click", () => {
  for (const field of [...FIELDS, "search"]) at(field).value = "";
  refilter({ ask: true });
  at("search").focus();
});

// --- buttons and keys -----------------------------------------------------------------------------

function pause() {
  const paused = at("pause").getAttribute("aria-pressed") !== "true";
  at("pause").setAttribute("aria-pressed", String(paused));
  at("pause").firstChild.textContent = paused ? "Go on " : "Pause ";
  list.pause(paused);
  say(paused ? "The list is paused" : "The list goes on");
}

function close() {
  list.follow();
  at("list").focus({ preventScroll: true });
}

function toggleTheme() {
  say(`${window.toggleTheme()} theme`);
}

at("pause").addEventListener("click", pause);
at("theme").addEventListener("click", toggleTheme);
at("reset").addEventListener("click", async () => {
  try {
    await fetch("/_sink/reset", { method: "POST" });
  } catch {
    say("The sink does not answer");
  }
});
at("help-open").addEventListener("click", () => at("help").showModal());
at("help-close").addEventListener("click", () => at("help").close());

const SINGLE = {
  "/": () => at("search").focus(),
  "?": () => at("help").showModal(),
  p: pause,
  t: toggleTheme,
  c: () => detail.copy(),
};
const MOVES = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -1e9, End: 1e9 };

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || at("help").open) return;
  const typingIn = event.target.closest("input, select, textarea");
  if (event.key === "Escape") {
    if (typingIn && event.target.value && event.target.tagName === "INPUT") {
      event.target.value = "";
      event.target.dispatchEvent(new Event("input"));
    } else {
      close();
    }
    event.preventDefault();
  } else if (event.target === at("list") || (event.target === at("search") && event.key === "ArrowDown")) {
    inList(event);
  }
  if (!event.defaultPrevented && !typingIn && at("single-keys").checked && SINGLE[event.key]) {
    event.preventDefault();
    SINGLE[event.key]();
  }
});

function inList(event) {
  if (event.key in MOVES) {
    event.preventDefault();
    at("list").focus({ preventScroll: true });
    list.move(MOVES[event.key]);
  } else if (event.key === "Enter" && !at("detail").hidden) {
    event.preventDefault();
    at("body").focus();
  }
}

const KEYS = "sendoff-single-keys";
try {
  at("single-keys").checked = localStorage.getItem(KEYS) !== "off";
  at("single-keys").addEventListener("change", () => {
    localStorage.setItem(KEYS, at("single-keys").checked ? "on" : "off");
  });
} catch {
  // storage is forbidden: the choice holds until the page is closed
}

filter.read();
stream.open();
