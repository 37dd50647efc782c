// The game: which images are real? The visitor is the discriminator.

import { menu } from "./controls.js";
import { announce, button, element, setAttribute } from "./elements.js";
import { imageButton, realPictures } from "./images.js";
import { ALL_CLASSES, ModelVersion } from "./models.js";
import { imageSeeds, randomNumbers, randomSeed, shuffle } from "./numbers.js";
import { Latest } from "./requests.js";

const COUNT = 12;
const MIXED = "";

// For each model, and for real images under the empty name, how many were told apart; until the page
// is closed.
const scores = {};

/** A round is a function of its number, so that a link shows the same images. */
export class Game {
  constructor(models, real, state, context) {
    Object.assign(this, { models, real, state });
    this.items = [];
    this.message = element("p", { class: "verdict", role: "status" });
    this.grid = element("div", { class: "game", role: "group", "aria-label": "Images" });
    this.check = button("Check", () => this.#check(), { class: "main" });
    this.next = button("Next round", () => this.#start(randomSeed()));
    this.table = element("div", { class: "scroll" });
    const options = [[MIXED, "all models"], ...models.map(({ name }) => [name, name])];
    const opponent = menu("Against", options, state.text("against"), (value) => {
      state.set({ against: value || null });
      this.#start(this.round);
    });
    this.node = element(
      "section",
      { class: "card", "aria-label": "Game" },
      element("h2", {}, "Which ones are real?"),
      element("p", {}, "Half of these images are real, the others are samples. Click those that " +
        "you think are real."),
      element("div", { class: "controls" }, opponent),
      this.grid,
      element("div", { class: "row" }, this.check, this.next),
      this.message,
      this.table,
    );
    this.latest = new Latest(
      context,
      (round, signal) => this.#draw(round, signal),
      (items) => this.#show(items),
      this.grid,
    );
    this.#showScores();
    this.#start(this.round);
  }

  get round() {
    return this.state.integer("round", 1, 0, 2 ** 31 - 1);
  }

  #start(round) {
    this.state.set({ round });
    this.message.textContent = "";
    this.check.disabled = true; // until the images of the round are there
    this.latest.replace(round);
  }

  /** The images of a round in random order, each with the model that drew it; null: real. */
  async #draw(round, signal) {
    const opponent = this.models.find(({ name }) => name === this.state.text("against"));
    const random = randomNumbers(round);
    const models = opponent ? [opponent] : shuffle(this.models, random);
    const half = COUNT / 2;
    const real = shuffle(await realPictures(this.real, signal), random).slice(0, half);
    const samples = await Promise.all(
      models.slice(0, half).map(async (model, i, { length }) => {
        const count = Math.ceil((half - i) / length);
        const label = model.numClasses ? ALL_CLASSES : null;
        const version = new ModelVersion(model, model.newest, label);
        const pictures = await version.sample(imageSeeds(round, count), signal);
        return pictures.map((picture) => ({ picture, model }));
      }),
    );
    const items = [...real.map((picture) => ({ picture, model: null })), ...samples.flat()];
    return shuffle(items, random);
  }

  #show(items) {
    this.items = items;
    this.buttons = items.map(({ picture }, i) => {
      const state = { "aria-pressed": "false", "aria-label": `Image ${i + 1}` };
      const item = imageButton(() => this.#toggle(item), state, element("span", { class: "answer" }));
      picture.paint(item.firstChild);
      return item;
    });
    this.grid.replaceChildren(...this.buttons);
    this.check.disabled = false;
  }

  #toggle(item) {
    if (this.check.disabled) return;
    setAttribute(item, "aria-pressed", String(item.getAttribute("aria-pressed") === "false"));
  }

  #check() {
    this.check.disabled = true;
    let right = 0;
    this.items.forEach(({ model }, i) => {
      const item = this.buttons[i];
      const isTakenForReal = item.getAttribute("aria-pressed") === "true";
      const isRight = isTakenForReal === (model === null);
      right += Number(isRight);
      const truth = model ? model.name : "real";
      this.#count(model?.name ?? "", isRight);
      item.classList.add(isRight ? "right" : "wrong");
      item.lastChild.textContent = `${isRight ? "✓" : "✗"} ${truth}`;
      item.setAttribute("aria-label",
        `Image ${i + 1}: ${truth}, ${isRight ? "correct" : "wrong"}`);
    });
    this.message.textContent =
      `You classified ${right} of ${COUNT} images correctly. Guessing gets half on average; ` +
      "against a perfect generator, nobody does better.";
    announce(this.message.textContent);
    this.#showScores();
    this.next.focus();
  }

  #count(source, isRight) {
    const score = (scores[source] ??= { right: 0, total: 0 });
    score.right += Number(isRight);
    score.total += 1;
  }

  #showScores() {
    const entries = Object.entries(scores).sort();
    if (!entries.length) return;
    const sum = (key) => entries.reduce((total, [, score]) => total + score[key], 0);
    const percent = Math.round((100 * sum("right")) / sum("total"));
    const rows = entries.map(([source, { right, total }]) =>
      element("tr", {}, element("th", { scope: "row" }, source || "real images"),
        element("td", {}, total), element("td", {}, right), element("td", {}, total - right)));
    const headings = ["", "images", "correct", "wrong"].map((text) =>
      element(text ? "th" : "td", { scope: text && "col" }, text));
    this.table.replaceChildren(
      element("h3", {}, `Your accuracy so far: ${percent} %`),
      element("table", {}, element("thead", {}, element("tr", {}, ...headings)),
        element("tbody", {}, ...rows)),
    );
  }
}
