// Starts the page: reads the listing, and shows the view that the address names.

import { State, linkTo, readAddress } from "./address.js";
import * as between from "./between.js";
import * as compare from "./compare.js";
import * as draw from "./draw.js";
import { html } from "./elements.js";
import * as game from "./game.js";
import * as learning from "./learning.js";
import { Model } from "./models.js";
import * as plane from "./plane.js";
import * as samples from "./samples.js";
import { shareButton } from "./save.js";
import { RequestError, isAborted, readListing } from "./requests.js";
import { address } from "./source.js";
import { storyBar, storyLink } from "./story.js";

// A view has a name, a title, a lead, `mount`, and at times which models or runs it takes, and what
// it says without one.
const USUAL = {
  accepts: (model) => model.isSampler,
  needs: "No model here draws images. Train one: tfgen-train vae.",
};
const VIEWS = [samples, between, plane, draw, compare, game, learning].map((view) =>
  ({ ...USUAL, ...view }));
const LONGEST_PART = 40; // of a link in a message
const content = document.getElementById("content");
const failureBox = document.getElementById("alert");
let failureSource = null;
let mounted = null; // the state of the view that is shown, and what ends it

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

/** Gives each family's class its colour. */
function showColours(models) {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(models.map(({ family, colour }) =>
    `.family-${CSS.escape(family)} { --colour: ${colour}; }`).join(""));
  document.adoptedStyleSheets = [sheet];
}

/** Reads the listing, which has new versions and statistics at times, and shows the view. */
async function mountView() {
  mounted?.state?.close();
  mounted?.abort.abort();
  const abort = new AbortController();
  mounted = { abort };
  try {
    const { models: listed, runs = [] } = await readListing(abort.signal);
    failureSource = null;
    failureBox.replaceChildren();
    const models = listed.map((entry) => new Model(entry));
    showColours(models);
    // A server may have more models later; an exported page, or without a run, shows what it has.
    const entries = [...models, ...runs];
    const views = VIEWS.map((view) => ({ ...view, shown: entries.filter(view.accepts) })).filter(
      ({ name, shown }) => shown.length || (address && name !== learning.name));
    const { view: asked, values } = readAddress();
    const view = views.find(({ name }) => name === asked) ?? views[0];
    mounted.state = new State(view.name, view.name === asked ? values : {});
    if (asked && asked !== view.name) mounted.state.missing.add(`#${asked}`);
    showView(view, mounted.state, abort.signal, models);
    showLinks(views, view, storyLink(models));
  } catch (error) {
    showFailure(error);
  }
}

function showView({ title, lead, mount, needs, shown }, state, signal, models) {
  const root = html`<div></div>`;
  const body = html`<div><p class="lead">${lead(shown)}</p>${root}</div>`;
  const share = shareButton("Share", "Copy link", () =>
    ({ title: document.title, url: location.href }));
  const story = storyBar(state, models, body, share);
  document.title = `${story?.querySelector("h1").textContent ?? title} · tfgen`;
  content.replaceChildren(story ?? html`<div class="top"><h1>${title}</h1>${share}</div>`, body);
  story?.querySelector(".main").focus();
  const context = { signal, fail: showFailure, succeed: clearFailure };
  if (shown.length) mount(root, state, context, shown);
  else root.append(html`<p class="note">${needs}</p>`);
  const parts = [...state.missing].map((part) =>
    part.length > LONGEST_PART ? `${part.slice(0, LONGEST_PART)}…` : part);
  if (parts.length) {
    failureBox.append(`This page cannot use a part of the link: ${parts.join(", ")}. ` +
      "It shows what it has instead.");
  }
}

/** Shows the links to views, and one to the story if there is one. */
function showLinks(views, view, storyAddress) {
  const isStory = Boolean(content.querySelector(".story"));
  const link = (href, isCurrent, title) =>
    html`<a href=${href} aria-current=${isCurrent && "page"}>${title}</a>`;
  const links = views.map(({ name, title }) =>
    link(linkTo(name), !isStory && name === view.name, title));
  if (storyAddress) links.push(link(storyAddress, isStory, "Story"));
  const hadFocus = document.activeElement?.closest?.("#views");
  document.getElementById("views").replaceChildren(...links);
  if (hadFocus) links.find((link) => link.ariaCurrent)?.focus();
}

document.querySelector(".skip").addEventListener("click", (event) => {
  // The fragment of the address is that of the view.
  event.preventDefault();
  content.focus();
});
addEventListener("hashchange", mountView);
addEventListener("addresschange", ({ detail: view }) =>
  document.querySelector(`#views [href^="#${view}"]`)?.setAttribute("href", linkTo(view)));
mountView();
