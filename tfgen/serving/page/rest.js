// The server computes: requests by TensorFlow Serving's REST interface.

import { send, showLoading, withProgress } from "./requests.js";

/** The address of the server, without a slash at the end. */
export const address = new URL(".", document.baseURI).href.replace(/\/$/, "");

// The versions that the server has opened, by the paths of their requests.
const opened = new Set();

/** The outputs of a signature by name, or its only one, as nested lists. */
export async function predict(model, number, signature, inputs, signal) {
  const path = `v1/models/${encodeURIComponent(model.name)}/versions/${number}`;
  if (!opened.has(path)) await withProgress(open(path, model.name, signal));
  const body = JSON.stringify({ signature_name: signature, inputs });
  const answer = send(`${path}:predict`, { method: "POST", body, signal });
  return (await withProgress(answer)).outputs;
}

/** Waits until the server has opened a version, and says so where its images are to appear. */
async function open(path, name, signal) {
  showLoading(`Opening ${name} …`, signal);
  try {
    await send(`${path}/metadata`, { signal });
    opened.add(path);
  } finally {
    showLoading("", signal);
  }
}
