// The server computes: requests by TensorFlow Serving's REST interface.

import { send, withProgress } from "./requests.js";

/** The address of the server, without a slash at the end. */
export const address = new URL(".", document.baseURI).href.replace(/\/$/, "");

/** The outputs of a signature by name, or its only one, as nested lists. */
export async function predict(model, number, signature, inputs, signal) {
  const body = JSON.stringify({ signature_name: signature, inputs });
  const path = `v1/models/${encodeURIComponent(model.name)}/versions/${number}:predict`;
  return (await withProgress(send(path, { method: "POST", body, signal }))).outputs;
}
