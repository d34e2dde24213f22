// The stream from the sink, kept open.
// A lost one is opened again, sooner at first and every 5 s later on; each begins with a snapshot,
// so nothing has to be asked for that was missed. A page that nobody sees gives its stream back
// after a while: browsers open only six to one host.

const FIRST_DELAY = 500;
const LAST_DELAY = 5000;
const HIDDEN_DELAY = 30000;

export class Stream {
  #source = null;
  #retry = 0;
  #hide = 0;
  #delay = FIRST_DELAY;

  constructor({ query, onHello, onTurn, onState }) {
    this.query = query;
    this.onHello = onHello;
    this.onTurn = onTurn;
    this.onState = onState;
    document.addEventListener("visibilitychange", () => this.#seen(!document.hidden));
    addEventListener("pagehide", () => this.#close());
    addEventListener("pageshow", (event) => event.persisted && this.open());
  }

  // Opens the stream, anew if it is open, with what the page wants to see now.
  open() {
    this.#close();
    const source = (this.#source = new EventSource(`/_sink/live?${this.query()}`));
    source.addEventListener("hello", (event) => {
      this.#delay = FIRST_DELAY;
      this.onState("live");
      this.onHello(JSON.parse(event.data));
    });
    source.addEventListener("turn", (event) => this.onTurn(JSON.parse(event.data)));
    source.onerror = () => {
      this.#close();
      this.onState("lost");
      this.#retry = setTimeout(() => this.open(), this.#delay);
      this.#delay = Math.min(this.#delay * 1.6, LAST_DELAY);
    };
  }

  #close() {
    clearTimeout(this.#retry);
    this.#source?.close();
    this.#source = null;
  }

  #seen(visible) {
    clearTimeout(this.#hide);
    if (visible) {
      if (this.#source === null) this.open();
    } else {
      this.#hide = setTimeout(() => {
        this.#close();
        this.onState("asleep");
      }, HIDDEN_DELAY);
    }
  }
}
