// Between: interpolation from one image to another, along a line and along an arc.

import { chosenVersion, noSamplerNote, rebuild, seedControl, slider,
  versionControls } from "./controls.js";
import { announce, button, element, lead, setAttribute, term } from "./elements.js";
import { imageButton, pictureCanvas } from "./images.js";
import { MAX_SEED, MIN_IMAGE_SEED, decimals, imageSeeds, linear, norm,
  spherical } from "./numbers.js";
import { Latest } from "./requests.js";

export const name = "between";
export const title = "Between";

const STRIP = 9; // images of a strip
const CHOICES = 16; // images to choose an end from
const SECONDS = 4; // of the animation from one end to the other
const ENDS = [
  { key: "from", title: "Start" },
  { key: "to", title: "End" },
];
const PATHS = [
  { key: "linear", title: "Linear interpolation", point: linear },
  { key: "spherical", title: "Spherical interpolation", point: spherical },
];

export function mount(root, state, context) {
  const samplers = context.models.filter((model) => model.isSampler);
  root.append(
    lead(
      "Every point between two latent vectors is a latent vector too, so the model makes an " +
        "image of it. Going from one to the other is an ",
      term("interpolation"),
      ": move the slider, or press Play, and one image becomes the other.",
    ),
  );
  if (samplers.length) new Between(root, state, context, samplers);
  else root.append(noSamplerNote());
}

class Between {
  constructor(root, state, context, samplers) {
    Object.assign(this, { state, context, samplers });
    this.chosenEnd = "from";
    this.body = element("div");
    root.append(this.body);
    this.ends = new Latest(
      context,
      (seeds, signal) => this.#computeEnds(seeds, signal),
      (result) => this.#showEnds(result),
      this.body,
    );
    this.points = new Latest(
      context,
      (share, signal) => this.version.decode(this.#pointsAt(share), signal),
      (pictures, share) => this.#showPoints(pictures, share),
    );
    this.choices = new Latest(
      context,
      (seeds, signal) => this.version.sample(seeds, signal),
      (pictures) => this.choiceButtons.forEach((item, i) => pictures[i].paint(item.firstChild)),
    );
    context.signal.addEventListener("abort", () => this.#pause());
    this.#build();
  }

  get share() {
    return this.state.number("share", 0.5, 0, 1);
  }

  seedOf(end) {
    const fallback = imageSeeds(0, CHOICES)[end === "from" ? 1 : 5];
    return this.state.integer(end, fallback, MIN_IMAGE_SEED, MAX_SEED);
  }

  #build() {
    const { state, samplers } = this;
    this.#stop();
    this.latents = null;
    this.version = chosenVersion(samplers, state);
    const { model } = this.version;
    this.body.className = `family-${model.family}`;
    this.endCards = ENDS.map((end) => this.#endCard(end));
    this.pathCards = PATHS.map((path) => this.#pathCard(path));
    this.play = button("▶ Play", () => this.#togglePlay(), { class: "main" });
    const format = (share) => `${Math.round(100 * share)} %`;
    const range = { min: 0, max: 1, step: 0.01, value: this.share, format };
    this.slider = slider("Position from start to end", range, (share) => this.#moveTo(share));
    this.slider.classList.add("wide");
    this.note = element("p", { class: "hint" });
    const change = () => rebuild(this.body, () => this.#build());
    const controls = versionControls(samplers, this.version, state, change);
    this.body.replaceChildren(
      element("div", { class: "controls" }, ...controls, this.slider, this.play),
      element("p", { class: "hint" }, model.familyLine),
      element(
        "div",
        { class: "journey" },
        this.endCards[0].node,
        ...this.pathCards.map(({ node }) => node),
        this.endCards[1].node,
      ),
      this.note,
      ...this.pathCards.map(({ strip }) => strip),
      this.#choiceSection(),
    );
    this.#askForEnds();
    this.choices.replace(imageSeeds(0, CHOICES));
  }

  #endCard({ key, title: name }) {
    const canvas = pictureCanvas(`${name} image`);
    const seed = seedControl(
      `${name} seed`,
      this.seedOf(key),
      (value) => this.#setEnd(key, value),
      MIN_IMAGE_SEED,
    );
    const node = element("section", { class: "card end", "aria-label": name },
      element("h2", {}, name), canvas, seed);
    return { key, node, canvas, seed };
  }

  #pathCard({ key, title: name }) {
    const canvas = pictureCanvas(`${name}: the image`);
    const length = element("p", { class: "length" });
    const node = element("section", { class: `card path ${key}`, "aria-label": name },
      element("h2", {}, name), canvas, length);
    const canvases = Array.from({ length: STRIP }, (_, i) => {
      const share = i / (STRIP - 1);
      const label = `${name}, ${Math.round(100 * share)} %`;
      const onclick = () => {
        this.slider.show(share);
        this.#moveTo(share);
      };
      return imageButton(onclick, { "aria-label": label });
    });
    const images = element("div", { class: "strip", role: "group", "aria-label": name },
      ...canvases);
    const strip = element("div", {}, element("h3", {}, name), images);
    return { node, canvas, length, strip, canvases: canvases.map((item) => item.firstChild) };
  }

  #choiceSection() {
    const seeds = imageSeeds(0, CHOICES);
    this.choiceButtons = seeds.map((seed) =>
      imageButton(() => this.#choose(seed), { "aria-label": `Take seed ${seed}` }));
    const images = element("div", { class: "choices", role: "group", "aria-label": "Images" },
      ...this.choiceButtons);
    return element("fieldset", { class: "card" }, element("legend", {}, "Choose the two images"),
      element("p", {}, "One click sets the start, the next one the end."), images);
  }

  /** Takes a seed as the chosen end; the next click sets the other one. */
  #choose(seed) {
    const end = this.chosenEnd;
    this.endCards.find(({ key }) => key === end).seed.show(seed);
    this.#setEnd(end, seed);
    this.chosenEnd = end === "from" ? "to" : "from";
  }

  #setEnd(end, seed) {
    this.state.set({ [end]: seed });
    this.#askForEnds();
  }

  #askForEnds() {
    this.ends.replace(ENDS.map(({ key }) => this.seedOf(key)));
  }

  async #computeEnds(seeds, signal) {
    const [start, end] = await this.version.latents(seeds, signal);
    const shares = Array.from({ length: STRIP }, (_, i) => i / (STRIP - 1));
    const vectors = PATHS.flatMap(({ point }) => shares.map((share) => point(start, end, share)));
    return { latents: [start, end], pictures: await this.version.decode(vectors, signal) };
  }

  #showEnds({ latents, pictures }) {
    this.latents = latents;
    this.pathCards.forEach(({ canvases }, row) =>
      canvases.forEach((canvas, i) => pictures[row * STRIP + i].paint(canvas)),
    );
    pictures[0].paint(this.endCards[0].canvas);
    pictures[STRIP - 1].paint(this.endCards[1].canvas);
    const { latentDim } = this.version.model;
    const typical = Math.sqrt(latentDim);
    this.note.textContent =
      `A random latent vector of ${latentDim} dimensions has a length of about √${latentDim} ≈ ` +
      `${decimals(typical, 1)}. Linear interpolation follows the straight line: in the middle, ` +
      "the vectors are shorter. Spherical interpolation follows an arc and keeps the length " +
      "nearly constant.";
    announce(`Images between seed ${this.seedOf("from")} and seed ${this.seedOf("to")}`);
    this.points.replace(this.share);
  }

  #pointsAt(share) {
    return PATHS.map(({ point }) => point(...this.latents, share));
  }

  #moveTo(share) {
    this.state.set({ share });
    if (this.latents) this.points.ask(share);
  }

  #showPoints(pictures, share) {
    const vectors = this.#pointsAt(share);
    this.pathCards.forEach(({ canvas, length }, i) => {
      pictures[i].paint(canvas);
      setAttribute(canvas, "data-share", share);
      length.textContent = `latent vector of length ${decimals(norm(vectors[i]), 1)}`;
    });
  }

  #togglePlay() {
    if (this.frame) {
      this.#pause();
      return;
    }
    this.play.textContent = "❚❚ Pause";
    // The animation goes on from where the slider is, to the end and back.
    const begin = performance.now() - 1000 * SECONDS * this.share;
    const step = (now) => {
      const position = ((now - begin) / (1000 * SECONDS)) % 2;
      const share = Number(Math.max(0, position < 1 ? position : 2 - position).toFixed(3));
      if (!this.points.isBusy) {
        this.slider.show(share);
        this.#moveTo(share);
      }
      this.frame = requestAnimationFrame(step);
    };
    this.frame = requestAnimationFrame(step);
  }

  #pause() {
    cancelAnimationFrame(this.frame);
    this.frame = null;
    if (this.play) this.play.textContent = "▶ Play";
  }

  #stop() {
    this.#pause();
    [this.ends, this.points, this.choices].forEach((latest) => latest.cancel());
  }
}
