// Converts drawings and image files to the size and the colours that a model takes.

import { Picture } from "./images.js";
import { clamp } from "./numbers.js";

// A pixel counts as ink if it is this far from the paper, out of 255.
export const INK = 24;
// MNIST's digits fit into 20 × 20 pixels of 28 × 28, with the centre of mass in the middle.
const INK_SHARE = 20 / 28;

/**
 * A picture of a model's shape.
 *
 * `pixels` is an `ImageData`. With `centre` the picture is placed as MNIST's digits are, otherwise
 * the whole image is fitted in. `invert` swaps light and dark. What is transparent, or beside the
 * image, becomes white with a light background, else black.
 */
export function convert(pixels, { shape, background }, { centre, invert }) {
  const [height, width, channels] = shape;
  const paper = background > 0 ? 255 : 0;
  const planes = readPlanes(pixels, channels, invert, paper);
  const ink = centre ? findInk(planes, pixels) : null;
  const area = ink ?? { left: 0, top: 0, width: pixels.width, height: pixels.height };
  const room = ink ? INK_SHARE : 1;
  const factor = Math.min((room * width) / area.width, (room * height) / area.height);
  const size = {
    width: Math.max(1, Math.round(area.width * factor)),
    height: Math.max(1, Math.round(area.height * factor)),
  };
  const small = planes.map((plane) => resize(plane, pixels.width, area, size));
  const middle = ink ? centreOfMass(small, size) : { x: size.width / 2, y: size.height / 2 };
  // The offset of the picture keeps it inside.
  const left = clamp(Math.round(width / 2 - middle.x), 0, width - size.width);
  const top = clamp(Math.round(height / 2 - middle.y), 0, height - size.height);
  const bytes = new Uint8ClampedArray(height * width * channels).fill(paper);
  for (let row = 0; row < size.height; row++) {
    for (let column = 0; column < size.width; column++) {
      const target = ((top + row) * width + left + column) * channels;
      small.forEach((plane, c) => (bytes[target + c] = plane[row * size.width + column]));
    }
  }
  return new Picture(height, width, channels, bytes);
}

/** The background of an image by its border: 1 is light, -1 dark, 0 transparent. */
export function backgroundOf(pixels) {
  const [plane] = readPlanes(pixels, 1, false, 127.5);
  const { width, height } = pixels;
  const border = plane.filter((_, i) => {
    const [row, column] = [Math.floor(i / width), i % width];
    return row === 0 || column === 0 || row === height - 1 || column === width - 1;
  });
  return Math.sign(border.reduce((sum, value) => sum + value - 127.5, 0));
}

/** The channels of an image over a grey paper, as numbers in 0…255. */
function readPlanes({ data, width, height }, channels, invert, paper) {
  return Array.from({ length: channels }, (_, c) =>
    Float32Array.from({ length: width * height }, (_, i) => {
      const [red, green, blue] = data.subarray(4 * i, 4 * i + 3);
      // The grey of ITU-R BT.601, as Pillow converts.
      const grey = 0.299 * red + 0.587 * green + 0.114 * blue;
      const value = channels === 1 ? grey : [red, green, blue][c];
      return paper + (data[4 * i + 3] / 255) * ((invert ? 255 - value : value) - paper);
    }),
  );
}

/** The box around the ink; null if there is none. */
function findInk(planes, { width, height }) {
  const isInk = (row, column) => planes.some((plane) => plane[row * width + column] > INK);
  const [allRows, allColumns] = [[...Array(height).keys()], [...Array(width).keys()]];
  const rows = allRows.filter((row) => allColumns.some((column) => isInk(row, column)));
  if (!rows.length) return null;
  const columns = allColumns.filter((column) => rows.some((row) => isInk(row, column)));
  const [left, top] = [columns[0], rows[0]];
  return { left, top, width: columns.at(-1) + 1 - left, height: rows.at(-1) + 1 - top };
}

/** An area of a plane in another size: each pixel is the mean of what it covers. */
function resize(plane, stride, area, size) {
  const columns = shares(area.left, area.width, size.width);
  const rows = shares(area.top, area.height, size.height);
  const meanOf = (rowShares, columnShares) => {
    let sum = 0;
    for (const [y, rowShare] of rowShares) {
      for (const [x, share] of columnShares) sum += plane[y * stride + x] * rowShare * share;
    }
    return sum;
  };
  return rows.flatMap((row) => columns.map((column) => meanOf(row, column)));
}

/** For each new pixel of a line, the old pixels that it covers and their shares. */
function shares(start, length, count) {
  const step = length / count;
  return Array.from({ length: count }, (_, i) => {
    const [from, to] = [i * step, (i + 1) * step];
    const covered = [];
    for (let pixel = Math.floor(from); pixel < Math.min(length, Math.ceil(to - 1e-9)); pixel++) {
      const overlap = Math.min(to, pixel + 1) - Math.max(from, pixel);
      if (overlap > 0) covered.push([start + pixel, overlap / step]);
    }
    return covered;
  });
}

function centreOfMass(planes, { width }) {
  let [mass, x, y] = [0, 0, 0];
  for (const plane of planes) {
    plane.forEach((value, i) => {
      mass += value;
      x += value * ((i % width) + 0.5);
      y += value * (Math.floor(i / width) + 0.5);
    });
  }
  return { x: x / mass, y: y / mass };
}
