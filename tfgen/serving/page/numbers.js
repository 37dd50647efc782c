// Seeds, latent vectors and probabilities. The results agree with those of tfgen in Python.

/** The largest seeds of a grid and of an image, which the page shows without a sign. */
export const MAX_SEED = 2 ** 31 - 1;
export const MAX_IMAGE_SEED = 2 ** 32 - 1;

/** The seed of an image as the page shows it, and as requests have it: 32-bit integers. */
export const unsigned = (seed) => seed >>> 0;
export const signed = (seed) => seed | 0;

/**
 * The seeds of the n images of a request, 32-bit integers: `tfgen-sample --seed` has the same.
 *
 * They are consecutive integers from a hash of the request's seed, which is the first word that
 * numpy's `SeedSequence` generates.
 */
export function imageSeeds(seed, n) {
  const start = hashSeed(seed);
  return Array.from({ length: n }, (_, i) => (start + i) | 0);
}

function hashSeed(seed) {
  let constant = 0x43b0d7e5;
  const scramble = (value) => {
    value ^= constant;
    constant = Math.imul(constant, 0x931e8875);
    value = Math.imul(value, constant);
    return value ^ (value >>> 16);
  };
  const mix = (x, y) => {
    const value = Math.imul(0xca01f9dd, x) - Math.imul(0x4973f715, y);
    return value ^ (value >>> 16);
  };
  const pool = [seed, 0, 0, 0].map(scramble);
  for (let source = 0; source < pool.length; source++) {
    for (let target = 0; target < pool.length; target++) {
      if (source !== target) pool[target] = mix(pool[target], scramble(pool[source]));
    }
  }
  const word = Math.imul(pool[0] ^ 0x8b51f9dd, Math.imul(0x8b51f9dd, 0x58f38ded));
  return word ^ (word >>> 16);
}

/** A generator of pseudorandom numbers in [0, 1) from a seed (Marsaglia 2003, xorshift). */
export function randomNumbers(seed) {
  let state = hashSeed(seed) || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

/** The items in random order (Fisher and Yates). */
export function shuffle(items, random) {
  const order = [...items];
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

/** A seed that nobody chose. */
export function randomSeed() {
  return Math.floor(Math.random() * 1_000_000);
}

/** The nearest number from `least` to `most`. */
export function clamp(value, least, most) {
  return Math.min(Math.max(value, least), most);
}

/** The Euclidean length of a vector. */
export function norm(vector) {
  return Math.sqrt(dot(vector, vector));
}

/** The scalar product of two vectors. */
export function dot(a, b) {
  return a.reduce((sum, value, i) => sum + value * b[i], 0);
}

/** The Euclidean distance of two vectors. */
export function distance(a, b) {
  return norm(a.map((value, i) => value - b[i]));
}

/** A vector times a number, in float32. */
export function scaled(vector, factor) {
  return Float32Array.from(vector, (value) => value * Math.fround(factor));
}

/** Vectors of length 1 at right angles that span the same space (Gram and Schmidt). */
export function orthonormal(vectors) {
  const basis = [];
  for (const vector of vectors) {
    let rest = vector;
    for (const direction of basis) {
      const share = dot(rest, direction);
      rest = rest.map((value, i) => value - share * direction[i]);
    }
    basis.push(scaled(rest, 1 / norm(rest)));
  }
  return basis;
}

/** `origin + x · first + y · second`, in float32. */
export function pointOfPlane({ origin, first, second }, x, y) {
  return Float32Array.from(origin, (value, i) => value + x * first[i] + y * second[i]);
}

/** The point of the straight line between two vectors; share 0 is the start, 1 the end. */
export function linear(start, end, share) {
  return Float32Array.from(start, (value, i) => (1 - share) * value + share * end[i]);
}

/** The point of the great circle between two vectors (White 2016). */
export function spherical(start, end, share) {
  const cosine = dot(start, end) / (norm(start) * norm(end));
  const angle = Math.acos(clamp(cosine, -1, 1));
  const sine = Math.sin(angle);
  // Otherwise the arc is a straight line, or not unique.
  if (!(sine > 1e-6)) return linear(start, end, share);
  const [a, b] = [Math.sin((1 - share) * angle), Math.sin(share * angle)];
  return Float32Array.from(start, (value, i) => (a * value + b * end[i]) / sine);
}

/** Probabilities from logits. */
export function softmax(logits) {
  const largest = Math.max(...logits);
  const weights = logits.map((logit) => Math.exp(logit - largest));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => weight / total);
}

/** A float32 in as many digits as tell it from its neighbours. */
export function shortened(value) {
  return Number(Math.fround(value).toPrecision(9));
}

/** A share in percent. */
export function percent(share) {
  return `${Math.round(100 * share)} %`;
}

/** A number with a minus sign that is as wide as a plus. */
export function decimals(value, digits = 2) {
  return value.toFixed(digits).replace("-", "−");
}
