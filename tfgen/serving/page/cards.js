// What each kind of model says about a picture: the cards of the view Draw.

import { LatentBars } from "./bars.js";
import { missingStatistics, rebuild, seedControl, slider, versionChoice } from "./controls.js";
import { announce, html } from "./elements.js";
import { pictureCanvas, realPictures } from "./images.js";
import { MAX_IMAGE_SEED, decimals, distance, norm, percent, softmax,
  spherical } from "./numbers.js";
import { Latest } from "./requests.js";

const EMPTY = "Draw something, or take a test image.";
const NEIGHBOURS = 5;
// Test images that are encoded by one request.
const BATCH = 20;

/**
 * A card of a version that takes pictures.
 *
 * A subclass fills `result`; `compute` asks the model, `paint` shows the result in words and more,
 * and `clear` shows that there is none.
 */
class Card {
  constructor(key, heading, models, state, context, onchange) {
    Object.assign(this, { key, state, onchange });
    // First the model that has the name of its family, as the shipped ones.
    const isNamesake = ({ name, family }) => Number(name === family);
    this.models = [...models].sort((a, b) => isNamesake(b) - isNamesake(a));
    this.menus = html`<div class="controls"></div>`;
    this.summary = html`<p></p>`;
    this.result = html`<div></div>`;
    this.node = html`<section class="card" aria-label=${heading}>
      <h2>${heading}</h2>${[this.menus, this.summary, this.result]}</section>`;
    const compute = (picture, signal) => this.compute(picture, signal);
    const paint = (...result) => (this.summary.textContent = this.paint(...result));
    this.latest = new Latest(context, compute, paint, this.node);
    this.choose();
  }

  /** Takes the version that the state names. */
  choose() {
    this.latest.cancel(); // a result of another version would be shown as one of this version
    const rechoose = () => {
      this.choose();
      this.onchange();
    };
    const options = { suffix: `-${this.key}` };
    const { version, menus } = versionChoice(this.models, this.state, rechoose, options);
    const { model } = version;
    this.version = version;
    this.node.className = `card family-${model.family}`;
    if (this.models.length === 1 && model.versions.length === 1) menus.shift();
    rebuild(this.menus, () => this.menus.replaceChildren(...menus));
    this.menus.hidden = !menus.length;
  }

  /** Shows what the model makes of a picture; null: of none. */
  show(picture) {
    this.picture = picture;
    if (picture) {
      this.latest.ask(picture);
      if (this.summary.textContent === EMPTY) this.summary.textContent = "Computing …";
    } else {
      this.latest.cancel();
      this.summary.textContent = EMPTY;
      this.clear();
    }
  }
}

/** An encoder with a posterior: reconstruction, posterior, and the nearest test images. */
export class PosteriorCard extends Card {
  constructor(...rest) {
    super("posterior", "Encode and decode", ...rest);
    this.drawing = pictureCanvas("the drawing");
    this.reconstruction = pictureCanvas("the reconstruction");
    this.bars = new LatentBars("Posterior of the drawing");
    this.morphed = pictureCanvas("the drawing on its way to the sample");
    this.neighbours = html`<div></div>`;
    this.result.append(html`
      <div class="arrow-row">
        <figure>${this.drawing}<figcaption>drawing</figcaption></figure>
        <span class="arrow">→ latent vector →</span>
        <figure>${this.reconstruction}<figcaption>reconstruction</figcaption></figure>
      </div>
      <h3>Its latent vector</h3>
      ${this.bars.node}
      <p class="hint">The encoder gives a normal distribution, the posterior: the bars are its
        means, the lines its standard deviations. A standard deviation near 1 means that the model
        hardly uses that dimension.</p>
      <h3>From the drawing to a sample</h3>
      <div class="row">${[this.morphed, ...this.#morphControls()]}</div>
      ${this.neighbours}`);
  }

  async compute(picture, signal) {
    const { version } = this; // the menu may choose another one meanwhile
    const [posterior] = await version.encode([picture], signal);
    const [sample] = await version.latents([this.seed], signal);
    const point = spherical(posterior.mean, sample, this.share);
    const pictures = await version.decode([posterior.mean, point], signal);
    return { posterior, pictures, tests: await this.#encodeTests(version, signal) };
  }

  paint({ posterior, pictures: [reconstruction, morphed], tests }, picture) {
    picture.paint(this.drawing);
    reconstruction.paint(this.reconstruction);
    morphed.paint(this.morphed);
    this.bars.show(posterior.mean, posterior.stddev);
    // A test image is not its own neighbour.
    const others = tests.filter((test) => String(test.picture.bytes) !== String(picture.bytes));
    this.#showNeighbours(posterior, others);
    const typical = Math.sqrt(this.version.model.latentDim);
    return `The posterior mean has length ${decimals(norm(posterior.mean), 1)}; a random latent ` +
      `vector has about ${decimals(typical, 1)}.`;
  }

  clear() {
    for (const canvas of [this.drawing, this.reconstruction, this.morphed]) {
      [canvas.height, canvas.width] = this.version.model.shape;
    }
    this.bars.show(new Float32Array(this.version.model.latentDim));
    this.neighbours.replaceChildren();
  }

  get share() {
    return this.state.number("share", 0.5, 0, 1);
  }

  get seed() {
    return this.state.imageSeed("seed", 0);
  }

  /** How far to go along the arc from the posterior mean, and to the latents of which seed. */
  #morphControls() {
    const change = (values) => {
      this.state.set(values);
      this.show(this.picture);
    };
    const range = { min: 0, max: 1, step: 0.01, value: this.share, format: percent };
    return [slider("Position from drawing to sample", range, (share) => change({ share })),
      seedControl("Seed of the sample", this.seed, (seed) => change({ seed }), MAX_IMAGE_SEED)];
  }

  /** The test images with their posterior means; none if the data set is not at hand. */
  async #encodeTests(version, signal) {
    const { model, number, label } = version;
    const key = `${model.name} ${number} ${label}`;
    if (!model.realAddress) return [];
    if (this.encodedKey !== key) {
      const pictures = await realPictures(model, signal);
      const posteriors = [];
      for (let start = 0; start < pictures.length; start += BATCH) {
        const batch = pictures.slice(start, start + BATCH);
        posteriors.push(...(await version.encode(batch, signal)));
      }
      this.encoded = pictures.map((picture, i) => ({ picture, mean: posteriors[i].mean }));
      this.encodedKey = key;
    }
    return this.encoded;
  }

  #showNeighbours({ mean }, tests) {
    const nearest = tests
      .map(({ picture, mean: other }) => ({ picture, far: distance(mean, other) }))
      .sort((a, b) => a.far - b.far)
      .slice(0, NEIGHBOURS);
    const items = nearest.map(({ picture, far }, i) => {
      const text = `distance ${decimals(far, 1)}`;
      const canvas = pictureCanvas(`neighbour ${i + 1}, ${text}`);
      picture.paint(canvas);
      return html`<li>${[canvas, text]}</li>`;
    });
    this.neighbours.replaceChildren(items.length ? html`
      <h3>Nearest in latent space</h3><ol class="neighbours">${items}</ol>
      <p class="hint">The test images whose latent vectors are nearest to that of the drawing.</p>`
      : "");
  }
}

/** The classifier: the probability of each class. */
export class ClassifierCard extends Card {
  constructor(...rest) {
    super("classifier", "The classifier: which class is it?", ...rest);
    this.list = html`<ol class="chart"></ol>`;
    this.result.append(this.list);
  }

  compute(picture, signal) {
    return this.version.classify([picture], signal);
  }

  paint([logits]) {
    const probabilities = softmax(logits);
    this.#showBars(probabilities);
    const best = probabilities.indexOf(Math.max(...probabilities));
    const name = this.version.model.className(best);
    const text = `Most probable: ${name}, with ${percent(probabilities[best])}.`;
    announce(text);
    return text;
  }

  clear() {
    const { outputs } = this.version.model.signatures.features;
    this.#showBars(new Array(outputs.logits.shape[1]).fill(0));
  }

  #showBars(probabilities) {
    const { model } = this.version;
    this.list.replaceChildren(...probabilities.map((probability, label) => {
      const bar = mark("bar", { width: `${100 * probability}%` });
      return chartRow(model.className(label), bar, percent(probability));
    }));
  }
}

/** The likelihood: bits/dim on a scale beside those of other images. */
export class LikelihoodCard extends Card {
  constructor(...rest) {
    super("likelihood", "Likelihood: bits/dim of your image", ...rest);
    this.scale = html`<ol class="chart"></ol>`;
    this.result.append(html`${this.scale}
      <p class="hint">The model gives a lower bound of the log-likelihood. Bits/dim is the negative
        bound in bits per pixel and channel; a lower value means a more likely image. Each bar spans
        the 5 % to 95 % quantiles of test images, of test images with light and dark inverted, or of
        noise; the tick is the median.</p>`);
  }

  compute(picture, signal) {
    return this.version.logProb(picture, signal);
  }

  paint({ bits_per_dim: bits }) {
    this.#showScale(bits);
    this.summary.dataset.bits = bits;
    return `Your image takes ${decimals(bits)} bits/dim.`;
  }

  clear() {
    this.#showScale(null);
  }

  #showScale(bits) {
    const { bitsPerDim: ranges } = this.version;
    if (!ranges) {
      this.scale.replaceChildren(html`<li class="note">${missingStatistics(this.version)}</li>`);
      return;
    }
    const values = [...Object.values(ranges).flat(), bits ?? 0];
    const [least, most] = [Math.min(0, ...values), 1.05 * Math.max(...values)];
    const place = (value) => `${(100 * (value - least)) / (most - least)}%`;
    const tick = (value) => mark("tick", { left: place(value) });
    const names = { test: "test images", inverted: "inverted", noise: "noise" };
    const rows = Object.keys(names).filter((key) => key in ranges).map((key) => {
      const [low, median, high] = ranges[key];
      const range = mark("range", { left: place(low), width: place(least + high - low) });
      return chartRow(names[key], [range, tick(median)], decimals(median));
    });
    if (bits !== null) rows.unshift(chartRow("your image", tick(bits), decimals(bits), "own"));
    this.scale.replaceChildren(...rows);
  }
}

/** A line of a chart: a label, marks on a track, and a value. */
function chartRow(label, marks, value, kind = "") {
  return html`<li class=${kind}><span>${label}</span>
    <span class="track">${marks}</span><span class="percent">${value}</span></li>`;
}

function mark(kind, style) {
  const node = html`<span class=${kind}></span>`;
  Object.assign(node.style, style);
  return node;
}
