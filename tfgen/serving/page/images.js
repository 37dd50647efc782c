// Images as bytes, and canvases that show them.

import { announce, html } from "./elements.js";
import { Latest, fetchImage, once } from "./requests.js";

/**
 * An image of bytes.
 *
 * `bytes` has height × width × channels entries; the channels are 1 (grey) or 3 (RGB).
 */
export class Picture {
  constructor(height, width, channels, bytes) {
    Object.assign(this, { height, width, channels, bytes });
  }

  /** An image of nested lists of numbers in 0…1, as a server answers it. */
  static fromValues(rows) {
    const [height, width, channels] = [rows.length, rows[0].length, rows[0][0].length];
    const values = Float32Array.from(rows.flat(2));
    // As `np.round(255 * image)`: in float32, and a half goes to the even number.
    const bytes = Uint8ClampedArray.from(values, (value) => Math.fround(255 * value));
    return new Picture(height, width, channels, bytes);
  }

  /** Nested lists of integers, as the signatures of images take them. */
  toLists() {
    const { height, width, channels, bytes } = this;
    return Array.from({ length: height }, (_, row) =>
      Array.from({ length: width }, (_, column) => {
        const start = (row * width + column) * channels;
        return Array.from(bytes.subarray(start, start + channels));
      }),
    );
  }

  /** Nested lists of numbers in 0…1, as `fromValues` takes them. */
  toValues() {
    return this.toLists().map((row) => row.map((pixel) => pixel.map((value) => value / 255)));
  }

  /** The pixels for a canvas. */
  toImageData() {
    const { height, width, channels, bytes } = this;
    const pixels = new ImageData(width, height);
    for (let i = 0; i < height * width; i++) {
      const colour = channels === 3 ? bytes.subarray(3 * i, 3 * i + 3) : Array(3).fill(bytes[i]);
      pixels.data.set([...colour, 255], 4 * i);
    }
    return pixels;
  }

  /** Draws the image on a canvas, which takes its size. */
  paint(canvas) {
    Object.assign(canvas, { width: this.width, height: this.height });
    canvas.getContext("2d").putImageData(this.toImageData(), 0, 0);
  }

  /** A canvas of the image, which `drawImage` takes. */
  toCanvas() {
    const canvas = document.createElement("canvas");
    this.paint(canvas);
    return canvas;
  }
}

/** A canvas that a screen reader calls by a label; without one, its button has the label. */
export function pictureCanvas(label) {
  const canvas = html`<canvas class="picture"></canvas>`;
  if (label) Object.assign(canvas, { role: "img", ariaLabel: label });
  else canvas.ariaHidden = "true";
  return canvas;
}

/** Images side by side, each with a name; with `onclick(index)` they are buttons. */
export class ImageGrid {
  constructor(kind, label, names, onclick = null) {
    this.canvases = names.map((name) => pictureCanvas(onclick ? "" : name));
    const button = (canvas, i) => html`<button class="image" aria-label=${names[i]}
      @click=${() => onclick(i)}>${canvas}</button>`;
    this.items = onclick ? this.canvases.map(button) : this.canvases;
    this.node = html`<div class=${kind} role="group" aria-label=${label}
      @focusin=${({ target }) => this.#stopAt(target)}
      @keydown=${(event) => this.#onKey(event)}>${this.items}</div>`;
    if (onclick) this.#stopAt(this.items[0]);
  }

  /** Makes one button the stop of the tabulator; from there, the arrow keys go on. */
  #stopAt(target) {
    this.items.forEach((item) => (item.tabIndex = item === target ? 0 : -1));
  }

  #onKey(event) {
    const columns = getComputedStyle(this.node).gridTemplateColumns.split(" ").length;
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
    const ends = { Home: 0, End: this.items.length - 1 };
    const index = ends[event.key] ?? this.items.indexOf(event.target) + steps[event.key];
    if (!this.items[index]) return;
    event.preventDefault();
    this.items[index].focus();
  }

  paint(pictures) {
    pictures.forEach((picture, i) => picture.paint(this.canvases[i]));
  }
}

/**
 * A card of a grid of images, which is between `controls` and `notes`.
 *
 * `compute(value, signal)` returns the pictures of a value that `latest` is asked for.
 */
export class GridCard {
  constructor(context, { kind, count, title, family, controls, notes, compute, onclick = null }) {
    const names = Array.from({ length: count }, (_, i) => `${title}: image ${i + 1}`);
    this.images = new ImageGrid(kind, title, names, onclick);
    this.node = html`<section class=${`card family-${family}`} aria-label=${title}>
      ${[...controls, this.images.node, ...notes]}</section>`;
    const show = (pictures) => {
      this.images.paint(pictures);
      announce(`${title}: ${pictures.length} images`);
    };
    this.latest = new Latest(context, compute, show, this.node);
  }
}

/** What draws on a canvas that has an image, at most `limit` pixels on its longer side. */
export function drawn(source, limit = Infinity) {
  const factor = Math.min(1, limit / Math.max(source.width, source.height));
  const [width, height] = [source.width, source.height].map((side) =>
    Math.max(1, Math.round(side * factor)));
  const canvas = html`<canvas width=${width} height=${height}></canvas>`;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(source, 0, 0, width, height);
  return context;
}

/**
 * The real images of a model: the pictures of a PNG that shows them side by side, row by row.
 *
 * Rejects with the reason of `signal` if that was aborted meanwhile.
 */
export async function realPictures({ realAddress, shape }, signal) {
  const pictures = await once(realAddress, () => loadPictures(realAddress, shape));
  signal?.throwIfAborted();
  return pictures;
}

async function loadPictures(address, [height, width, channels]) {
  const context = drawn(await fetchImage(address));
  const columns = Math.floor(context.canvas.width / width);
  const rows = Math.floor(context.canvas.height / height);
  return Array.from({ length: rows * columns }, (_, index) => {
    const [row, column] = [Math.floor(index / columns), index % columns];
    const { data } = context.getImageData(column * width, row * height, width, height);
    const bytes = data.filter((_, i) => i % 4 < channels);
    return new Picture(height, width, channels, bytes);
  });
}
