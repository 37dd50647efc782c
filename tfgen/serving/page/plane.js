// Plane: two directions of the latent space, and the image under the pointer.

import { LatentBars } from "./bars.js";
import { labelled, menu, missingStatistics, rebuild, seedControl,
  versionChoice } from "./controls.js";
import { axesPlane, principalPlane, randomPlane } from "./directions.js";
import { announce, html, pointerOn } from "./elements.js";
import { pictureCanvas } from "./images.js";
import { MAX_IMAGE_SEED, clamp, decimals, imageSeeds, pointOfPlane } from "./numbers.js";
import { saveControls } from "./save.js";
import { Latest } from "./requests.js";

export const name = "plane";
export const title = "Plane";
export const lead = () => html`
  A latent vector is a point of the <em>latent space</em>. This is a plane in it: move the pointer,
  and the vector changes in two directions and stays fixed in all others. Points close to each other
  give similar images.`;
export const accepts = (model) => model.isSampler && model.latentDim > 1;
export const needs =
  "No model here draws images from two or more latents. Train one: tfgen-train vae.";
export const mount = (...parts) => new Plane(...parts);

const LIMIT = 3; // the plane goes from −3 to 3
const SIDE = 13; // images of a row of the plane
const STEP = 0.1; // of an arrow key
// What spans the plane.
const [PRINCIPAL, RANDOM, AXES] = ["principal", "random", "axes"];
// Milliseconds between two looks at whether the pointer rests.
const REST = 30;

class Plane {
  constructor(root, state, context, samplers) {
    Object.assign(this, { root, state, samplers });
    this.planes = new Latest(context, (point, signal) => this.#drawPlane(point, signal), () => {});
    this.points = new Latest(context,
      ({ x, y }, signal) => this.version.decode([pointOfPlane(this.plane, x, y)], signal),
      ([picture], point) => this.#showPoint(picture, point));
    this.#build();
  }

  /** What spans the plane: two dimensions are its axes, more leave a choice. */
  get directions() {
    if (this.version.model.latentDim === 2) return this.state.choice("directions", [AXES]);
    const choices = [PRINCIPAL, RANDOM, AXES];
    return this.state.choice("directions", choices, choices[this.version.directions ? 0 : 1]);
  }

  get seed() {
    const isMean = this.directions === PRINCIPAL && !this.state.text("seed");
    return isMean ? null : this.state.imageSeed("seed", imageSeeds(0, 1)[0]);
  }

  get axes() {
    const last = this.version.model.latentDim;
    return ["first", "second"].map((key, i) => this.state.integer(key, i + 1, 1, last) - 1);
  }

  #build() {
    const { state, samplers } = this;
    this.plane = null;
    const fallback = samplers.find((model) => model.latentDim === 2);
    const { version, menus } = versionChoice(samplers, state, () =>
      this.#change({ directions: null, seed: null, first: null, second: null }), { fallback });
    this.version = version;
    const { model } = version;
    // The server may have statistics later, but the link shows the same then.
    if (model.latentDim > 2) state.set({ directions: this.directions });
    this.root.className = `family-${model.family}`;
    this.root.replaceChildren(html`
      <div class="controls">${[...menus, ...this.#directionControls()]}</div>
      <p class="hint">${model.familyLine}</p>
      <div class="split plane">${[this.#map(), this.#panel()]}</div>
      ${saveControls(() => `${model.name}-plane`,
        () => [{ canvases: [this.canvas], columns: 1 }])}`);
    this.#askForPlane();
  }

  #change(values) {
    this.state.set({ x: null, y: null, ...values });
    rebuild(this.root, () => this.#build());
  }

  #directionControls() {
    if (this.version.model.latentDim === 2) return [];
    const { directions } = this;
    const choices = [[RANDOM, "two random directions"], [AXES, "two latent dimensions"]];
    if (this.version.directions || directions === PRINCIPAL) {
      choices.unshift([PRINCIPAL, "principal components of test images"]);
    }
    const choose = (value) => this.#change({ directions: value });
    const nodes = [menu("Directions", choices, directions, choose)];
    if (directions === AXES) nodes.push(...this.#axisControls());
    if (this.seed !== null) {
      const changeSeed = (seed) => {
        this.state.set({ seed, x: null, y: null });
        this.#askForPlane();
      };
      nodes.push(seedControl("Seed", this.seed, changeSeed, MAX_IMAGE_SEED));
    }
    return nodes;
  }

  #axisControls() {
    const { latentDim } = this.version.model;
    return ["first", "second"].map((key, i) => {
      const change = () => {
        if (input.checkValidity() && input.value !== "") this.#change({ [key]: input.value });
      };
      const input = html`<input type="number" class="axis-number" min="1" max=${latentDim}
        value=${this.axes[i] + 1} @change=${change}>`;
      return labelled(i ? "Up: dimension" : "Right: dimension", input, `of ${latentDim}`);
    });
  }

  #map() {
    const view = `${-LIMIT} ${-LIMIT} ${2 * LIMIT} ${2 * LIMIT}`;
    this.canvas = pictureCanvas("");
    this.map = html`
      <div class="map" tabindex="0" role="application"
        aria-label="Plane: the arrow keys move the point"
        @pointermove=${(event) => this.#moveTo(this.#pointAt(event))}
        @pointerdown=${(event) => this.#pin(event)}
        @pointerleave=${() => this.#moveTo(this.pinned)}
        @keydown=${(event) => this.#onKey(event)}>
        ${this.canvas}
        <svg viewBox=${view} aria-hidden="true"><g class="cross">
          <path d="M-0.25 0H0.25M0 -0.25V0.25" /><circle r="0.14" /></g></svg>
      </div>`;
    this.cross = this.map.querySelector(".cross");
    this.planes.node = this.map;
    return html`<figure class="card">${this.map}
      <figcaption class="hint">${this.#axisLabels()}</figcaption></figure>`;
  }

  #axisLabels() {
    const [first, second] = this.axes.map((index) => index + 1);
    return {
      [PRINCIPAL]: html`Axes: the first two principal components of the encoded test images, from
        −${LIMIT} to ${LIMIT}.`,
      [RANDOM]: html`In the middle is the image of the seed. Axes: two random directions. Compared
        with the middle, the latent vector is 1.4 times as long at the middle of an edge, 1.7 times
        at a corner.`,
      [AXES]: html`Axes: latent dimension ${first} to the right, ${second} upwards, both from
        −${LIMIT} to ${LIMIT}.`,
    }[this.directions];
  }

  #panel() {
    this.picture = pictureCanvas("the image at the point");
    this.position = html`<p class="position"></p>`;
    this.bars = new LatentBars("Latent vector of the point");
    return html`
      <section class="card detail" aria-label="The image at the point">
        <h2>The image at this point</h2>
        ${[this.picture, this.position, this.bars.node]}
        <p class="hint">Click to keep a point; the page's address then contains it. The arrow keys
          move it.</p>
      </section>`;
  }

  #askForPlane() {
    this.planes.cancel();
    this.points.cancel();
    const isReady = this.directions !== PRINCIPAL || this.version.directions;
    const [x, y] = ["x", "y"].map((axis) => this.state.number(axis, null, -LIMIT, LIMIT));
    if (isReady) this.planes.ask({ x, y });
    else this.position.textContent = missingStatistics(this.version);
  }

  /** Takes the plane that the state names, then draws its images row by row, from the middle. */
  async #drawPlane(point, signal) {
    const { version, canvas } = this;
    this.plane = {
      [PRINCIPAL]: ([latents]) => principalPlane(latents, version.directions),
      [RANDOM]: (latents) => randomPlane(latents, LIMIT),
      [AXES]: ([latents]) => axesPlane(latents, this.axes),
    }[this.directions](await this.#latentsOfPlane(signal));
    const { plane } = this;
    const at = (axis) => point[axis] ?? clamp(plane.start[axis], -LIMIT, LIMIT);
    this.pinned = { x: at("x"), y: at("y") };
    this.#moveTo(this.pinned);
    const [height, width] = version.model.shape;
    Object.assign(canvas, { width: SIDE * width, height: SIDE * height });
    const context = canvas.getContext("2d");
    const values = Array.from({ length: SIDE }, (_, i) => LIMIT * ((2 * i + 1) / SIDE - 1));
    const rows = [...values.keys()].sort((a, b) => Math.abs(values[a]) - Math.abs(values[b]));
    for (const row of rows) {
      // The image under the pointer comes first.
      while (this.points.isBusy) await new Promise((resolve) => setTimeout(resolve, REST));
      // Row 0 has the largest second coordinate, as in a plot.
      const vectors = values.map((x) => pointOfPlane(plane, x, -values[row]));
      const pictures = await version.decode(vectors, signal);
      pictures.forEach((picture, column) =>
        context.putImageData(picture.toImageData(), column * width, row * height));
    }
  }

  /** The latent vectors that the plane needs; none, if it goes through the mean of test images. */
  async #latentsOfPlane(signal) {
    const { version, seed } = this;
    if (version.model.latentDim === 2) return [new Float32Array(2)];
    if (seed === null) return [];
    const seeds = this.directions === RANDOM ? [seed, seed + 1, seed + 2] : [seed];
    return version.latents(seeds, signal);
  }

  #moveTo(point) {
    if (!this.plane) return;
    this.cross.setAttribute("transform", `translate(${point.x} ${-point.y})`);
    this.points.ask(point);
  }

  #showPoint(picture, point) {
    picture.paint(this.picture);
    Object.assign(this.picture.dataset, point);
    this.position.textContent = describe(point);
    this.picture.ariaLabel = `the image at ${describe(point)}`;
    const marked = this.directions === AXES ? this.axes : [];
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
    const [right, up] = step.map((sign) => sign * STEP * (event.shiftKey ? 5 : 1));
    this.#keep({ x: inside(this.pinned.x + right), y: inside(this.pinned.y + up) });
    announce(describe(this.pinned));
  }

  #pointAt(event) {
    const { x, y } = pointerOn(this.map, event);
    return { x: inside(LIMIT * (2 * x - 1)), y: inside(LIMIT * (1 - 2 * y)) };
  }
}

/** The nearest coordinate in the plane, with as many digits as an address has. */
function inside(value) {
  return Number(clamp(value, -LIMIT, LIMIT).toFixed(3));
}

function describe({ x, y }) {
  return `right ${decimals(x)}, up ${decimals(y)}`;
}
