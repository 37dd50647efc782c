// Starts the page: reads the listing, and shows the view that the address names.

import { State, linkTo, readAddress } from "./address.js";
import * as between from "./between.js";
import * as compare from "./compare.js";
import * as draw from "./draw.js";
import { announce, button, element, setAttribute } from "./elements.js";
import { Model } from "./models.js";
import * as plane from "./plane.js";
import * as samples from "./samples.js";
import { RequestError, isAborted, readListing } from "./server.js";

const VIEWS = [samples, between, plane, draw, compare];
// Milliseconds after which the listing is read again while statistics of test images are missing.
const LISTING_INTERVAL = 4000;

const content = document.getElementById("content");
const failureBox = document.getElementById("alert");
let models = [];
let listingText = "";
let isOutdated = false; // whether the view was built from an older listing
let backend = null;
let failureSource = null;
let mounted = null; // the view that is shown, its state, and what ends it

/** Shows an error; it stays until its source, a `Latest`, succeeds, or the view is shown again. */
function showFailure(error, source = null) {
  if (isAborted(error)) return;
  failureSource = source;
  if (!(error instanceof RequestError)) console.error(error);
  const advice = error.advice ?? "Reload the page.";
  const retry = button("Try again", () => (mounted ? mountView() : start()));
  failureBox.replaceChildren(element("strong", {}, error.message), ` ${advice} `, retry);
}

function clearFailure() {
  failureSource = null;
  failureBox.replaceChildren();
}

function mountView() {
  const { view, values } = readAddress();
  const module = VIEWS.find(({ name }) => name === view) ?? VIEWS[0];
  closeView();
  clearFailure();
  const state = new State(module.name, values);
  document.title = `${module.title} · tfgen`;
  content.replaceChildren(element("h1", {}, module.title));
  const abort = new AbortController();
  const context = {
    get models() {
      return models;
    },
    signal: abort.signal,
    fail: showFailure,
    succeed: (source) => source === failureSource && clearFailure(),
    statistics: new EventTarget(),
  };
  mounted = { module, state, abort, context };
  isOutdated = false;
  showLinks();
  showFooter();
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

async function start() {
  try {
    showListing(await readListing());
    clearFailure();
    addEventListener("hashchange", mountView);
    addEventListener("addresschange", ({ detail }) => updateLink(detail));
    mountView();
    refresh();
  } catch (error) {
    showFailure(error);
  }
}

function updateLink(view) {
  const index = VIEWS.findIndex(({ name }) => name === view);
  setAttribute(document.getElementById("views").children[index], "href", linkTo(view));
}

function showListing(listing) {
  models = listing.models.map((entry) => new Model(entry));
  listingText = namesOfVersions();
  backend = listing.backend;
}

function showFooter() {
  const source = backend ? ` by the server at ${backend}` : "";
  const text = `Models and versions on this page${source}: ${listingText}. `;
  const show = button("Show the new versions", mountView);
  document.getElementById("footer").replaceChildren(text, ...(isOutdated ? [show] : []));
}

function namesOfVersions() {
  return models
    .map(({ name, versions }) => `${name} ${versions.map(({ number }) => number).join(", ")}`)
    .join(" · ");
}

/** Reads the listing again: for new versions, and for statistics that were not there yet. */
async function refresh() {
  const isComplete = models.every(
    (model) => !model.realAddress || !needsStatistics(model) || model.isMeasured,
  );
  if (!document.hidden) {
    try {
      const before = listingText;
      showListing(await readListing());
      mounted.context.statistics.dispatchEvent(new Event("change"));
      if (listingText !== before) {
        isOutdated = true;
        announce(`The models have changed: ${listingText}`);
      }
      showFooter();
    } catch {
      // The next request of the view says that the server does not answer.
    }
  }
  setTimeout(refresh, LISTING_INTERVAL * (isComplete ? 8 : 1));
}

function needsStatistics(model) {
  return model.hasPosterior || model.hasBitsPerDim;
}

document.querySelector(".skip").addEventListener("click", (event) => {
  // The fragment of the address is that of the view.
  event.preventDefault();
  content.focus();
});
start();
