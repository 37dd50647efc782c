// Between: interpolation from one image to another, along a line and along an arc.

import { rebuild, seedControl, slider, versionChoice } from "./controls.js";
import { announce, html } from "./elements.js";
import { ImageGrid, pictureCanvas } from "./images.js";
import { MAX_IMAGE_SEED, decimals, imageSeeds, linear, norm, percent, spherical,
  unsigned } from "./numbers.js";
import { saveControls } from "./save.js";
import { Latest } from "./requests.js";

export const name = "between";
export const title = "Between";
export const lead = () => html`
  Every point between two latent vectors is a latent vector too, so the model makes an image of it.
  Going from one to the other is an <em>interpolation</em>: move the slider, or press Play, and one
  image becomes the other.`;
export const mount = (...parts) => new Between(...parts);

const STRIP = 9; // images of a strip
const SHARES = Array.from({ length: STRIP }, (_, i) => i / (STRIP - 1));
const CHOICES = imageSeeds(0, 16).map(unsigned); // seeds to choose an end from
const SECONDS = 4; // of the animation from one end to the other
const ENDS = [
  { key: "from", title: "Start", seed: CHOICES[1] },
  { key: "to", title: "End", seed: CHOICES[5] },
];
const PATHS = [
  { key: "linear", title: "Linear interpolation", point: linear },
  { key: "spherical", title: "Spherical interpolation", point: spherical },
];

class Between {
  constructor(root, state, context, samplers) {
    Object.assign(this, { root, state, samplers });
    this.chosenEnd = "from";
    this.ends = new Latest(context, (seeds, signal) => this.#computeEnds(seeds, signal),
      (result) => this.#showEnds(result), root);
    this.points = new Latest(context,
      (share, signal) => this.version.decode(this.#pointsAt(share), signal),
      (pictures, share) => this.#showPoints(pictures, share));
    this.choices = new Latest(context, (seeds, signal) => this.version.sample(seeds, signal),
      (pictures) => this.choiceGrid.paint(pictures));
    context.signal.addEventListener("abort", () => this.#pause());
    this.#build();
  }

  get share() {
    return this.state.number("share", 0.5, 0, 1);
  }

  get seeds() {
    return ENDS.map(({ key, seed }) => this.state.imageSeed(key, seed));
  }

  #build() {
    this.#pause();
    [this.ends, this.points, this.choices].forEach((latest) => latest.cancel());
    this.latents = null;
    const change = () => rebuild(this.root, () => this.#build());
    const { version, menus } = versionChoice(this.samplers, this.state, change);
    this.version = version;
    const { model } = version;
    this.root.className = `family-${model.family}`;
    this.endCards = ENDS.map((end, i) => this.#endCard(end, this.seeds[i]));
    this.pathCards = PATHS.map((path) => this.#pathCard(path));
    this.play = html`<button class="main" @click=${() => this.#togglePlay()}>▶ Play</button>`;
    const range = { min: 0, max: 1, step: 0.01, value: this.share, format: percent };
    this.slider = slider("Position from start to end", range, (share) => this.#moveTo(share));
    this.slider.classList.add("wide");
    this.note = html`<p class="hint"></p>`;
    this.choiceGrid = new ImageGrid("choices", "Images", CHOICES.map((seed) => `Take seed ${seed}`),
      (i) => this.#choose(CHOICES[i]));
    const [start, end] = this.endCards;
    const canvases = this.pathCards.flatMap(({ strip }) => strip.canvases);
    this.root.replaceChildren(html`
      <div class="controls">${[...menus, this.slider, this.play]}</div>
      <p class="hint">${model.familyLine}</p>
      <div class="journey">${[start, ...this.pathCards, end].map(({ node }) => node)}</div>
      ${this.note}
      ${this.pathCards.map(({ strip }, i) =>
        html`<div><h3>${PATHS[i].title}</h3>${strip.node}</div>`)}
      ${saveControls(() => [model.name, ...this.seeds].join("-"),
        () => [{ canvases, columns: STRIP }])}
      <fieldset class="card"><legend>Choose the two images</legend>
        <p>One click sets the start, the next one the end.</p>${this.choiceGrid.node}</fieldset>`);
    this.ends.replace(this.seeds);
    this.choices.replace(CHOICES);
  }

  #endCard({ key, title: name }, value) {
    const canvas = pictureCanvas(`${name} image`);
    const change = (seed) => this.#setEnd(key, seed);
    const seed = seedControl(`${name} seed`, value, change, MAX_IMAGE_SEED);
    return { key, canvas, seed, node: journeyCard("end", name, canvas, seed) };
  }

  #pathCard({ key, title: name }) {
    const canvas = pictureCanvas(`${name}: the image`);
    const length = html`<p class="length"></p>`;
    const names = SHARES.map((share) => `${name}, ${percent(share)}`);
    const strip = new ImageGrid("strip", name, names, (i) => this.#showShare(SHARES[i]));
    return { canvas, length, strip, node: journeyCard(`path ${key}`, name, canvas, length) };
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
    this.ends.replace(this.seeds);
  }

  async #computeEnds(seeds, signal) {
    const [start, end] = await this.version.latents(seeds, signal);
    const vectors = PATHS.flatMap(({ point }) => SHARES.map((share) => point(start, end, share)));
    return { latents: [start, end], pictures: await this.version.decode(vectors, signal) };
  }

  #showEnds({ latents, pictures }) {
    this.latents = latents;
    this.pathCards.forEach(({ strip }, row) =>
      strip.paint(pictures.slice(row * STRIP, (row + 1) * STRIP)));
    pictures[0].paint(this.endCards[0].canvas);
    pictures[STRIP - 1].paint(this.endCards[1].canvas);
    const { latentDim } = this.version.model;
    const typical = decimals(Math.sqrt(latentDim), 1);
    this.note.replaceChildren(html`
      A random latent vector of ${latentDim} dimensions has a length of about √${latentDim} ≈
      ${typical}. Linear interpolation follows the straight line: in the middle, the vectors are
      shorter. Spherical interpolation follows an arc and keeps the length nearly constant.`);
    const [from, to] = this.seeds;
    announce(`Images between seed ${from} and seed ${to}`);
    this.points.replace(this.share);
  }

  #pointsAt(share) {
    return PATHS.map(({ point }) => point(...this.latents, share));
  }

  #moveTo(share) {
    this.state.set({ share });
    if (this.latents) this.points.ask(share);
  }

  #showShare(share) {
    this.slider.show(share);
    this.#moveTo(share);
  }

  #showPoints(pictures, share) {
    const vectors = this.#pointsAt(share);
    this.pathCards.forEach(({ canvas, length }, i) => {
      pictures[i].paint(canvas);
      canvas.dataset.share = share;
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
      if (!this.points.isBusy) this.#showShare(share);
      this.frame = requestAnimationFrame(step);
    };
    this.frame = requestAnimationFrame(step);
  }

  #pause() {
    cancelAnimationFrame(this.frame);
    this.frame = null;
    if (this.play) this.play.textContent = "▶ Play";
  }
}

function journeyCard(kind, name, canvas, below) {
  return html`<section class=${`card ${kind}`} aria-label=${name}>
    <h2>${name}</h2>${[canvas, below]}</section>`;
}
