// Requests a second, as bars against the vendor's limit.
// The scale is a square root: ten a second can be seen beside five thousand. What was not answered
// as it should be stands at the foot of its bar in another colour; that is known only of seconds
// that this page has seen.

const WIDTH_OF_SECOND = 5;
const MOST_SECONDS = 120;
const MARKS = [100, 1000];
// Pixels above the highest bar, for the words there.
const CEILING = 18;

export class Chart {
  #totals = new Map();
  #bad = new Map();
  #now = 0;
  #limit = 5000;
  #size = { width: 0, height: 0 };
  #said = 0;

  constructor(canvas, vendor) {
    this.canvas = canvas;
    this.vendor = vendor;
    new ResizeObserver(() => this.#fit()).observe(canvas);
    document.addEventListener("themechange", () => this.draw());
  }

  clear() {
    this.#totals.clear();
    this.#bad.clear();
  }

  // Takes in the seconds of a message; `bad` requests were answered badly since the last one.
  update({ seconds, now, bad, limit }) {
    for (const [second, count] of seconds) this.#totals.set(second, count);
    this.#now = now;
    this.#limit = limit;
    const second = Math.floor(now);
    if (bad > 0) this.#bad.set(second, (this.#bad.get(second) ?? 0) + bad);
    for (const counts of [this.#totals, this.#bad]) {
      for (const old of counts.keys()) if (old < second - MOST_SECONDS - 10) counts.delete(old);
    }
    this.draw();
  }

  // Requests in the last whole second.
  get rate() {
    return this.#totals.get(Math.floor(this.#now) - 1) ?? 0;
  }

  draw() {
    const { width, height } = this.#size;
    if (width === 0) return;
    const style = getComputedStyle(this.canvas);
    const colour = (name) => style.getPropertyValue(name).trim();
    const context = this.canvas.getContext("2d");
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    context.clearRect(0, 0, width, height);

    const shown = Math.min(MOST_SECONDS, Math.floor(width / WIDTH_OF_SECOND));
    const last = Math.floor(this.#now);
    const counts = Array.from({ length: shown }, (_, n) => this.#totals.get(last - n) ?? 0);
    const top = Math.sqrt(Math.max(this.#limit, ...counts));
    const floor = height - 14;
    const y = (count) => floor - (Math.sqrt(count) / top) * (floor - CEILING);

    context.font = `11px ${style.fontFamily}`;
    context.textBaseline = "bottom";
    context.lineWidth = 1;
    for (const mark of MARKS) this.#line(context, y(mark), colour("--line"), []);

    const step = width / shown;
    counts.forEach((count, n) => {
      if (count === 0) return;
      const left = width - (n + 1) * step;
      const bar = Math.max(2, floor - y(count));
      context.fillStyle = colour(count > this.#limit ? "--bad" : "--mine");
      context.fillRect(left, floor - bar, step - 1, bar);
      const bad = Math.min(count, this.#bad.get(last - n) ?? 0);
      if (bad > 0) {
        const part = Math.max(2, (bar * bad) / count);
        context.fillStyle = colour("--bad");
        context.fillRect(left, floor - part, step - 1, part);
      }
    });

    this.#line(context, y(this.#limit), colour("--limit"), [4, 3]);
    this.#line(context, floor, colour("--line"), []);
    this.#word(context, `limit ${this.#limit.toLocaleString("en")}`, y(this.#limit), "--limit", colour);
    for (const mark of MARKS) {
      this.#word(context, mark.toLocaleString("en"), y(mark), "--muted", colour);
    }
    context.fillStyle = colour("--muted");
    context.textAlign = "left";
    context.fillText(`${shown} s ago`, 0, height);
    context.textAlign = "right";
    context.fillText("now", width, height);
    this.#say(counts);
  }

  #line(context, y, colour, dash) {
    const middle = Math.round(y) + 0.5; // a line of one sharp pixel
    context.strokeStyle = colour;
    context.setLineDash(dash);
    context.beginPath();
    context.moveTo(0, middle);
    context.lineTo(this.#size.width, middle);
    context.stroke();
    context.setLineDash([]);
  }

  #word(context, text, y, name, colour) {
    context.textAlign = "left";
    // A halo in the ground's colour keeps words readable on top of bars.
    context.strokeStyle = colour("--panel");
    context.lineWidth = 3;
    context.strokeText(text, 2, y - 1);
    context.lineWidth = 1;
    context.fillStyle = colour(name);
    context.fillText(text, 2, y - 1);
  }

  // The same in words, now and then: a label that changes all the time cannot be listened to.
  #say(counts) {
    if (this.#now - this.#said < 5 && this.#now >= this.#said) return;
    this.#said = this.#now;
    const most = Math.max(...counts);
    this.canvas.setAttribute(
      "aria-label",
      `Requests a second to ${this.vendor}: ${this.rate} now, ${most} at most of late; ` +
        `the limit is ${this.#limit}`,
    );
  }

  #fit() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    this.#size = { width, height };
    this.canvas.width = Math.round(width * devicePixelRatio);
    this.canvas.height = Math.round(height * devicePixelRatio);
    this.draw();
  }
}
