// Starts the page: reads the listing, and shows the view that the address names.

import { State, linkTo, readAddress } from "./address.js";
import * as between from "./between.js";
import * as compare from "./compare.js";
import * as draw from "./draw.js";
import { button, element, setAttribute } from "./elements.js";
import { Model } from "./models.js";
import * as plane from "./plane.js";
import * as samples from "./samples.js";
import { RequestError, isAborted, readListing } from "./requests.js";

const VIEWS = [samples, between, plane, draw, compare];
const content = document.getElementById("content");
const failureBox = document.getElementById("alert");
let failureSource = null;
let mounted = null; // the view that is shown, its state, and what ends it

/** Shows an error; it stays until its source, a `Latest`, succeeds, or the view is shown again. */
function showFailure(error, source = null) {
  if (isAborted(error)) return;
  failureSource = source;
  if (!(error instanceof RequestError)) console.error(error);
  const advice = error.advice ?? "Reload the page.";
  const retry = button("Try again", mountView);
  failureBox.replaceChildren(element("strong", {}, error.message), ` ${advice} `, retry);
}

/** Gives each family's class its colour. */
function showColours(models) {
  const sheet = new CSSStyleSheet();
  for (const { family, colour } of models) {
    sheet.insertRule(`.family-${CSS.escape(family)} { --colour: ${colour}; }`);
  }
  document.adoptedStyleSheets = [sheet];
}

function clearFailure() {
  failureSource = null;
  failureBox.replaceChildren();
}

/** Reads the listing, which has new versions and statistics at times, and shows the view. */
async function mountView() {
  const { view, values } = readAddress();
  const module = VIEWS.find(({ name }) => name === view) ?? VIEWS[0];
  closeView();
  let listing;
  try {
    listing = await readListing();
  } catch (error) {
    showFailure(error);
    return;
  }
  clearFailure();
  const state = new State(module.name, values);
  document.title = `${module.title} · tfgen`;
  content.replaceChildren(element("h1", {}, module.title));
  const abort = new AbortController();
  const models = listing.models.map((entry) => new Model(entry));
  showColours(models);
  const context = {
    models,
    signal: abort.signal,
    fail: showFailure,
    succeed: (source) => source === failureSource && clearFailure(),
  };
  mounted = { module, state, abort };
  showLinks();
  showFooter(listing);
  try {
    module.mount(content, state, context);
  } catch (error) {
    showFailure(error);
  }
}

function closeView() {
  mounted?.state.close();
  mounted?.abort.abort();
}

function showLinks() {
  const links = VIEWS.map(({ name, title }) => {
    const current = name === mounted.module.name;
    return element("a", { href: linkTo(name), "aria-current": current && "page" }, title);
  });
  const hadFocus = document.activeElement?.closest?.("#views");
  document.getElementById("views").replaceChildren(...links);
  if (hadFocus) links.find((link) => link.hasAttribute("aria-current")).focus();
}

function updateLink(view) {
  const index = VIEWS.findIndex(({ name }) => name === view);
  setAttribute(document.getElementById("views").children[index], "href", linkTo(view));
}

function showFooter({ models, backend }) {
  const source = backend ? ` by the server at ${backend}` : "";
  const list = models
    .map(({ name, versions }) => `${name} ${versions.map(({ number }) => number).join(", ")}`)
    .join(" · ");
  const text = `Models and versions on this page${source}: ${list}.`;
  document.getElementById("footer").textContent = text;
}

document.querySelector(".skip").addEventListener("click", (event) => {
  // The fragment of the address is that of the view.
  event.preventDefault();
  content.focus();
});
addEventListener("hashchange", mountView);
addEventListener("addresschange", ({ detail }) => updateLink(detail));
mountView();
