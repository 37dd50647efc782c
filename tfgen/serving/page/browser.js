// The browser computes: ONNX Runtime runs the files of an exported folder.

import { realPictures } from "./images.js";
import { decimals, norm } from "./numbers.js";
import { busyPart, once, send, showLoading, withProgress } from "./requests.js";

/** No server answers other programs. */
export const address = null;
addEventListener("load", () => navigator.serviceWorker?.register("worker.js"));

const ARRAYS = { float32: Float32Array, int32: Int32Array, uint8: Uint8Array };
// Threefry-2x32 and the normal quantile function as in tfgen.random.
const ROTATIONS = [[13, 15, 26, 6], [17, 29, 16, 24]];
const PARITY = 0x1bd11bda;
const LATENTS = 0x6c61;
// Of the numbers by which latents of the first pictures are known.
const TOLERANCE = 1e-4;

const opened = new Set(); // the paths of the models that are ready
let lastTask = Promise.resolve(); // of the worker, which has one at a time
// The signals of the requests that wait for a model.
const waiting = new Set();
// Bytes of the files that were begun: those that have come, and all.
const bytes = { loaded: 0, all: 0 };

/** The outputs of a signature by name, or its only one, as nested lists. */
export async function predict(model, number, name, { seed, ...inputs }, signal) {
  if (seed) {
    const table = await once("quantiles", () => load("runtime/quantiles.bin"));
    const quantiles = new Int32Array(table);
    inputs.latents = seed.map((value) => latents(value, model.latentDim, quantiles));
    if (name === "latents") return inputs.latents;
  }
  const signature = seed ? "decode" : name;
  const path = `models/${model.name}/${number}/${signature}.bin`;
  const part = busyPart(signal);
  const isFirst = signature === "decode" && !opened.has(path);
  const pictures = isFirst ? await drawnAtExport(model, inputs) : null;
  part.toggleAttribute("data-preview", Boolean(pictures));
  if (pictures) return pictures.map((picture) => picture.toValues());
  if (!opened.has(path)) await untilSeen(part, signal);
  return withProgress(compute(path, model.signatures[signature], inputs, signal));
}

/** The pictures of latents that came with the page; null unless it has all of them. */
async function drawnAtExport(model, inputs) {
  const isAlike = (key, other) => key.every((value, i) => Math.abs(value - other[i]) < TOLERANCE);
  const asked = inputs.latents.map((vector, i) =>
    [vector[0], vector.at(-1), norm(vector), inputs.label?.[i] ?? 0]);
  for (const [part, keys] of Object.entries(model.preview)) {
    const places = asked.map((key) => keys.findIndex((known) => isAlike(key, known)));
    if (places.includes(-1)) continue;
    const realAddress = `page/preview/${model.name}-${part}.webp`;
    const pictures = await realPictures({ realAddress, shape: model.shape });
    return places.map((place) => pictures[place]);
  }
  return null;
}

/** Waits until a part of the page is on the screen: a model that nobody sees need not come. */
async function untilSeen(node, signal) {
  const { promise, resolve, reject } = Promise.withResolvers();
  const observer = new IntersectionObserver((entries) =>
    entries.some(({ isIntersecting }) => isIntersecting) && resolve());
  observer.observe(node);
  signal.addEventListener("abort", () => reject(signal.reason));
  await promise.finally(() => observer.disconnect());
}

async function compute(path, { inputs: specs }, inputs, signal) {
  if (!opened.has(path)) waiting.add(signal);
  const { session, Tensor } = await once(path, () => open(path))
    .finally(() => waiting.delete(signal) && showLoading("", signal));
  const results = await inTurn(() => {
    signal.throwIfAborted();
    const feeds = Object.entries(specs).map(([key, { dtype, shape: [, ...sides] }]) => {
      const values = ARRAYS[dtype].from(inputs[key].flat(Infinity));
      return [key, new Tensor(dtype, values, [inputs[key].length, ...sides])];
    });
    return session.run(Object.fromEntries(feeds));
  });
  signal.throwIfAborted();
  const outputs = Object.entries(results).map(([key, { data, dims }]) => [key, nested(data, dims)]);
  return outputs.length === 1 ? outputs[0][1] : Object.fromEntries(outputs);
}

/** The latent vector of a seed: standard normal, as `tfgen.random.standard_normal` computes it. */
export function latents(seed, size, table) {
  return randomWords(seed, size).map((word) => {
    const odd = ((word << 1) | 1) >>> 0;
    const octave = 31 - Math.clz32(odd);
    const digits = odd << (31 - octave);
    const cell = 256 * octave + ((digits >>> 23) & 0xff);
    const fraction = ((digits >>> 3) & 0xfffff) / 2 ** 20;
    const magnitude = table[cell] - Math.floor((table[cell] - table[cell + 1]) * fraction);
    return Math.fround(word < 0 ? -magnitude : magnitude) / 2 ** 26;
  });
}

/** Random words of a seed, 32-bit integers (Salmon et al. 2011, Threefry-2x32 with 20 rounds). */
export function randomWords(seed, size) {
  const key = [seed, LATENTS, seed ^ LATENTS ^ PARITY];
  const pairs = Array.from({ length: Math.ceil(size / 2) }, (_, counter) => {
    let [x, y] = [(counter + key[0]) | 0, key[1]];
    for (let group = 0; group < 5; group++) {
      for (const rotation of ROTATIONS[group % 2]) {
        x = (x + y) | 0;
        y = ((y << rotation) | (y >>> (32 - rotation))) ^ x;
      }
      x = (x + key[(group + 1) % 3]) | 0;
      y = (y + key[(group + 2) % 3] + group + 1) | 0;
    }
    return [x, y];
  });
  return [...pairs.map(([x]) => x), ...pairs.map(([, y]) => y)].slice(0, size);
}

/** Runs a task when the worker is free. */
function inTurn(task) {
  const result = lastTask.then(task);
  lastTask = result.catch(() => {}); // its caller is told
  return result;
}

/** Loads a model, and with the first one the runtime. Models that are ready compute meanwhile. */
async function open(path) {
  const [model, runtime] = await Promise.all([load(path), once("runtime", loadRuntime)]);
  const session = await inTurn(() => runtime.InferenceSession.create(model));
  opened.add(path);
  return { session, Tensor: runtime.Tensor };
}

async function loadRuntime() {
  const root = new URL("runtime/ort-wasm-simd-threaded", document.baseURI).href;
  const [module, wasmBinary] =
    await Promise.all([import("../runtime/ort.wasm.min.js"), load(`${root}.bin`)]);
  // The worker of the proxy computes, so that the page stays responsive.
  const settings = { numThreads: 1, proxy: true, wasmPaths: { mjs: `${root}.js` }, wasmBinary };
  Object.assign(module.env.wasm, settings);
  return module;
}

/** The unpacked bytes of a file; says meanwhile how many have come. */
function load(path) {
  return send(path, {}, (answer) => {
    bytes.all += Number(answer.headers.get("Content-Length"));
    const counted = new TransformStream({
      transform(chunk, controller) {
        bytes.loaded += chunk.length;
        const [loaded, all] = [bytes.loaded, bytes.all].map((count) => decimals(count / 1e6, 1));
        const text = `Loading: ${loaded} of ${all} MB`;
        waiting.forEach((signal) => showLoading(text, signal));
        controller.enqueue(chunk);
      },
    });
    const packed = answer.body.pipeThrough(counted);
    return new Response(packed.pipeThrough(new DecompressionStream("deflate"))).arrayBuffer();
  });
}

/** A flat array as nested lists. */
function nested(values, [length, ...sides]) {
  if (!sides.length) return Array.from(values);
  const size = sides.reduce((product, side) => product * side, 1);
  return Array.from({ length }, (_, i) => nested(values.subarray(i * size, (i + 1) * size), sides));
}
