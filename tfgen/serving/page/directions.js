// Planes in the latent space: an origin, two directions, and the point where the visitor begins.

import { dot, norm, orthonormal, scaled } from "./numbers.js";

/** The plane of two latent dimensions; the others have the values of a latent vector. */
export function axesPlane(latents, [first, second]) {
  const unit = (index) => Float32Array.from(latents, (_, i) => Number(i === index));
  const origin = latents.slice();
  origin[first] = origin[second] = 0;
  const start = { x: latents[first], y: latents[second] };
  return { origin, first: unit(first), second: unit(second), start };
}

/**
 * The plane of the two principal directions of encoded test images: through their mean, or
 * through a latent vector.
 */
export function principalPlane(latents, { mean, first, second }) {
  const point = latents ?? mean;
  const offset = point.map((value, i) => value - mean[i]);
  const start = { x: dot(offset, first), y: dot(offset, second) };
  const origin = Float32Array.from(point, (value, i) =>
    value - start.x * first[i] - start.y * second[i]);
  return { origin, first, second, start };
}

/**
 * The plane through the first of three random latent vectors, at a right angle to it, towards the
 * other two. At a distance of `limit` from the middle, vectors are √2 times as long as there.
 */
export function randomPlane(latents, limit) {
  const [, first, second] = orthonormal(latents);
  const scale = norm(latents[0]) / limit;
  return {
    origin: latents[0],
    first: scaled(first, scale),
    second: scaled(second, scale),
    start: { x: 0, y: 0 },
  };
}
