// A latent vector as bars, which can be dragged.

import { setAttribute, shape } from "./elements.js";
import { decimals } from "./numbers.js";

// Latents outside of this range are drawn at its end.
const LIMIT = 3.5;
const [WIDTH, HEIGHT] = [640, 160];
const STEP = 0.1;

/**
 * Bars of a latent vector.
 *
 * With `onchange(index, value)` they can be dragged, and moved by the arrow keys.
 */
export class LatentBars {
  #values = new Float32Array(0);
  #index = 0;
  #onchange;

  constructor(label, onchange = null) {
    this.label = label;
    this.#onchange = onchange;
    this.bars = shape("path", { class: "bars" });
    this.spread = shape("path", { class: "spread" });
    this.marked = shape("path", { class: "bars marked" });
    this.node = shape(
      "svg",
      { class: "latents", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none" },
      ...[-2, 0, 2].map((value) =>
        shape("path", { class: value ? "guide" : "axis", d: `M0 ${toY(value)}H${WIDTH}` }),
      ),
      this.bars,
      this.marked,
      this.spread,
    );
    if (onchange) this.#listen();
    else setAttribute(this.node, "role", "img");
  }

  /** Shows a vector; standard deviations, if there are some; and marks the bars of some indices. */
  show(values, stddev = null, indices = []) {
    this.#values = values;
    this.#index = Math.min(this.#index, values.length - 1);
    const width = WIDTH / values.length;
    const bar = (value, i) => {
      const inset = width > 4 ? 0.15 * width : 0;
      const [left, right] = [i * width + inset, (i + 1) * width - inset];
      return `M${left} ${toY(0)}V${toY(value)}H${right}V${toY(0)}Z`;
    };
    setAttribute(this.bars, "d", Array.from(values, bar).join(""));
    setAttribute(this.marked, "d", indices.map((i) => bar(values[i], i)).join(""));
    const line = (value, i) => {
      const x = (i + 0.5) * width;
      return `M${x} ${toY(values[i] - value)}V${toY(values[i] + value)}`;
    };
    setAttribute(this.spread, "d", stddev ? Array.from(stddev, line).join("") : "");
    this.#describe();
  }

  #describe() {
    const count = this.#values.length;
    if (!this.#onchange) {
      setAttribute(this.node, "aria-label", `${this.label}: ${count} dimensions`);
      return;
    }
    const value = this.#values[this.#index];
    setAttribute(this.node, "aria-valuenow", value.toFixed(2));
    const text = `dimension ${this.#index + 1} of ${count}: ${decimals(value)}`;
    setAttribute(this.node, "aria-valuetext", text);
  }

  #listen() {
    const { node } = this;
    const attributes = {
      role: "slider",
      tabindex: 0,
      "aria-label": `${this.label}: left and right choose a dimension, up and down its value`,
      "aria-valuemin": -LIMIT,
      "aria-valuemax": LIMIT,
    };
    for (const [name, value] of Object.entries(attributes)) setAttribute(node, name, value);
    node.classList.add("draggable");
    node.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      node.setPointerCapture(event.pointerId);
      this.#index = this.#indexAt(event);
      this.#changeTo(this.#valueAt(event));
    });
    node.addEventListener("pointermove", (event) => {
      if (node.hasPointerCapture(event.pointerId)) this.#changeTo(this.#valueAt(event));
    });
    node.addEventListener("keydown", (event) => this.#onKey(event));
  }

  #onKey(event) {
    const value = this.#values[this.#index];
    const last = this.#values.length - 1;
    if (event.key === "ArrowRight") this.#index = Math.min(this.#index + 1, last);
    else if (event.key === "ArrowLeft") this.#index = Math.max(this.#index - 1, 0);
    else if (event.key === "ArrowUp") this.#changeTo(Math.min(value + STEP, LIMIT));
    else if (event.key === "ArrowDown") this.#changeTo(Math.max(value - STEP, -LIMIT));
    else return;
    event.preventDefault();
    this.#describe();
  }

  #changeTo(value) {
    this.#onchange(this.#index, Number(value.toFixed(2)));
  }

  #indexAt(event) {
    const box = this.node.getBoundingClientRect();
    const index = Math.floor(((event.clientX - box.left) / box.width) * this.#values.length);
    return Math.min(Math.max(index, 0), this.#values.length - 1);
  }

  #valueAt(event) {
    const box = this.node.getBoundingClientRect();
    const value = LIMIT * (1 - (2 * (event.clientY - box.top)) / box.height);
    return Math.min(Math.max(value, -LIMIT), LIMIT);
  }
}

function toY(value) {
  const limited = Math.min(Math.max(value, -LIMIT), LIMIT);
  return Number((((LIMIT - limited) / (2 * LIMIT)) * HEIGHT).toFixed(1));
}
