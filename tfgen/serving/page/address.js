// The state of a view is in the fragment of the address: `#samples?model=gan&seed=7`.

// Chromium refuses more than 200 changes of the address in 30 seconds.
const WRITE_INTERVAL = 200; // milliseconds

// The last state of each view, so that a tab comes back as it was left.
const lastValues = new Map();

/** The view and its values that the address names. */
export function readAddress() {
  const [view, query = ""] = location.hash.slice(1).split("?");
  return { view, values: Object.fromEntries(new URLSearchParams(query)) };
}

/** The address of a view with its values; those that are null are left out. */
export function linkTo(view, values = { ...lastValues.get(view), story: null }) {
  const present = Object.entries(values).filter(([, value]) => value !== null && value !== "");
  const query = new URLSearchParams(present).toString();
  return query ? `#${view}?${query}` : `#${view}`;
}

/** The values of one view, which the address repeats. */
export class State {
  /** What the address names and is not here: `model foo`. */
  missing = [];
  #values;
  #timer = null;
  #written = 0;

  constructor(view, values) {
    this.view = view;
    this.#values = { ...values };
    lastValues.set(view, this.#values);
  }

  /** The text of a value. */
  text(name, fallback = "") {
    return this.#values[name] ?? fallback;
  }

  /** A value as a number; the fallback if it is missing, no number, or out of range. */
  number(name, fallback, least = -Infinity, most = Infinity) {
    const text = this.#values[name];
    const value = text === undefined || text === "" ? NaN : Number(text);
    return Number.isFinite(value) && value >= least && value <= most ? value : fallback;
  }

  /** A value as an integer; the fallback if it is missing, no integer, or out of range. */
  integer(name, fallback, least = -Infinity, most = Infinity) {
    const value = this.number(name, fallback, least, most);
    return Number.isInteger(value) ? value : fallback;
  }

  /** Changes values; null removes one. */
  set(changes) {
    for (const [name, value] of Object.entries(changes)) {
      if (value === null || value === undefined) delete this.#values[name];
      else this.#values[name] = String(value);
    }
    const wait = this.#written + WRITE_INTERVAL - performance.now();
    if (wait <= 0) this.#write();
    else this.#timer ??= setTimeout(() => this.#write(), wait);
  }

  /** Ends the view: the address belongs to another one now. */
  close() {
    clearTimeout(this.#timer);
    this.#timer = null;
  }

  #write() {
    this.close();
    this.#written = performance.now();
    history.replaceState(null, "", linkTo(this.view, this.#values));
    dispatchEvent(new CustomEvent("addresschange", { detail: this.view }));
  }
}
