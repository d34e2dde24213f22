// The list of events: what has come, what of it is shown, and which one is chosen.
// It follows the stream while nobody reads: with an event chosen, the list scrolled or the page
// paused, it stands still, and what comes waits. Memory is bounded: the last ROWS rows are kept, and
// as many more wait.

import { at, clock, element, number, put, TITLES } from "./words.js";

const ROWS = 500;
const SHOWN = 250;

export class EventList {
  #rows = []; // newest first
  #waiting = []; // newest first
  #keys = new Set();
  #shown = []; // the rows that have an element, in the order of the elements
  #elements = new Map();
  #chosen = null;
  #paused = false;
  #frame = 0;

  constructor({ filter, onChoice }) {
    this.filter = filter;
    this.onChoice = onChoice;
    this.root = at("list");
    this.root.addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (row) this.choose(row.dataset.key);
    });
    this.root.addEventListener("scroll", () => this.#later(), { passive: true });
    at("newer").addEventListener("click", () => this.follow());
  }

  get isHeld() {
    return this.#paused || this.#chosen !== null || this.root.scrollTop > 8;
  }

  get isEmpty() {
    return this.#rows.length === 0 && this.#waiting.length === 0;
  }

  clear() {
    this.#rows = [];
    this.#waiting = [];
    this.#keys.clear();
    this.choose(null);
    this.#later();
  }

  // Takes rows in, oldest first as they come; those that are here already are passed over.
  add(rows) {
    const fresh = rows.filter((row) => !this.#keys.has(row.key));
    if (fresh.length === 0) return;
    for (const row of fresh) this.#keys.add(row.key);
    this.#waiting = [...fresh.reverse(), ...this.#waiting];
    this.#forget(this.#waiting.splice(ROWS));
    this.#later();
  }

  pause(paused) {
    this.#paused = paused;
    this.#later();
  }

  // Back to the newest, and on with the stream.
  follow() {
    this.choose(null);
    this.root.scrollTop = 0;
    if (this.#paused) this.#release();
    this.#later();
  }

  refresh() {
    if (!this.#paused) this.#release();
    this.root.scrollTop = 0;
    this.#later();
  }

  choose(key) {
    const before = this.#elements.get(this.#chosen);
    before?.setAttribute("aria-selected", "false");
    this.#chosen = key;
    const row = this.#shown.find((one) => one.key === key);
    if (row) {
      const chosen = this.#elements.get(key);
      chosen.setAttribute("aria-selected", "true");
      this.#reveal(chosen);
      this.root.setAttribute("aria-activedescendant", chosen.id);
    } else {
      this.#chosen = null;
      this.root.removeAttribute("aria-activedescendant");
    }
    this.onChoice(row ?? null);
    this.#later();
  }

  // Chooses another row: so many further down, or the first or last.
  move(steps) {
    if (this.#shown.length === 0) return;
    const place = this.#shown.findIndex((row) => row.key === this.#chosen);
    const next = place < 0 && Math.abs(steps) === 1 ? 0 : place + steps;
    this.choose(this.#shown[Math.max(0, Math.min(this.#shown.length - 1, next))].key);
  }

  // Scrolls the list and never the page, so that nothing else moves under the reader.
  #reveal({ offsetTop: top, offsetHeight: height }) {
    const { root } = this;
    if (top < root.scrollTop) root.scrollTop = top;
    else if (top + height > root.scrollTop + root.clientHeight) {
      root.scrollTop = top + height - root.clientHeight;
    }
  }

  #later() {
    if (this.#frame === 0) this.#frame = requestAnimationFrame(() => this.#draw());
  }

  #release() {
    this.#rows = [...this.#waiting, ...this.#rows];
    this.#waiting = [];
    this.#forget(this.#rows.splice(ROWS));
  }

  #forget(rows) {
    for (const row of rows) this.#keys.delete(row.key);
  }

  #draw() {
    this.#frame = 0;
    if (!this.isHeld) this.#release();
    const shown = [];
    for (const row of this.#rows) {
      if (this.filter(row) && shown.push(row) === SHOWN) break;
    }
    if (this.#chosen !== null && !shown.some((row) => row.key === this.#chosen)) this.choose(null);
    this.#place(shown);
    const waiting = this.#waiting.filter((row) => this.filter(row)).length;
    at("newer").hidden = waiting === 0;
    put(at("newer"), `${number(waiting)}${waiting >= ROWS ? "+" : ""} newer: show`);
    at("empty").hidden = !this.isEmpty || this.filter.isActive();
    at("none").hidden = shown.length > 0 || !at("empty").hidden;
    this.root.classList.toggle("bare", shown.length === 0);
  }

  // Puts the elements in the order of the rows; those that stay are not touched.
  #place(shown) {
    const keys = new Set(shown.map((row) => row.key));
    for (const row of this.#shown) {
      if (!keys.has(row.key)) {
        this.#elements.get(row.key).remove();
        this.#elements.delete(row.key);
      }
    }
    let next = this.root.firstElementChild;
    for (const row of shown) {
      let made = this.#elements.get(row.key);
      if (made === undefined) {
        made = drawn(row);
        this.#elements.set(row.key, made);
      }
      if (made === next) next = next.nextElementSibling;
      else this.root.insertBefore(made, next);
    }
    this.#shown = shown;
  }
}

export function outcome(row) {
  if (row.status !== null) return String(row.status);
  return row.fault === null ? "" : "none";
}

export function badges(row) {
  const found = [];
  if (row.kinds.includes("repeated")) found.push(["repeated", "duplicate"]);
  if (row.kinds.includes("refused")) found.push(["refused", "refused"]);
  if (row.fault !== null) found.push(["faulted", row.fault.replace(` on ${row.vendor}`, "")]);
  return found;
}

function drawn(row) {
  const made = element("div", "row");
  made.id = `row-${row.key}`;
  made.dataset.key = row.key;
  made.dataset.vendor = row.vendor;
  made.setAttribute("role", "option");
  made.setAttribute("aria-selected", "false");
  const vendor = element("span", "vendor", TITLES[row.vendor]);
  const name = element("span", "name", row.name || "(no name)");
  if (!row.name) name.classList.add("unnamed");
  const more = element("span", "more");
  if (!row.kinds.includes("accepted") && row.count > 1) {
    more.append(element("small", "", `and ${number(row.count - 1)} more`));
  }
  for (const [kind, text] of badges(row)) more.append(element("em", kind, text));
  const status = element("span", "status", outcome(row));
  if (row.status !== null) status.dataset.kind = row.status < 300 ? "good" : "bad";
  else if (row.fault !== null) status.dataset.kind = "bad";
  made.append(element("time", "", clock(row.at)), vendor, name, more, element("span", "user", row.user), status);
  return made;
}
