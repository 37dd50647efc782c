// The browser computes: ONNX Runtime runs the files of an exported folder.

import { InferenceSession, Tensor, env } from "../runtime/ort.wasm.min.js";
import { decimals } from "./numbers.js";
import { send, showLoading, withProgress } from "./requests.js";

/** No server answers other programs, or could end. */
export const address = null;
export function checkServer() {}

const ARRAYS = { float32: Float32Array, int32: Int32Array, uint8: Uint8Array };
// Threefry-2x32 and the normal quantile function as in tfgen.random.
const ROTATIONS = [[13, 15, 26, 6], [17, 29, 16, 24]];
const PARITY = 0x1bd11bda;
const LATENTS = 0x6c61;

let table = null; // of the quantile function
const sessions = new Map(); // by the paths of their files
const tasks = []; // for the worker
let isWorking = false;
// The signals of the requests that wait for a model.
const waiting = new Set();
let loadedBytes = 0;

/** The outputs of a signature by name, or its only one, as nested lists. */
export function predict(model, number, signature, inputs, signal) {
  return withProgress(compute(model, number, signature, inputs, signal));
}

async function compute(model, number, name, { seed, ...inputs }, signal) {
  if (seed) {
    table ??= new Int32Array(await load("runtime/quantiles.bin"));
    inputs.latents = seed.map((value) => latents(value, model.latentDim, table));
    return name === "latents" ? inputs.latents : compute(model, number, "decode", inputs, signal);
  }
  const specs = Object.entries(model.signatures[name].inputs);
  const feeds = specs.map(([key, { dtype, shape: [, ...sides] }]) => {
    const values = ARRAYS[dtype].from(inputs[key].flat(Infinity));
    return [key, new Tensor(dtype, values, [inputs[key].length, ...sides])];
  });
  const path = `models/${model.name}/${number}/${name}.onnx`;
  if (!sessions.has(path)) waiting.add(signal);
  const results = await inTurn(path, async () => {
    signal.throwIfAborted();
    if (!sessions.has(path)) sessions.set(path, await openSession(path));
    return sessions.get(path).run(Object.fromEntries(feeds));
  }).finally(() => waiting.delete(signal) && showLoading("", signal));
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

/** Runs a task when the worker is free; first those of open models, which take the least time. */
function inTurn(path, task) {
  return new Promise((resolve, reject) => {
    tasks.push({ path, run: () => task().then(resolve, reject) });
    if (!isWorking) work();
  });
}

async function work() {
  isWorking = true;
  while (tasks.length) {
    const index = Math.max(0, tasks.findIndex(({ path }) => sessions.has(path)));
    await tasks.splice(index, 1)[0].run();
  }
  isWorking = false;
}

/** Loads a model, and the runtime before the first one. */
async function openSession(path) {
  const root = new URL("runtime/ort-wasm-simd-threaded", document.baseURI).href;
  // The worker of the proxy computes, so that the page stays responsive.
  Object.assign(env.wasm, { numThreads: 1, proxy: true, wasmPaths: { mjs: `${root}.js` } });
  env.wasm.wasmBinary ??= await load(`${root}.wasm`);
  return InferenceSession.create(await load(path));
}

const load = (path) => send(path, {}, read);

/** The bytes of a file; says meanwhile how many have come. */
function read(answer) {
  const counted = new TransformStream({
    transform(chunk, controller) {
      loadedBytes += chunk.length;
      const text = `Loading: ${decimals(loadedBytes / 1e6, 1)} MB`;
      waiting.forEach((signal) => showLoading(text, signal));
      controller.enqueue(chunk);
    },
  });
  return new Response(answer.body.pipeThrough(counted)).arrayBuffer();
}

/** A flat array as nested lists. */
function nested(values, [length, ...sides]) {
  if (!sides.length) return Array.from(values);
  const size = sides.reduce((product, side) => product * side, 1);
  return Array.from({ length }, (_, i) => nested(values.subarray(i * size, (i + 1) * size), sides));
}
