// A latent vector as bars, which can be dragged.

import { html, pointerOn } from "./elements.js";
import { clamp, decimals } from "./numbers.js";

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
    const view = `0 0 ${WIDTH} ${HEIGHT}`;
    this.node = html`
      <svg class="latents" role="img" viewBox=${view} preserveAspectRatio="none">
        <path class="guide" d=${`M0 ${toY(-2)}H${WIDTH}M0 ${toY(2)}H${WIDTH}`} />
        <path class="axis" d=${`M0 ${toY(0)}H${WIDTH}`} />
        <path class="bars" /><path class="bars marked" /><path class="spread" />
      </svg>`;
    [this.bars, this.marked, this.spread] = [...this.node.children].slice(2);
    if (onchange) this.#listen();
  }

  /** Shows a vector; standard deviations, if there are some; and marks the bars of some indices. */
  show(values, stddev = null, indices = []) {
    this.#values = values;
    this.#index = Math.min(this.#index, values.length - 1);
    const width = WIDTH / values.length;
    const inset = width > 4 ? 0.15 * width : 0;
    const bar = (value, i) =>
      `M${i * width + inset} ${toY(0)}V${toY(value)}H${(i + 1) * width - inset}V${toY(0)}Z`;
    const line = (value, i) =>
      `M${(i + 0.5) * width} ${toY(values[i] - value)}V${toY(values[i] + value)}`;
    this.bars.setAttribute("d", Array.from(values, bar).join(""));
    this.marked.setAttribute("d", indices.map((i) => bar(values[i], i)).join(""));
    this.spread.setAttribute("d", Array.from(stddev ?? [], line).join(""));
    this.#describe();
  }

  #describe() {
    const { node, label } = this;
    const count = this.#values.length;
    if (!this.#onchange) {
      node.ariaLabel = `${label}: ${count} dimensions`;
      return;
    }
    const value = this.#values[this.#index];
    node.ariaValueNow = value.toFixed(2);
    node.ariaValueText = `dimension ${this.#index + 1} of ${count}: ${decimals(value)}`;
  }

  #listen() {
    const { node } = this;
    Object.assign(node, { role: "slider", tabIndex: 0, ariaValueNow: 0 });
    node.ariaLabel =
      `${this.label}: left and right choose a dimension, up and down its value`;
    node.classList.add("draggable");
    node.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      node.setPointerCapture(event.pointerId);
      const last = this.#values.length - 1;
      this.#index = Math.min(Math.floor(pointerOn(node, event).x * (last + 1)), last);
      this.#drag(event);
    });
    node.addEventListener("pointermove", (event) => {
      if (node.hasPointerCapture(event.pointerId)) this.#drag(event);
    });
    node.addEventListener("keydown", (event) => this.#onKey(event));
  }

  #onKey(event) {
    const sideways = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const upwards = { ArrowUp: STEP, ArrowDown: -STEP }[event.key];
    if (sideways) this.#index = clamp(this.#index + sideways, 0, this.#values.length - 1);
    else if (upwards) this.#changeTo(this.#values[this.#index] + upwards);
    else return;
    event.preventDefault();
    this.#describe();
  }

  #drag(event) {
    this.#changeTo(LIMIT * (1 - 2 * pointerOn(this.node, event).y));
  }

  #changeTo(value) {
    this.#onchange(this.#index, Number(clamp(value, -LIMIT, LIMIT).toFixed(2)));
  }
}

function toY(value) {
  const share = (LIMIT - clamp(value, -LIMIT, LIMIT)) / (2 * LIMIT);
  return Number((share * HEIGHT).toFixed(1));
}
