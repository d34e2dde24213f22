// Numbers, sizes and times as people read them, and elements from text.
// Text gets into the page by `textContent` only, so that nothing in an event is ever markup.

export const TITLES = { datadog: "Datadog", freshpaint: "Freshpaint" };

export const number = (value) => value.toLocaleString("en");

export function bytes(value) {
  if (value < 1000) return `${value} B`;
  if (value < 1e6) return `${(value / 1e3).toFixed(value < 1e4 ? 1 : 0)} kB`;
  return `${(value / 1e6).toFixed(2)} MB`;
}

export function duration(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

const two = (value) => String(value).padStart(2, "0");

export function clock(at) {
  if (at === null) return "earlier";
  const date = new Date(at * 1000);
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":");
  return `${time}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

export function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// Changes an element's text only if it differs: unchanged text costs no layout.
export function put(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

export function at(id) {
  return document.getElementById(id);
}

export function say(text) {
  at("said").textContent = text;
}

const TOKENS = /("(?:\\.|[^"\\])*")(\s*:)?|\b(?:true|false|null)\b|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

// JSON text with its keys, strings and other values told apart.
export function coloured(text) {
  const made = document.createDocumentFragment();
  let end = 0;
  for (const match of text.matchAll(TOKENS)) {
    made.append(text.slice(end, match.index));
    const kind = match[2] !== undefined ? "key" : match[1] !== undefined ? "text" : "value";
    made.append(element("span", kind, match[1] ?? match[0]), match[2] ?? "");
    end = match.index + match[0].length;
  }
  made.append(text.slice(end));
  return made;
}
