// Converts drawings and image files to the size and the colours that a model takes.

import { Picture } from "./images.js";

// A pixel counts as ink above this, out of 255.
const INK = 24;
// MNIST's digits fit into 20 × 20 pixels of 28 × 28, with the centre of mass in the middle.
const INK_SHARE = 20 / 28;

/**
 * A picture of a model's shape.
 *
 * `pixels` is an `ImageData`; transparent pixels become black. With `isCentred` the picture is
 * placed as MNIST's digits are, otherwise the whole image is fitted in.
 */
export function convert(pixels, shape, { isInverted = false, isCentred = false } = {}) {
  const [height, width, channels] = shape;
  const planes = readPlanes(pixels, channels, isInverted);
  const whole = { left: 0, top: 0, width: pixels.width, height: pixels.height };
  const ink = isCentred ? findInk(planes, whole) : null;
  const area = ink ?? whole;
  const room = ink ? INK_SHARE : 1;
  const factor = Math.min((room * width) / area.width, (room * height) / area.height);
  const size = {
    width: Math.max(1, Math.round(area.width * factor)),
    height: Math.max(1, Math.round(area.height * factor)),
  };
  const small = planes.map((plane) => resize(plane, pixels.width, area, size));
  const middle = ink ? centreOfMass(small, size) : { x: size.width / 2, y: size.height / 2 };
  const left = place(width / 2 - middle.x, size.width, width);
  const top = place(height / 2 - middle.y, size.height, height);
  const bytes = new Uint8ClampedArray(height * width * channels);
  for (let row = 0; row < size.height; row++) {
    for (let column = 0; column < size.width; column++) {
      const target = ((top + row) * width + left + column) * channels;
      small.forEach((plane, c) => (bytes[target + c] = plane[row * size.width + column]));
    }
  }
  return new Picture(height, width, channels, bytes);
}

/** Whether an image is light at its border, so dark ink on paper. */
export function hasLightBorder(pixels) {
  const [plane] = readPlanes(pixels, 1, false);
  const { width, height } = pixels;
  const border = plane.filter((_, i) => {
    const [row, column] = [Math.floor(i / width), i % width];
    return row === 0 || column === 0 || row === height - 1 || column === width - 1;
  });
  return border.reduce((sum, value) => sum + value, 0) / border.length > 127;
}

/** An offset that keeps the image inside. */
function place(offset, size, room) {
  return Math.min(Math.max(Math.round(offset), 0), room - size);
}

/** The channels of an image over black, as numbers in 0…255. */
function readPlanes({ data, width, height }, channels, isInverted) {
  return Array.from({ length: channels }, (_, c) =>
    Float32Array.from({ length: width * height }, (_, i) => {
      const [red, green, blue] = data.subarray(4 * i, 4 * i + 3);
      // The grey of ITU-R BT.601, as Pillow converts.
      const grey = 0.299 * red + 0.587 * green + 0.114 * blue;
      const value = channels === 1 ? grey : [red, green, blue][c];
      const alpha = data[4 * i + 3] / 255;
      return isInverted ? alpha * (255 - value) : alpha * value;
    }),
  );
}

/** The box around the ink; null if there is none. */
function findInk(planes, { width, height }) {
  let [left, right, top, bottom] = [width, -1, height, -1];
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      if (planes.every((plane) => plane[row * width + column] <= INK)) continue;
      left = Math.min(left, column);
      right = Math.max(right, column);
      top = Math.min(top, row);
      bottom = Math.max(bottom, row);
    }
  }
  return right < 0 ? null : { left, top, width: right - left + 1, height: bottom - top + 1 };
}

/** An area of a plane in another size: each pixel is the mean of what it covers. */
function resize(plane, stride, area, size) {
  const columns = shares(area.left, area.width, size.width);
  const rows = shares(area.top, area.height, size.height);
  const small = new Float32Array(size.width * size.height);
  rows.forEach((rowShares, row) =>
    columns.forEach((columnShares, column) => {
      let sum = 0;
      for (const [y, rowShare] of rowShares) {
        for (const [x, share] of columnShares) sum += plane[y * stride + x] * rowShare * share;
      }
      small[row * size.width + column] = sum;
    }),
  );
  return small;
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

function centreOfMass(planes, { width, height }) {
  let [mass, x, y] = [0, 0, 0];
  for (const plane of planes) {
    plane.forEach((value, i) => {
      mass += value;
      x += value * ((i % width) + 0.5);
      y += value * (Math.floor(i / width) + 0.5);
    });
  }
  return mass ? { x: x / mass, y: y / mass } : { x: width / 2, y: height / 2 };
}
