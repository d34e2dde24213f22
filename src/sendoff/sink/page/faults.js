// The faults in force, and the ways to install and remove them.
// Buttons write lines of the sink's own script language; the sink keeps the script, so that several
// pages and a test can all work on it.

import { at, element, number, put, say } from "./words.js";

const SHAPING = ["503", "429 retry-after 2", "reset"];

async function send(body) {
  let answer;
  try {
    answer = await fetch("/_sink/faults", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
  } catch {
    return wrong("The sink does not answer.");
  }
  return answer.ok ? wrong("") : wrong((await answer.json()).error);
}

function wrong(text) {
  at("fault-wrong").hidden = text === "";
  put(at("fault-wrong"), text);
  return text === "";
}

const begins = (text, what, vendor) => `${text} `.startsWith(`${what} on ${vendor} `);

export class Faults {
  #standing = [];

  constructor() {
    at("fault-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#addLine();
    });
    at("fault-clear").addEventListener("click", async () => {
      if (await send({ script: [] })) say("All faults cleared");
    });
    at("standing").addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) send({ remove: [button.dataset.text] });
    });
  }

  // A press on a vendor's button: on, off again, or everything off.
  async press(vendor, what) {
    const texts = this.#standing.map((one) => one.text);
    if (what === null) {
      const own = this.#standing.filter((one) => one.vendor === vendor).map((one) => one.text);
      if (await send({ remove: own })) say(`Faults of ${vendor} cleared`);
      return;
    }
    const isOn = this.#standing.some((one) => !one.over && begins(one.text, what, vendor));
    // One request has one answer, so of those that shape it the last one pressed replaces the rest.
    const rivals = SHAPING.includes(what) ? SHAPING : [what];
    const remove = texts.filter((text) => rivals.some((one) => begins(text, one, vendor)));
    const line = `${what} on ${vendor}${at("fault-lasts").value}${at("fault-share").value}`;
    if (await send({ remove, add: isOn ? [] : [line] })) say(isOn ? `Off: ${what}` : `On: ${line}`);
  }

  show(standing) {
    this.#standing = standing;
    const list = at("standing");
    at("no-faults").hidden = standing.length > 0;
    // The same lines keep their elements, or a button would lose the focus four times a second.
    const texts = standing.map((one) => one.text);
    if (list.dataset.texts !== JSON.stringify(texts)) {
      list.dataset.texts = JSON.stringify(texts);
      list.replaceChildren(...texts.map(item));
    }
    standing.forEach((one, n) => {
      list.children[n].classList.toggle("over", one.over);
      put(list.children[n].querySelector("small"), words(one));
    });
  }

  async #addLine() {
    const input = at("fault-line");
    if (input.value.trim() && (await send({ add: [input.value.trim()] }))) {
      say(`On: ${input.value.trim()}`);
      input.value = "";
    }
  }
}

function item(text) {
  const made = element("li");
  const button = element("button", "", "×");
  button.type = "button";
  button.dataset.text = text;
  button.setAttribute("aria-label", `Remove: ${text}`);
  made.append(element("code", "", text), " ", element("small"), " ", button);
  return made;
}

function words(one) {
  const met = `met ${number(one.met)}`;
  if (one.over) return `${met} · over`;
  if (one.begins_in > 0) return `begins in ${Math.ceil(one.begins_in)} s`;
  return one.ends_in === null ? met : `${met} · ${Math.ceil(one.ends_in)} s left`;
}
