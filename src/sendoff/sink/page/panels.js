// One panel for each vendor: its counts, its chart, its answers, and the buttons that break it.
// All numbers are the sink's own; this page adds nothing up but what was answered badly since the
// last message, for the chart.

import { Chart } from "./chart.js";
import { at, bytes, element, number, put, TITLES } from "./words.js";

const CLASSES = ["≤ 1 kB", "≤ 10 kB", "≤ 100 kB", "≤ 1 MB", "≤ 5 MB", "more"];
// Faults in whose place a vendor gives no answer of its own.
const UNANSWERED = ["hang", "reset", "reset-before"];
const sum = (values) => values.reduce((all, one) => all + one, 0);

export class Panel {
  #bad = null;

  constructor(vendor, limits, press) {
    this.vendor = vendor;
    this.limits = limits;
    const made = at("panel").content.cloneNode(true);
    this.root = made.querySelector(".panel");
    this.root.dataset.vendor = vendor;
    this.parts = {};
    for (const part of made.querySelectorAll("[data-part]")) this.parts[part.dataset.part] = part;
    const title = made.querySelector("h2");
    title.textContent = TITLES[vendor];
    title.id = `panel-${vendor}`;
    this.root.setAttribute("aria-labelledby", title.id);
    this.parts.buttons.setAttribute("aria-label", `Faults of ${TITLES[vendor]}`);
    this.parts.path.textContent = limits.path;
    this.parts.rate.textContent = `of ${number(limits.rate)}`;
    this.parts.body.textContent = `of ${limits.body / 1e6} MB`;
    for (const name of CLASSES) {
      const item = element("li");
      item.append(element("i"), element("span", "", name), element("b", "", "0"));
      this.parts.sizes.append(item);
    }
    this.chart = new Chart(made.querySelector("canvas"), TITLES[vendor]);
    this.parts.buttons.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) press(vendor, button.dataset.what ?? null);
    });
    at("panels").append(made);
  }

  clear() {
    this.#bad = null;
    this.chart.clear();
  }

  update(counts, now) {
    const { parts, limits } = this;
    put(parts.accepted, number(counts.accepted));
    put(parts.requests, number(counts.requests));
    put(parts.duplicates, number(counts.duplicates));
    put(parts.refused, number(sum(Object.values(counts.refused))));
    put(parts.fullest, number(counts.fullest_second));
    put(parts.largest, bytes(counts.largest_body));
    parts.duplicates.classList.toggle("some", counts.duplicates > 0);
    parts.refused.classList.toggle("wrong", Object.keys(counts.refused).length > 0);
    parts.fullest.classList.toggle("wrong", counts.fullest_second > limits.rate);
    parts.largest.classList.toggle("wrong", counts.largest_body > limits.body);
    this.#updateStatuses(counts);
    this.#updateSizes(counts);
    this.#updateReasons(counts);

    const bad = this.#badlyAnswered(counts);
    const since = this.#bad === null ? 0 : bad - this.#bad;
    this.#bad = bad;
    this.chart.update({ seconds: counts.seconds, now, bad: since, limit: limits.rate });
    put(parts.now, number(this.chart.rate));
  }

  // Shows which of the faults in force are this vendor's.
  stand(standing) {
    const mine = standing.filter((one) => !one.over && [null, this.vendor].includes(one.vendor));
    for (const button of this.parts.buttons.querySelectorAll("[data-what]")) {
      const begins = `${button.dataset.what} on ${this.vendor}`;
      const on = mine.some((one) => one.text === begins || one.text.startsWith(`${begins} `));
      button.setAttribute("aria-pressed", String(on));
    }
    put(this.parts.state, mine.length ? "faulty" : "healthy");
    this.root.classList.toggle("faulty", mine.length > 0);
  }

  #badlyAnswered(counts) {
    const answers = Object.entries(counts.statuses).filter(([status]) => !status.startsWith("2"));
    const silent = UNANSWERED.map((kind) => counts.faults[kind] ?? 0);
    return sum(answers.map(([, count]) => count)) + sum(silent);
  }

  #updateStatuses(counts) {
    const answers = Object.entries(counts.statuses);
    const silent = sum(UNANSWERED.map((kind) => counts.faults[kind] ?? 0));
    if (silent) answers.push(["no answer", silent]);
    if (answers.length === 0) answers.push(["none yet", null]);
    const { statuses } = this.parts;
    while (statuses.children.length > answers.length) statuses.lastChild.remove();
    answers.forEach(([status, count], n) => {
      let chip = statuses.children[n];
      if (!chip) {
        chip = element("li");
        chip.append(element("span"), " ", element("b"));
        statuses.append(chip);
      }
      chip.dataset.kind = count === null ? "" : status.startsWith("2") ? "good" : "bad";
      put(chip.firstChild, status);
      put(chip.lastChild, count === null ? "" : number(count));
    });
  }

  #updateSizes(counts) {
    const most = Math.max(1, ...counts.sizes);
    [...this.parts.sizes.children].forEach((item, n) => {
      const count = counts.sizes[n] ?? 0;
      const height = count === 0 ? 0 : Math.max(2, Math.round((24 * count) / most));
      item.firstChild.style.height = `${height}px`;
      item.firstChild.classList.toggle("wrong", n === CLASSES.length - 1);
      put(item.lastChild, number(count));
    });
    const { mean_batch: mean, largest_batch: largest } = counts;
    const text = `${mean < 10 ? mean.toFixed(1) : number(Math.round(mean))} events each, ${number(largest)} at most`;
    put(this.parts.batches, counts.batches ? text : "");
  }

  #updateReasons(counts) {
    const { reasons } = this.parts;
    const found = Object.entries(counts.refused).sort(([, one], [, other]) => other - one);
    reasons.hidden = found.length === 0;
    while (reasons.children.length > found.length) reasons.lastChild.remove();
    found.forEach(([reason, count], n) => {
      if (!reasons.children[n]) {
        const item = element("li");
        item.append(element("b"), " ", element("span"));
        reasons.append(item);
      }
      put(reasons.children[n].firstChild, number(count));
      put(reasons.children[n].lastChild, reason);
    });
  }
}
