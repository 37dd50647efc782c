// A canvas to draw on, in white on black or in black on white.

import { html, pointerOn } from "./elements.js";

const SIDE = 256; // pixels of the canvas; a coordinate of a stroke is a byte
const PEN = 20; // pixels
// A point of a stroke is at least that far from the one before.
const SPACING = 4;
const LONGEST_STROKE = 255;

/** A canvas that calls `onchange` while a stroke is drawn. */
export class DrawingPad {
  #strokes = [];
  #pointer = null;

  constructor(onchange) {
    this.onchange = onchange;
    const end = () => (this.#pointer = null);
    this.canvas = html`<canvas class="pad" width=${SIDE} height=${SIDE} role="img"
      aria-label="Drawing area, for a pointer. Without one, take a test image or open a file."
      @pointerdown=${(event) => this.#begin(event)} @pointermove=${(event) => this.#continue(event)}
      @pointerup=${end} @pointercancel=${end}></canvas>`;
    this.context = this.canvas.getContext("2d", { willReadFrequently: true });
    this.setPaper(false);
  }

  get isEmpty() {
    return this.#strokes.length === 0;
  }

  get pixels() {
    return this.context.getImageData(0, 0, SIDE, SIDE);
  }

  /** Takes white paper and a black pen, or the reverse; removes an image that is shown. */
  setPaper(isLight) {
    this.background = isLight ? 1 : -1;
    this.#draw();
  }

  undo() {
    this.#strokes.pop();
    this.#draw();
    this.onchange();
  }

  /** Removes the drawing, without a call of `onchange`. */
  clear() {
    this.#strokes = [];
    this.#draw();
  }

  /** Shows an image in place of a drawing. */
  showImage(source) {
    this.clear();
    const factor = Math.min(SIDE / source.width, SIDE / source.height);
    const [width, height] = [source.width * factor, source.height * factor];
    this.context.imageSmoothingEnabled = factor < 1;
    this.context.drawImage(source, (SIDE - width) / 2, (SIDE - height) / 2, width, height);
  }

  /** The strokes as a text for the address: a byte for the length, then those of the points. */
  toText() {
    const bytes = this.#strokes.flatMap((stroke) => [stroke.length, ...stroke.flat()]);
    const text = btoa(String.fromCharCode(...bytes));
    return text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  }

  /** Draws the strokes of a text; returns whether it is one. */
  showText(text) {
    try {
      const plain = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
      const bytes = Array.from(plain, (character) => character.charCodeAt(0));
      const strokes = [];
      while (bytes.length) {
        const [length, ...numbers] = bytes.splice(0, 1 + 2 * bytes[0]);
        strokes.push(Array.from({ length }, (_, i) => numbers.slice(2 * i, 2 * i + 2)));
      }
      const isWhole = (stroke) => stroke.length && stroke.every((point) => point.length === 2);
      if (!strokes.every(isWhole)) return false;
      this.#strokes = strokes;
      this.#draw();
      return true;
    } catch {
      return false;
    }
  }

  #begin(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    this.canvas.setPointerCapture(event.pointerId);
    this.#pointer = event.pointerId;
    this.#strokes.push([this.#pointAt(event)]);
    this.#draw();
    this.onchange();
  }

  #continue(event) {
    if (event.pointerId !== this.#pointer) return;
    const stroke = this.#strokes.at(-1);
    const point = this.#pointAt(event);
    const [x, y] = stroke.at(-1);
    if (Math.hypot(point[0] - x, point[1] - y) < SPACING) return;
    if (stroke.length === LONGEST_STROKE) this.#strokes.push([stroke.at(-1), point]);
    else stroke.push(point);
    this.#draw();
    this.onchange();
  }

  #pointAt(event) {
    const { x, y } = pointerOn(this.canvas, event);
    return [x, y].map((share) => Math.round(share * (SIDE - 1)));
  }

  #draw() {
    const { context } = this;
    const [fillStyle, strokeStyle] = this.background > 0 ? ["#fff", "#000"] : ["#000", "#fff"];
    const pen = { lineWidth: PEN, lineCap: "round", lineJoin: "round" };
    Object.assign(context, { fillStyle, strokeStyle, ...pen });
    context.fillRect(0, 0, SIDE, SIDE);
    for (const stroke of this.#strokes) {
      context.beginPath();
      context.moveTo(...stroke[0]);
      // A line without length is a dot.
      stroke.forEach((point) => context.lineTo(...point));
      context.stroke();
    }
  }
}
