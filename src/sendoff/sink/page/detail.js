// One event with its whole body.
// The body is text from the sink, shown as text: numbers stand as they were sent.

import { badges, outcome } from "./list.js";
import { at, bytes, clock, coloured, element, number, put, say, TITLES } from "./words.js";

export class Detail {
  #row = null;

  constructor({ onClose }) {
    at("close").addEventListener("click", onClose);
    at("copy").addEventListener("click", () => this.copy());
  }

  show(row) {
    if (row === this.#row) return;
    this.#row = row;
    at("detail").hidden = row === null;
    at("detail").closest(".split").classList.toggle("open", row !== null);
    if (row === null) return;
    put(at("detail-title"), row.name || "(no name)");
    at("detail-facts").replaceChildren(...facts(row));
    at("detail-reason").hidden = row.reason === null;
    put(at("detail-reason"), row.reason ?? "");
    at("body").replaceChildren(coloured(row.body));
    at("body").scrollTop = 0;
    at("detail-cut").hidden = !row.cut;
    put(
      at("detail-cut"),
      `The rest is left out here. /_sink/events?vendor=${row.vendor} gives accepted events whole.`,
    );
  }

  async copy() {
    if (this.#row === null) return;
    try {
      await navigator.clipboard.writeText(this.#row.body);
      say("Body copied");
      at("copy").classList.add("done");
      setTimeout(() => at("copy").classList.remove("done"), 1200);
    } catch {
      // The browser does not allow it: the body is marked, and its own copying will do.
      getSelection().selectAllChildren(at("body"));
      say("Body selected; copy it with the browser");
    }
  }
}

function facts(row) {
  const one = row.kinds.includes("accepted");
  const found = [
    ["vendor", TITLES[row.vendor]],
    ["answer", outcome(row) || null],
    ["arrived", row.at === null ? "before anybody watched" : clock(row.at)],
    ["user", row.user || null],
    ["id", row.id || null],
    ["request", row.size ? `${bytes(row.size)}${place(row, one)}` : null],
    ["fault", row.fault],
    ["marks", marks(row) || null],
  ];
  return found
    .filter(([, value]) => value !== null)
    .map(([name, value]) => {
      const pair = element("div");
      pair.append(element("dt", "", name), element("dd", "", value));
      return pair;
    });
}

function marks(row) {
  const found = badges(row).filter(([kind]) => kind !== "faulted");
  return found.map(([, text]) => text).join(", ");
}

function place(row, one) {
  if (row.count < 2) return "";
  return one ? `, event ${number(row.index + 1)} of ${number(row.count)}` : `, ${number(row.count)} events`;
}
