// Who computes: the server, or in an exported folder the browser itself.

export * from "./rest.js";
