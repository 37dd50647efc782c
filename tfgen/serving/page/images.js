// Images as bytes, and canvases that show them.

import { element } from "./elements.js";
import { fetchImage } from "./requests.js";

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

  /** The pixels for a canvas. */
  toImageData() {
    const { height, width, channels, bytes } = this;
    const pixels = new ImageData(width, height);
    for (let i = 0; i < height * width; i++) {
      for (let c = 0; c < 3; c++) {
        pixels.data[4 * i + c] = bytes[channels === 3 ? 3 * i + c : channels * i];
      }
      pixels.data[4 * i + 3] = 255;
    }
    return pixels;
  }

  /** Draws the image on a canvas, which takes its size. */
  paint(canvas) {
    if (canvas.width !== this.width) canvas.width = this.width;
    if (canvas.height !== this.height) canvas.height = this.height;
    canvas.getContext("2d").putImageData(this.toImageData(), 0, 0);
  }

  /** A canvas of the image, which `drawImage` takes. */
  toCanvas() {
    const canvas = element("canvas");
    this.paint(canvas);
    return canvas;
  }
}

/** A canvas that a screen reader calls by a label; without one, its button has the label. */
export function pictureCanvas(label, picture = null) {
  const role = label ? { role: "img", "aria-label": label } : { "aria-hidden": "true" };
  const canvas = element("canvas", { class: "picture", ...role });
  if (picture) picture.paint(canvas);
  return canvas;
}

/** A button that shows an image; what it is called may follow later. */
export function imageButton(onclick, attributes = {}, ...children) {
  const look = { type: "button", class: "image", onclick, ...attributes };
  return element("button", look, pictureCanvas(""), ...children);
}

/** Offers a picture as a PNG file of its own size. */
export function download(picture, name) {
  picture.toCanvas().toBlob((blob) => {
    const address = URL.createObjectURL(blob);
    element("a", { href: address, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
  }, "image/png");
}

/** The pixels of an image that the browser has decoded, at most `limit` on its longer side. */
export function pixelsOf(source, limit = Infinity) {
  const factor = Math.min(1, limit / Math.max(source.width, source.height));
  const width = Math.max(1, Math.round(source.width * factor));
  const height = Math.max(1, Math.round(source.height * factor));
  const canvas = element("canvas", { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(source, 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}

// The pictures of each address, so that every view has them at once.
const loaded = new Map();

/**
 * The real images of a model: the pictures of a PNG that shows them side by side, row by row.
 *
 * Rejects with the reason of `signal` if that was aborted meanwhile.
 */
export async function realPictures({ realAddress, shape }, signal) {
  if (!loaded.has(realAddress)) {
    const pictures = loadPictures(realAddress, shape);
    loaded.set(realAddress, pictures);
    pictures.catch(() => loaded.delete(realAddress));
  }
  const pictures = await loaded.get(realAddress);
  signal.throwIfAborted();
  return pictures;
}

async function loadPictures(address, [height, width, channels]) {
  const pixels = pixelsOf(await fetchImage(address));
  const columns = Math.floor(pixels.width / width);
  const rows = Math.floor(pixels.height / height);
  return Array.from({ length: rows * columns }, (_, index) => {
    const top = Math.floor(index / columns) * height;
    const left = (index % columns) * width;
    const bytes = new Uint8ClampedArray(height * width * channels);
    for (let row = 0; row < height; row++) {
      for (let column = 0; column < width; column++) {
        const start = 4 * ((top + row) * pixels.width + left + column);
        const colours = pixels.data.subarray(start, start + channels);
        bytes.set(colours, (row * width + column) * channels);
      }
    }
    return new Picture(height, width, channels, bytes);
  });
}
