// Plane: two directions of the latent space, and the image under the pointer.

import { LatentBars } from "./bars.js";
import { NO_STATISTICS, chosenVersion, emptyNote, labelled, menu, noSamplerNote,
  rebuild, seedControl, versionControls } from "./controls.js";
import { axesPlane, principalPlane, randomPlane } from "./directions.js";
import { announce, element, lead, setAttribute, shape, term } from "./elements.js";
import { pictureCanvas } from "./images.js";
import { MAX_SEED, MIN_IMAGE_SEED, decimals, imageSeeds, pointOfPlane } from "./numbers.js";
import { Latest, isAborted } from "./requests.js";

export const name = "plane";
export const title = "Plane";

const LIMIT = 3; // the plane goes from −3 to 3
const SIDE = 13; // images of a row of the plane
const STEP = 0.1; // of an arrow key
// What spans the plane.
const AXES = "axes";
const PRINCIPAL = "principal";
const RANDOM = "random";
// Milliseconds between two looks at whether the pointer rests.
const REST = 30;

export function mount(root, state, context) {
  const samplers = planeSamplers(context.models);
  root.append(
    lead(
      "A latent vector is a point of the ",
      term("latent space"),
      ". This is a plane in it: move the pointer, and the vector changes in two directions and " +
        "stays fixed in all others. Points close to each other give similar images.",
    ),
  );
  if (samplers.length) new Plane(root, state, context, samplers);
  else if (!context.models.some((model) => model.isSampler)) root.append(noSamplerNote());
  else root.append(emptyNote("This view needs a model with at least 2 latent dimensions."));
}

function planeSamplers(models) {
  return models.filter((model) => model.isSampler && model.latentDim > 1);
}

class Plane {
  constructor(root, state, context, samplers) {
    Object.assign(this, { state, context, samplers });
    this.body = element("div");
    root.append(this.body);
    this.origins = new Latest(
      context,
      (seed, signal) => this.version.latents(this.#seedsOfPlane(seed), signal),
      (latents) => this.#showPlane(latents),
    );
    this.points = new Latest(
      context,
      ({ x, y }, signal) => this.version.decode([pointOfPlane(this.plane, x, y)], signal),
      ([picture], point) => this.#showPoint(picture, point),
    );
    this.background = null;
    context.signal.addEventListener("abort", () => this.background?.abort());
    this.#build();
  }

  get isPrincipal() {
    return this.state.text("directions") === PRINCIPAL && this.version.model.latentDim > 2;
  }

  get isRandom() {
    return this.state.text("directions") === RANDOM && this.version.model.latentDim > 2;
  }

  get seed() {
    const isMean = this.isPrincipal && !this.state.text("seed");
    const [fallback] = imageSeeds(0, 1);
    return isMean ? null : this.state.integer("seed", fallback, MIN_IMAGE_SEED, MAX_SEED);
  }

  get axes() {
    const last = this.version.model.latentDim;
    return ["first", "second"].map((key, i) => this.state.integer(key, i + 1, 1, last) - 1);
  }

  #build() {
    const { state, samplers } = this;
    this.#stop();
    this.plane = null;
    const fallback = samplers.find((model) => model.latentDim === 2);
    this.version = chosenVersion(samplers, state, { fallback });
    const { model } = this.version;
    if (!state.text("directions") && model.latentDim > 2) {
      state.set({ directions: this.version.directions ? PRINCIPAL : RANDOM });
    }
    const change = () => {
      state.set({ x: null, y: null });
      rebuild(this.body, () => this.#build());
    };
    this.body.className = `family-${model.family}`;
    const chooseModel = () => {
      state.set({ directions: null, seed: null, first: null, second: null });
      change();
    };
    const controls = [
      ...versionControls(samplers, this.version, state, chooseModel),
      ...this.#directionControls(change),
    ];
    this.body.replaceChildren(
      element("div", { class: "controls" }, ...controls),
      element("p", { class: "hint" }, model.familyLine),
      element("div", { class: "split plane" }, this.#map(), this.#panel()),
    );
    this.#askForOrigin();
  }

  #directionControls(change) {
    const { state } = this;
    const { model } = this.version;
    if (model.latentDim === 2) return [];
    const directions = [[RANDOM, "two random directions"], [AXES, "two latent dimensions"]];
    if (this.version.directions || this.isPrincipal) {
      directions.unshift([PRINCIPAL, "principal components of test images"]);
    }
    const nodes = [
      menu("Directions", directions, state.text("directions"), (value) => {
        state.set({ directions: value });
        change();
      }),
    ];
    if (!this.isPrincipal && !this.isRandom) nodes.push(...this.#axisControls(change));
    if (this.seed !== null) {
      const changeSeed = (seed) => {
        state.set({ seed, x: null, y: null });
        this.#askForOrigin();
      };
      nodes.push(seedControl("Seed", this.seed, changeSeed, MIN_IMAGE_SEED));
    }
    return nodes;
  }

  #axisControls(change) {
    const { latentDim } = this.version.model;
    return ["first", "second"].map((key, i) => {
      const input = element("input", {
        type: "number",
        min: 1,
        max: latentDim,
        value: this.axes[i] + 1,
        class: "axis-number",
        onchange: () => {
          if (!input.checkValidity() || input.value === "") return;
          this.state.set({ [key]: input.value });
          change();
        },
      });
      return labelled(i ? "Up: dimension" : "Right: dimension", input, `of ${latentDim}`);
    });
  }

  #map() {
    this.canvas = element("canvas", { class: "picture", "aria-hidden": "true" });
    this.cross = shape("g", { class: "cross" },
      shape("path", { d: "M-0.25 0H0.25M0 -0.25V0.25" }), shape("circle", { r: 0.14 }));
    const view = `${-LIMIT} ${-LIMIT} ${2 * LIMIT} ${2 * LIMIT}`;
    const overlay = shape("svg", { viewBox: view, "aria-hidden": "true" }, this.cross);
    this.map = element(
      "div",
      {
        class: "map",
        tabindex: 0,
        role: "application",
        "aria-label": "Plane: the arrow keys move the point",
        onpointermove: (event) => this.#moveTo(this.#pointAt(event)),
        onpointerdown: (event) => this.#pin(event),
        onpointerleave: () => this.#moveTo(this.pinned),
        onkeydown: (event) => this.#onKey(event),
      },
      this.canvas,
      overlay,
    );
    const labels = this.#axisLabels();
    return element("figure", { class: "card" }, this.map,
      element("figcaption", { class: "hint" }, labels));
  }

  #axisLabels() {
    const ends = `from −${LIMIT} to ${LIMIT}`;
    if (this.isPrincipal) {
      return `Axes: the first two principal components of the encoded test images, ${ends}.`;
    }
    if (this.isRandom) {
      return "In the middle is the image of the seed. Axes: two random directions. Compared with " +
        "the middle, the latent vector is 1.4 times as long at the middle of an edge, 1.7 times " +
        "at a corner.";
    }
    const [first, second] = this.axes.map((index) => index + 1);
    return `Axes: latent dimension ${first} to the right, ${second} upwards, both ${ends}.`;
  }

  #panel() {
    this.picture = pictureCanvas("the image at the point");
    this.position = element("p", { class: "position" });
    this.bars = new LatentBars("Latent vector of the point");
    return element(
      "section",
      { class: "card detail", "aria-label": "The image at the point" },
      element("h2", {}, "The image at this point"),
      this.picture,
      this.position,
      this.bars.node,
      element("p", { class: "hint" },
        "Click to keep a point; the page's address then contains it. The arrow keys move it."),
    );
  }

  #askForOrigin() {
    this.background?.abort();
    this.points.cancel();
    this.map.setAttribute("aria-busy", "true");
    const { model, directions, isMeasured } = this.version;
    if (this.isPrincipal && !directions) {
      const isComing = model.realAddress && !isMeasured;
      this.map.removeAttribute("aria-busy");
      this.position.textContent =
        isComing ? "The server is still encoding test images; open this view again later."
          : NO_STATISTICS;
    } else if (this.seed !== null && model.latentDim > 2) {
      this.origins.replace(this.seed);
    } else {
      this.#showPlane(this.isPrincipal ? [] : [new Float32Array(model.latentDim)]);
    }
  }

  /** The seeds of the latent vectors that the plane needs: two more for random directions. */
  #seedsOfPlane(seed) {
    return this.isRandom ? [seed, (seed + 1) | 0, (seed + 2) | 0] : [seed];
  }

  /** Shows the plane through a latent vector; without one, through the mean of test images. */
  #showPlane(latents) {
    const { directions } = this.version;
    if (this.isPrincipal) this.plane = principalPlane(latents[0], directions);
    else if (this.isRandom) this.plane = randomPlane(latents, LIMIT);
    else this.plane = axesPlane(latents[0], this.axes);
    const { start } = this.plane;
    const inside = (value) => Math.min(Math.max(value, -LIMIT), LIMIT);
    const [x, y] = [this.state.number("x", start.x), this.state.number("y", start.y)];
    this.pinned = { x: inside(x), y: inside(y) };
    this.#moveTo(this.pinned);
    this.#drawBackground();
  }

  /** Draws the images of the plane row by row, from the middle, while the pointer rests. */
  async #drawBackground() {
    this.background?.abort();
    const controller = new AbortController();
    this.background = controller;
    const { signal } = controller;
    const { version, plane, canvas, map } = this;
    const [height, width] = version.model.shape;
    canvas.width = SIDE * width;
    canvas.height = SIDE * height;
    const values = Array.from({ length: SIDE }, (_, i) => LIMIT * ((2 * i + 1) / SIDE - 1));
    const middle = (SIDE - 1) / 2;
    const rows = values.map((_, i) => i);
    rows.sort((a, b) => Math.abs(a - middle) - Math.abs(b - middle));
    try {
      for (const row of rows) {
        while (this.points.isBusy) await new Promise((resolve) => setTimeout(resolve, REST));
        if (signal.aborted) return;
        // Row 0 has the largest second coordinate, as in a plot.
        const vectors = values.map((x) => pointOfPlane(plane, x, -values[row]));
        const pictures = await version.decode(vectors, signal);
        pictures.forEach((picture, column) =>
          canvas.getContext("2d").putImageData(picture.toImageData(), column * width, row * height),
        );
      }
    } catch (error) {
      if (!isAborted(error)) this.context.fail(error);
    } finally {
      if (!signal.aborted) map.removeAttribute("aria-busy");
    }
  }

  #moveTo(point) {
    if (!this.plane) return;
    setAttribute(this.cross, "transform", `translate(${point.x} ${-point.y})`);
    this.points.ask(point);
  }

  #showPoint(picture, point) {
    picture.paint(this.picture);
    setAttribute(this.picture, "data-x", point.x);
    setAttribute(this.picture, "data-y", point.y);
    const text = `right ${decimals(point.x)}, up ${decimals(point.y)}`;
    this.position.textContent = text;
    this.picture.setAttribute("aria-label", `the image at ${text}`);
    const marked = this.isPrincipal || this.isRandom ? [] : this.axes;
    this.bars.show(pointOfPlane(this.plane, point.x, point.y), null, marked);
  }

  #pin(event) {
    event.preventDefault();
    this.map.focus();
    this.#keep(this.#pointAt(event));
  }

  #keep(point) {
    this.pinned = point;
    this.state.set(point);
    this.#moveTo(point);
  }

  #onKey(event) {
    const steps = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const step = steps[event.key];
    if (!step || !this.plane) return;
    event.preventDefault();
    const moved = ["x", "y"].map((axis, i) => {
      const value = this.pinned[axis] + step[i] * STEP * (event.shiftKey ? 5 : 1);
      return Number(Math.min(Math.max(value, -LIMIT), LIMIT).toFixed(3));
    });
    this.#keep({ x: moved[0], y: moved[1] });
    announce(`right ${decimals(moved[0])}, up ${decimals(moved[1])}`);
  }

  #pointAt(event) {
    const box = this.map.getBoundingClientRect();
    const share = (value) => Math.min(Math.max(value, 0), 1) * 2 - 1;
    const x = LIMIT * share((event.clientX - box.left) / box.width);
    const y = -LIMIT * share((event.clientY - box.top) / box.height);
    return { x: Number(x.toFixed(3)), y: Number(y.toFixed(3)) };
  }

  #stop() {
    this.background?.abort();
    [this.origins, this.points].forEach((latest) => latest.cancel());
  }
}
