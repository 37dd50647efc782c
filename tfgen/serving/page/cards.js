// What each kind of model says about a picture: the cards of the view Draw.

import { LatentBars } from "./bars.js";
import { NO_STATISTICS, chosenVersion, rebuild, versionControls } from "./controls.js";
import { announce, element, setAttribute } from "./elements.js";
import { pictureCanvas, realPictures } from "./images.js";
import { decimals, distance, norm, softmax } from "./numbers.js";
import { Latest } from "./requests.js";

const NEIGHBOURS = 5;
// Test images that are encoded by one request.
const BATCH = 20;

/** A card of a version that takes pictures. A subclass has `compute`, `paint` and `clear`. */
class Card {
  constructor(key, heading, models, state, context, onchange) {
    Object.assign(this, { key, state, context, onchange });
    // First the model that has the name of its family, as the shipped ones.
    const isNamesake = ({ name, family }) => Number(name === family);
    this.models = [...models].sort((a, b) => isNamesake(b) - isNamesake(a));
    this.heading = element("h2", {}, heading);
    this.menus = element("div", { class: "controls" });
    this.result = element("div", { class: "result" });
    this.node = element("section", { class: "card", "aria-label": heading }, this.heading,
      this.menus, this.result);
    const compute = (picture, signal) => this.compute(picture, signal);
    const paint = (result, picture) => this.paint(result, picture);
    this.latest = new Latest(context, compute, paint, this.node);
    this.choose();
  }

  get shape() {
    return this.version.model.shape;
  }

  get isGrey() {
    return this.shape[2] === 1;
  }

  /** Takes the version that the state names. */
  choose() {
    this.latest.cancel(); // a result of another version would be shown as one of this version
    const options = { suffix: `-${this.key}` };
    this.version = chosenVersion(this.models, this.state, options);
    const { model } = this.version;
    this.node.className = `card family-${model.family}`;
    const rechoose = () => {
      this.choose();
      this.onchange();
    };
    const isOnly = this.models.length === 1 && model.versions.length === 1;
    const nodes = versionControls(this.models, this.version, this.state, rechoose, options);
    rebuild(this.menus, () => this.menus.replaceChildren(...(isOnly ? nodes.slice(1) : nodes)));
    this.menus.hidden = !this.menus.children.length;
  }

  /** Shows what the model makes of a picture; null: of none. */
  show(picture) {
    if (!picture) {
      this.latest.cancel();
      this.clear();
      return;
    }
    this.latest.ask(picture);
  }

}

/** An encoder with a posterior: reconstruction, posterior, and the nearest test images. */
export class PosteriorCard extends Card {
  constructor(...rest) {
    super("posterior", "Encode and decode", ...rest);
    this.drawing = pictureCanvas("the drawing");
    this.reconstruction = pictureCanvas("the reconstruction");
    this.bars = new LatentBars("Posterior of the drawing");
    this.summary = element("p");
    this.neighbours = element("ol", { class: "neighbours" });
    this.neighbourSection = element("div", { hidden: true },
      element("h3", {}, "Nearest in latent space"), this.neighbours,
      element("p", { class: "hint" },
        "The test images whose latent vectors are nearest to that of the drawing."));
    this.result.replaceChildren(
      element("div", { class: "arrow-row" },
        figure(this.drawing, "drawing"), element("span", { class: "arrow" }, "→ latent vector →"),
        figure(this.reconstruction, "reconstruction")),
      this.summary,
      element("h3", {}, "Its latent vector"),
      this.bars.node,
      element("p", { class: "hint" },
        "The encoder gives a normal distribution, the posterior: the bars are its means, the " +
          "lines its standard deviations. A standard deviation near 1 means that the model hardly " +
          "uses that dimension."),
      this.neighbourSection,
    );
    this.clear();
  }

  async compute(picture, signal) {
    const { version } = this; // the menu may choose another one meanwhile
    const [posterior] = await version.encode([picture], signal);
    const [reconstruction] = await version.decode([posterior.mean], signal);
    return { posterior, reconstruction, tests: await this.#encodeTests(version, signal) };
  }

  paint({ posterior, reconstruction, tests }, picture) {
    picture.paint(this.drawing);
    reconstruction.paint(this.reconstruction);
    this.bars.show(posterior.mean, posterior.stddev);
    const length = decimals(norm(posterior.mean), 1);
    const { latentDim } = this.version.model;
    this.summary.textContent =
      `The posterior mean has length ${length}; a random latent vector has about ` +
      `${decimals(Math.sqrt(latentDim), 1)}.`;
    if (tests.length) {
      // A test image is not its own neighbour.
      const others = tests.filter((test) => String(test.picture.bytes) !== String(picture.bytes));
      this.#showNeighbours(posterior, others);
    }
  }

  clear() {
    [this.drawing, this.reconstruction].forEach((canvas) => {
      [canvas.height, canvas.width] = this.shape;
    });
    this.bars.show(new Float32Array(this.version.model.latentDim));
    this.summary.textContent = "Draw something, or take a test image.";
    this.neighbourSection.hidden = true;
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
      .map((test) => ({ ...test, far: distance(mean, test.mean) }))
      .sort((a, b) => a.far - b.far)
      .slice(0, NEIGHBOURS);
    this.neighbours.replaceChildren(
      ...nearest.map(({ picture, far }, i) => {
        const text = `distance ${decimals(far, 1)}`;
        return element("li", {}, pictureCanvas(`neighbour ${i + 1}, ${text}`, picture), text);
      }),
    );
    this.neighbourSection.hidden = false;
  }

}

/** The classifier: the probability of each class. */
export class ClassifierCard extends Card {
  constructor(...rest) {
    super("classifier", "The classifier: which class is it?", ...rest);
    this.summary = element("p");
    this.list = element("ol", { class: "probabilities" });
    this.result.replaceChildren(this.summary, this.list);
    this.clear();
  }

  compute(picture, signal) {
    return this.version.classify([picture], signal);
  }

  paint([logits]) {
    const probabilities = softmax(logits);
    this.#showBars(probabilities);
    const best = probabilities.indexOf(Math.max(...probabilities));
    const percent = (100 * probabilities[best]).toFixed(0);
    this.summary.textContent =
      `Most probable: ${this.version.model.className(best)}, with ${percent} %.`;
    announce(this.summary.textContent);
  }

  clear() {
    const { outputs } = this.version.model.signatures.features;
    this.#showBars(new Array(outputs.logits.shape[1]).fill(0));
    this.summary.textContent = "Draw something, or take a test image.";
  }

  #showBars(probabilities) {
    const items = probabilities.map((probability, label) => {
      const bar = element("span", { class: "bar" });
      bar.style.width = `${100 * probability}%`;
      return element("li", {}, element("span", {}, this.version.model.className(label)),
        element("span", { class: "track" }, bar),
        element("span", { class: "percent" }, `${(100 * probability).toFixed(0)} %`));
    });
    this.list.replaceChildren(...items);
  }
}

/** The likelihood: bits/dim on a scale beside those of other images. */
export class LikelihoodCard extends Card {
  constructor(...rest) {
    super("likelihood", "Likelihood: bits/dim of your image", ...rest);
    this.summary = element("p");
    this.scale = element("div", { class: "scale" });
    this.result.replaceChildren(
      this.summary,
      this.scale,
      element("p", { class: "hint" },
        "The model gives a lower bound of the log-likelihood. Bits/dim is the negative bound in " +
          "bits per pixel and channel; lower means more likely. A bar spans the 5 % to 95 % " +
          "quantiles of each kind; the tick is the median."),
    );
    this.clear();
  }

  compute(picture, signal) {
    return this.version.logProb(picture, signal);
  }

  paint({ bits_per_dim: bits }) {
    this.#showScale(bits);
    this.summary.textContent = `Your image takes ${decimals(bits)} bits/dim.`;
    setAttribute(this.summary, "data-bits", bits);
  }

  clear() {
    this.#showScale(null);
    this.summary.textContent = "Draw something, or take a test image.";
  }

  #showScale(bits) {
    const { bitsPerDim: ranges, isMeasured, model: { realAddress } } = this.version;
    if (!ranges) {
      let text = "There is no scale: the test images of this model are not on the server.";
      if (isMeasured) text = NO_STATISTICS;
      else if (realAddress) text = "The server is still measuring test images; open this view again later.";
      this.scale.replaceChildren(element("p", { class: "note" }, text));
      return;
    }
    const values = [...Object.values(ranges).flat(), bits ?? 0];
    const [least, most] = [Math.min(0, ...values), 1.05 * Math.max(...values)];
    const percent = (value) => `${(100 * (value - least)) / (most - least)}%`;
    const names = { test: "test images", inverted: "inverted", noise: "noise" };
    const rows = Object.entries(names).flatMap(([key, text]) =>
      key in ranges ? [rangeRow(text, ranges[key], percent)] : []);
    if (bits !== null) rows.unshift(rangeRow("your image", [bits, bits, bits], percent, "own"));
    this.scale.replaceChildren(...rows);
  }
}

function figure(canvas, caption) {
  return element("figure", {}, canvas, element("figcaption", {}, caption));
}

/** A line of the scale: the range from the 5 % to the 95 % quantile, with the median. */
function rangeRow(text, [low, median, high], percent, kind = "") {
  const range = element("span", { class: "range" });
  range.style.left = percent(low);
  range.style.right = `calc(100% - ${percent(high)})`;
  const tick = element("span", { class: "tick" });
  tick.style.left = percent(median);
  return element("div", { class: `scale-row ${kind}` }, element("span", {}, text),
    element("span", { class: "track" }, range, tick),
    element("span", { class: "percent" }, decimals(median)));
}
