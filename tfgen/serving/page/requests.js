// What the page asks for: files, and results that may take a while.

import { announce } from "./elements.js";

const MAX_RETRIES = 4;
// Seconds to wait before the next try, at most.
const LONGEST_WAIT = 5;

let requestsUnderWay = 0;
// The parts of the page that show what the requests of a signal compute.
const busyParts = new WeakMap();

/** A request that failed: what happened, and what to do. */
export class RequestError extends Error {
  constructor(message, advice, status = 0) {
    super(message);
    Object.assign(this, { advice, status });
  }
}

/** Whether a request ended because nobody needs its answer any more. */
export function isAborted(error) {
  return error.name === "AbortError";
}

// Tasks that were begun, by a key.
const begun = new Map();

/** The result of a task that is done once for all who ask; after a failure, again. */
export function once(key, task) {
  if (!begun.has(key)) {
    begun.set(key, task());
    begun.get(key).catch(() => begun.delete(key));
  }
  return begun.get(key);
}

/** What there is: the models with their versions and signatures. */
export function readListing(signal) {
  return send("page/models.json", { signal });
}

/** An image file, decoded. */
export function fetchImage(path) {
  return withProgress(send(path, {}, async (answer) => createImageBitmap(await answer.blob())));
}

/** A file, or the answer to a request; `read` takes what it needs from it. */
export async function send(path, options, read = (answer) => answer.json()) {
  for (let retries = 0; ; retries++) {
    const answer = await ask(path, options);
    if (answer.ok) return read(answer);
    if (answer.status !== 503 || retries === MAX_RETRIES) throw await failureOf(answer);
    const seconds = Number(answer.headers.get("Retry-After")) || 1;
    announce("There are too many requests. The page will try again.");
    const wait = 1000 * Math.min(seconds, LONGEST_WAIT); // milliseconds
    await new Promise((resolve) => setTimeout(resolve, wait));
    options.signal?.throwIfAborted();
  }
}

async function ask(path, options) {
  try {
    return await fetch(new URL(path, document.baseURI), options);
  } catch (error) {
    if (isAborted(error)) throw error;
    const advice = "Check your connection, and whether this address is still served.";
    throw new RequestError("There is no answer.", advice);
  }
}

async function failureOf(answer) {
  const body = await answer.json().catch(() => ({}));
  const reason = typeof body.error === "string" ? body.error : `status ${answer.status}`;
  const advice = answer.status === 404
    ? "The version may have been removed. Reload the page to see what there is now."
    : "Wait a moment and try again, or reload the page.";
  const message = `The request failed: ${reason.replace(/\.$/, "")}.`;
  return new RequestError(message, advice, answer.status);
}

/** Shows that something is computed until the promise has settled. */
export async function withProgress(promise) {
  showProgress(1);
  try {
    return await promise;
  } finally {
    showProgress(-1);
  }
}

function showProgress(change) {
  requestsUnderWay += change;
  document.getElementById("progress").hidden = requestsUnderWay === 0;
}

/** The part of the page that shows the result of a request. */
export function busyPart(signal) {
  return busyParts.get(signal) ?? document.querySelector("header");
}

/** Says what a request waits for, in the part of the page that shows its result. */
export function showLoading(text, signal) {
  busyPart(signal).dataset.loading = text;
}

/**
 * Computes the newest of many values that change faster than they are computed.
 *
 * At most one request is under way. A value that comes meanwhile waits, and replaces one that
 * waits already. So what is shown follows the hand, and the server never has more than one request
 * to compute.
 */
export class Latest {
  #waiting = null;
  #controller = null;

  /**
   * `compute(value, signal)` returns a promise, and `show(result, value)` takes its result. The
   * context is that of the view: it is told of failures, and its signal ends everything. A node
   * is marked as busy until the newest value is shown or has failed.
   */
  constructor(context, compute, show, node = null) {
    Object.assign(this, { context, compute, show, node });
    context.signal.addEventListener("abort", () => this.cancel());
  }

  /** Whether a request is under way. */
  get isBusy() {
    return this.#controller !== null;
  }

  /** Computes a value as soon as the request under way has ended. */
  ask(value) {
    this.#waiting = { value };
    this.node?.setAttribute("aria-busy", "true");
    if (!this.isBusy) this.#run();
  }

  /** Computes a value at once; aborts the request under way. */
  replace(value) {
    this.cancel();
    this.ask(value);
  }

  /** Aborts the request under way and forgets the value that waits. */
  cancel() {
    this.#waiting = null;
    this.#controller?.abort();
  }

  async #run() {
    while (this.#waiting) {
      const { value } = this.#waiting;
      this.#waiting = null;
      const controller = new AbortController();
      this.#controller = controller;
      if (this.node) busyParts.set(controller.signal, this.node);
      try {
        const result = await this.compute(value, controller.signal);
        if (controller.signal.aborted) continue;
        this.show(result, value);
        this.context.succeed(this);
      } catch (error) {
        if (!isAborted(error)) this.context.fail(error, this);
      }
    }
    this.#controller = null;
    this.node?.removeAttribute("aria-busy");
  }
}
