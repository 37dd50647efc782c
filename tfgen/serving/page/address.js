// The state of a view is in the fragment of the address: `#samples?model=gan&seed=7`.

import { MAX_IMAGE_SEED, unsigned } from "./numbers.js";

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
  /** What the address has and nobody can use: `model=foo`. */
  missing = new Set();
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
  number(name, fallback, least = -Infinity, most = Infinity, isValid = Number.isFinite) {
    const text = this.text(name);
    if (text === "") return fallback;
    const value = text.trim() === "" ? NaN : Number(text);
    return isValid(value) && value >= least && value <= most ? value : this.reject(name, fallback);
  }

  /** A value as an integer; the fallback if it is missing, no integer, or out of range. */
  integer(name, fallback, least = -Infinity, most = Infinity) {
    return this.number(name, fallback, least, most, Number.isInteger);
  }

  /** A value as the seed of an image, unsigned; old addresses have negative ones. */
  imageSeed(name, fallback) {
    return unsigned(this.integer(name, fallback, -(2 ** 31), MAX_IMAGE_SEED));
  }

  /** The one of some options that a value names; by default the first one. */
  choice(name, options, fallback = options[0]) {
    const text = this.text(name);
    if (text === "") return fallback;
    return options.find((option) => String(option) === text) ?? this.reject(name, fallback);
  }

  /** Notes that a value is of no use; returns the fallback. */
  reject(name, fallback = null) {
    this.missing.add(`${name}=${this.text(name)}`);
    return fallback;
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
