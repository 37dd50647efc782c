// The game: which images are real? The visitor is the discriminator.

import { menu } from "./controls.js";
import { html } from "./elements.js";
import { ImageGrid, realPictures } from "./images.js";
import { MAX_SEED, imageSeeds, randomNumbers, randomSeed, shuffle } from "./numbers.js";
import { Latest } from "./requests.js";

const COUNT = 12;
const NAMES = Array.from({ length: COUNT }, (_, i) => `Image ${i + 1}`);
const REAL = "real images";

// For each model, and for real images, whether each image was told apart; until the page is closed.
const scores = {};

/** A round is a function of its number, so that a link shows the same images. */
export class Game {
  constructor(versions, real, state, context) {
    Object.assign(this, { versions, real, state });
    this.message = html`<p class="verdict" role="status"></p>`;
    this.grid = html`<div></div>`;
    this.check = html`<button class="main" disabled @click=${() => this.#check()}>Check</button>`;
    this.next = html`<button @click=${() => this.#start(randomSeed())}>Next round</button>`;
    this.table = html`<div></div>`;
    const options = [["", "all models"], ...versions.map(({ model: { name } }) => [name, name])];
    const asked = state.text("against");
    if (!options.some(([key]) => key === asked)) state.missing.push(`model ${asked}`);
    const opponent = menu("Against", options, asked, (value) => {
      state.set({ against: value || null });
      this.#start(this.round);
    });
    this.node = html`
      <section class="card" aria-label="Game">
        <h2>Which ones are real?</h2>
        <p>Half of these images are real, the others are samples. Click those that you think are
          real.</p>
        <div class="controls">${opponent}</div>
        ${this.grid}
        <div class="row">${[this.check, this.next]}</div>
        ${[this.message, this.table]}
      </section>`;
    const draw = (round, signal) => this.#draw(round, signal);
    this.latest = new Latest(context, draw, (items) => this.#show(items), this.grid);
    this.#showScores();
    // The models are asked for the samples above first, and for these when they are looked at.
    const observer = new IntersectionObserver(([{ isIntersecting }]) => {
      if (!isIntersecting) return;
      observer.disconnect();
      this.#start(this.round);
    });
    observer.observe(this.node);
  }

  get round() {
    return this.state.integer("round", 1, 0, MAX_SEED);
  }

  #start(round) {
    this.state.set({ round });
    this.message.textContent = "";
    this.check.disabled = true; // until the images of the round are there
    this.latest.replace(round);
  }

  /** The images of a round in random order, each with the model that drew it; null: real. */
  async #draw(round, signal) {
    const opponent = this.versions.find(({ model }) => model.name === this.state.text("against"));
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
    this.message.textContent =
      `You classified ${numberOf(results)} of ${COUNT} images correctly. Guessing gets half on ` +
      "average; against a perfect generator, nobody does better.";
    this.#showScores();
    this.next.focus();
  }

  #showScores() {
    const results = Object.values(scores).flat();
    if (!results.length) return;
    const rows = Object.keys(scores).sort().map((source) => {
      const [total, right] = [scores[source].length, numberOf(scores[source])];
      const cells = [total, right, total - right].map((number) => html`<td>${number}</td>`);
      return html`<tr><th scope="row">${source}</th>${cells}</tr>`;
    });
    const percent = Math.round((100 * numberOf(results)) / results.length);
    this.table.replaceChildren(html`
      <h3>Your accuracy so far: ${percent} %</h3>
      <table><thead><tr><td></td><th scope="col">images</th><th scope="col">correct</th>
        <th scope="col">wrong</th></tr></thead><tbody>${rows}</tbody></table>`);
  }
}

/** How many of the results are right. */
function numberOf(results) {
  return results.filter(Boolean).length;
}
