// Game: which images are real? The visitor is the discriminator.

import { linkTo } from "./address.js";
import { dataChoice, menu, rebuild, versionChoice } from "./controls.js";
import { html, table } from "./elements.js";
import { ImageGrid, realPictures } from "./images.js";
import { MAX_SEED, imageSeeds, percent, randomNumbers, randomSeed, shuffle } from "./numbers.js";
import { Latest } from "./requests.js";
import { shareButton } from "./save.js";

export const name = "game";
export const title = "Game";
export const lead = () => html`
  Half of these images are real; models drew the others. Be the <em>discriminator</em>: click the
  images that you think are real. A GAN trains its generator to deceive such a discriminator.`;
export const accepts = (model) => model.isSampler && model.realAddress !== null;
export const needs =
  "The game needs real images: start tfgen-serve with --data-dir FOLDER, where the data sets are.";
export const mount = (...parts) => new Game(...parts);

const COUNT = 12;
const NAMES = Array.from({ length: COUNT }, (_, i) => `Image ${i + 1}`);
const REAL = "real images";

// For each model, and for real images, whether each image was told apart; until the page is closed.
const scores = {};

/** A round is a function of its number, so that a link shows the same images. */
class Game {
  constructor(root, state, context, samplers) {
    Object.assign(this, { root, state, samplers });
    this.message = html`<p class="verdict" role="status"></p>`;
    this.grid = html`<div></div>`;
    this.check = html`<button class="main" disabled @click=${() => this.#check()}>Check</button>`;
    this.next = html`<button @click=${() => this.#start(randomSeed())}>Next round</button>`;
    this.share = shareButton("Share the result", "Copy the result", () => ({
      text: this.boast, url: new URL(linkTo(name), location.href).href }));
    this.table = html`<div></div>`;
    const draw = (round, signal) => this.#draw(round, signal);
    this.latest = new Latest(context, draw, (items) => this.#show(items), this.grid);
    this.#showScores();
    this.#build();
  }

  #build() {
    const { state } = this;
    const change = () => rebuild(this.root, () => this.#build());
    const { key, group, real, choice } = dataChoice(this.samplers, state, change);
    this.real = real;
    this.versions = group.map((model) => versionChoice([model], state, change,
      { suffix: `-${model.name}`, allClasses: true }).version);
    const names = group.map((model) => model.name);
    this.opponent = state.choice("against", names, "");
    const opponents = menu("Against", [["", "all models"], ...names], this.opponent, (against) => {
      state.set({ against: against || null });
      change();
    });
    state.set({ data: key });
    this.root.replaceChildren(html`
      <section class="card" aria-label="Game">
        <h2>Which ones are real?</h2>
        <div class="controls">${[choice, opponents]}</div>
        ${this.grid}
        <div class="row">${[this.check, this.next, this.share]}</div>
        ${[this.message, this.table]}
      </section>`);
    this.#start(state.integer("round", 1, 0, MAX_SEED));
  }

  #start(round) {
    this.state.set({ round });
    this.message.textContent = "";
    this.share.hidden = true;
    this.check.disabled = true; // until the images of the round are there
    this.latest.replace(round);
  }

  /** The images of a round in random order, each with the model that drew it; null: real. */
  async #draw(round, signal) {
    const opponent = this.versions.find(({ model }) => model.name === this.opponent);
    const random = randomNumbers(round);
    const versions = opponent ? [opponent] : shuffle(this.versions, random);
    const half = COUNT / 2;
    const real = shuffle(await realPictures(this.real, signal), random).slice(0, half);
    const samples = await Promise.all(
      versions.slice(0, half).map(async (version, i, { length }) => {
        const count = Math.ceil((half - i) / length);
        const pictures = await version.sample(imageSeeds(round, count), signal);
        return pictures.map((picture) => ({ picture, model: version.model }));
      }),
    );
    const items = [...real.map((picture) => ({ picture, model: null })), ...samples.flat()];
    return shuffle(items, random);
  }

  #show(items) {
    this.items = items;
    this.images = new ImageGrid("game", "Images", NAMES.slice(0, items.length), (i) =>
      this.#toggle(this.images.items[i]));
    this.images.items.forEach((item) => {
      item.ariaPressed = "false";
      item.append(html`<span class="answer"></span>`);
    });
    this.images.paint(items.map(({ picture }) => picture));
    this.grid.replaceChildren(this.images.node);
    this.check.disabled = false;
  }

  #toggle(item) {
    if (!this.check.disabled) item.ariaPressed = String(item.ariaPressed === "false");
  }

  #check() {
    this.check.disabled = true;
    const results = this.items.map(({ model }, i) => {
      const item = this.images.items[i];
      const isRight = (item.ariaPressed === "true") === (model === null);
      const truth = model?.name ?? "real";
      (scores[model?.name ?? REAL] ??= []).push(isRight);
      item.classList.add(isRight ? "right" : "wrong");
      item.lastChild.textContent = `${isRight ? "✓" : "✗"} ${truth}`;
      item.ariaLabel = `${NAMES[i]}: ${truth}, ${isRight ? "correct" : "wrong"}`;
      return isRight;
    });
    const result = `${numberOf(results)} of ${results.length}`;
    this.message.textContent = `You classified ${result} images correctly. Guessing gets half on ` +
      "average; against a perfect generator, nobody does better.";
    this.boast = `I got ${result} right: which images are real, which did a model draw?`;
    this.share.hidden = false;
    this.#showScores();
    this.next.focus();
  }

  #showScores() {
    const results = Object.values(scores).flat();
    if (!results.length) return;
    const rows = Object.keys(scores).sort().map((source) => {
      const [total, right] = [scores[source].length, numberOf(scores[source])];
      return [source, total, right, total - right];
    });
    const headings = ["images", "correct", "wrong"].map((text) =>
      html`<th scope="col">${text}</th>`);
    this.table.replaceChildren(html`
      <h3>Your accuracy so far: ${percent(numberOf(results) / results.length)}</h3>
      ${table(headings, rows)}`);
  }
}

/** How many of the results are right. */
function numberOf(results) {
  return results.filter(Boolean).length;
}
