// Starts the page: reads the listing, and shows the view that the address names.

import { State, linkTo, readAddress } from "./address.js";
import * as between from "./between.js";
import * as compare from "./compare.js";
import { emptyNote } from "./controls.js";
import * as draw from "./draw.js";
import { html } from "./elements.js";
import * as learning from "./learning.js";
import { Model } from "./models.js";
import * as plane from "./plane.js";
import * as samples from "./samples.js";
import { copyButton } from "./save.js";
import { RequestError, isAborted, readListing } from "./requests.js";
import { checkServer } from "./source.js";
import { storyBar, storyLink } from "./story.js";

// A view has a name, a title, a lead, `mount`, and at times which models it takes, and what it says
// without one.
const VIEWS = [samples, between, plane, draw, compare, learning];
const NO_SAMPLER = "No model here draws images. Train one: tfgen-train vae.";
const WATCH_INTERVAL = 10_000; // milliseconds
const content = document.getElementById("content");
const failureBox = document.getElementById("alert");
let failureSource = null;
let mounted = null; // the view that is shown, its state, and what ends it

/** Shows an error; it stays until its source, a `Latest`, succeeds, or the view is shown again. */
function showFailure(error, source = null) {
  if (isAborted(error)) return;
  failureSource = source;
  if (!(error instanceof RequestError)) console.error(error);
  failureBox.replaceChildren(html`<strong>${error.message}</strong>
    ${error.advice ?? "Reload the page."} <button @click=${mountView}>Try again</button>`);
}

/** Ends the error of a source. */
function clearFailure(source) {
  if (source === failureSource) failureBox.replaceChildren();
}

/** Tells of a server that has ended before a view asks it. */
async function watchServer() {
  if (document.hidden) return;
  try {
    await checkServer();
    clearFailure(watchServer);
  } catch (error) {
    if (!failureBox.childElementCount) showFailure(error, watchServer);
  }
}

/** Gives each family's class its colour. */
function showColours(models) {
  const sheet = new CSSStyleSheet();
  for (const { family, colour } of models) {
    sheet.insertRule(`.family-${CSS.escape(family)} { --colour: ${colour}; }`);
  }
  document.adoptedStyleSheets = [sheet];
}

/** Reads the listing, which has new versions and statistics at times, and shows the view. */
async function mountView() {
  const { view, values } = readAddress();
  const module = VIEWS.find(({ name }) => name === view) ?? VIEWS[0];
  mounted?.state.close();
  mounted?.abort.abort();
  const state = new State(module.name, values);
  const abort = new AbortController();
  mounted = { module, state, abort };
  try {
    const listing = await readListing(abort.signal);
    failureSource = null;
    failureBox.replaceChildren();
    const models = listing.models.map((entry) => new Model(entry));
    const { runs = [] } = listing;
    showColours(models);
    showLinks(runs.length ? VIEWS : VIEWS.filter((other) => other !== learning), storyLink(models));
    showFooter(listing);
    showView(module, state, abort.signal, models, runs);
  } catch (error) {
    showFailure(error);
  }
}

function showView(module, state, signal, models, runs) {
  const { title, lead, mount, accepts = (model) => model.isSampler, needs = NO_SAMPLER } = module;
  document.title = `${title} · tfgen`;
  const accepted = module === learning ? runs : models.filter(accepts);
  const body = html`<div><p class="lead">${lead(accepted)}</p></div>`;
  const copyLink = copyButton("Copy link", "text/plain", () => location.href);
  const story = storyBar(state.text("story"), models, body);
  content.replaceChildren(
    html`<div class="top"><h1>${title}</h1>${copyLink}</div>${[story, body]}`);
  story?.querySelector("button").focus();
  const context = { signal, fail: showFailure, succeed: clearFailure };
  if (accepted.length) mount(body, state, context, accepted);
  else body.append(emptyNote(needs));
  if (state.missing.length) {
    const names = [...new Set(state.missing)].join(", ");
    failureBox.append(`The link names what is not here: ${names}. This is shown instead.`);
  }
}

/** Shows the links to views, and one to the story if there is one. */
function showLinks(views, storyAddress) {
  const isStory = Boolean(mounted.state.text("story"));
  const link = (href, isCurrent, title) =>
    html`<a href=${href} aria-current=${isCurrent && "page"}>${title}</a>`;
  const links = views.map(({ name, title }) =>
    link(linkTo(name), !isStory && name === mounted.module.name, title));
  if (storyAddress) links.push(link(storyAddress, isStory, "Story"));
  const hadFocus = document.activeElement?.closest?.("#views");
  document.getElementById("views").replaceChildren(...links);
  if (hadFocus) links.find((link) => link.ariaCurrent).focus();
}

function updateLink(view) {
  const index = VIEWS.findIndex(({ name }) => name === view);
  document.getElementById("views").children[index].href = linkTo(view);
}

function showFooter({ models }) {
  const list = models
    .map(({ name, versions }) => `${name} ${versions.map(({ number }) => number).join(", ")}`)
    .join(" · ");
  const text = `Models and versions on this page: ${list}.`;
  document.getElementById("footer").textContent = text;
}

document.querySelector(".skip").addEventListener("click", (event) => {
  // The fragment of the address is that of the view.
  event.preventDefault();
  content.focus();
});
addEventListener("hashchange", mountView);
addEventListener("focus", watchServer);
setInterval(watchServer, WATCH_INTERVAL);
addEventListener("addresschange", ({ detail }) => updateLink(detail));
mountView();
