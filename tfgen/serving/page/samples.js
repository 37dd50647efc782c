// Samples: grids of images from a seed, of up to three models side by side.

import { chosenVersion, noSamplerNote, rebuild, seedControl, slider,
  versionControls } from "./controls.js";
import { ImageDetail } from "./detail.js";
import { announce, button, element, lead, setAttribute, term } from "./elements.js";
import { imageButton } from "./images.js";
import { MAX_SEED, decimals, imageSeeds, scaled } from "./numbers.js";
import { Latest } from "./requests.js";

export const name = "samples";
export const title = "Samples";

const COUNT = 25;
const SUFFIXES = ["", "2", "3"];
// No image is shown in the panel.
const NONE = "none";

export function mount(root, state, context) {
  const samplers = context.models.filter((model) => model.isSampler);
  if (!samplers.length) {
    root.append(noSamplerNote());
    return;
  }
  const view = new Samples(root, state, context, samplers);
  view.show();
}

class Samples {
  constructor(root, state, context, samplers) {
    Object.assign(this, { state, context, samplers });
    this.columns = element("div", { class: "columns" });
    this.detail = new ImageDetail(state, context, () => this.#select(NONE));
    root.append(introduction(), this.#controls(), element("div", { class: "split" }, this.columns,
      this.detail.node));
  }

  get seed() {
    return this.state.integer("seed", 0, 0, MAX_SEED);
  }

  get temperature() {
    return this.state.number("temperature", 1, 0.1, 2);
  }

  /** The suffixes of the columns that are shown: the first one always. */
  get suffixes() {
    return SUFFIXES.filter((suffix) => !suffix || this.state.text(`model${suffix}`));
  }

  show() {
    this.grids?.forEach((grid) => grid.close());
    this.grids = this.suffixes.map((suffix) => new SampleGrid(this, suffix));
    const nodes = this.grids.map(({ node }) => node);
    if (nodes.length < SUFFIXES.length) nodes.push(this.#addButton());
    rebuild(this.columns, () => this.columns.replaceChildren(...nodes));
    this.#draw();
  }

  /** Shows an image, `column.index`, in the panel; `NONE` closes it. */
  #select(key, options = {}) {
    const edit = options.keepsEdit ? this.state.text("edit") || null : null;
    this.state.set({ image: key, edit });
    this.grids.forEach((grid) => grid.mark(key));
    const [column, index] = key.split(".");
    const grid = this.grids.find((entry) => entry.key === column);
    if (!grid || !(Number(index) in grid.seeds)) this.detail.close();
    else this.detail.show(grid.version, grid.seeds[index], Number(index), this.temperature);
  }

  choose(key) {
    this.#select(key);
    this.detail.node.scrollIntoView({ block: "nearest", behavior: "smooth" });
  }

  #draw() {
    this.grids.forEach((grid) => grid.draw());
    this.#select(this.state.text("image", "1.0"), { keepsEdit: true });
  }

  #controls() {
    const change = (changes) => {
      this.state.set(changes);
      this.#draw();
    };
    const range = { min: 0.1, max: 2, step: 0.05, value: this.temperature, format: decimals };
    return element(
      "div",
      { class: "controls" },
      seedControl("Seed of the grid", this.seed, (seed) => change({ seed })),
      slider("Temperature", range, (temperature) =>
        change({ temperature: temperature === 1 ? null : temperature }),
      ),
      element(
        "p",
        { class: "hint" },
        "The temperature scales the latent vectors: below 1, images are more typical and more " +
          "alike.",
      ),
    );
  }

  #addButton() {
    const add = () => {
      const shown = this.grids.map((grid) => grid.version.model.name);
      const next = this.samplers.find((model) => !shown.includes(model.name)) ?? this.samplers[0];
      const suffix = SUFFIXES.find((entry) => !this.suffixes.includes(entry));
      this.state.set({ [`model${suffix}`]: next.name });
      this.show();
    };
    return button("Add a model", add, { class: "add" });
  }

  remove(suffix) {
    const keys = ["model", "version", "class"].map((key) => key + suffix);
    this.state.set({ image: null, ...Object.fromEntries(keys.map((key) => [key, null])) });
    this.show();
  }
}

function introduction() {
  return lead(
    "A model turns a ",
    term("latent vector"),
    ", a list of random numbers, into an image. A ",
    term("seed"),
    " decides which random numbers: the same seed always gives the same image. Click an image to " +
      "see its seed and its latent vector.",
  );
}

/** The column of one model. */
class SampleGrid {
  constructor(view, suffix) {
    const { state, context, samplers } = view;
    this.view = view;
    this.key = suffix || "1";
    const options = { suffix, allClasses: true };
    this.version = chosenVersion(samplers, state, options);
    const { model } = this.version;
    this.buttons = Array.from({ length: COUNT }, (_, i) =>
      imageButton(() => view.choose(`${this.key}.${i}`)));
    this.grid = element(
      "div",
      { class: "grid", role: "group", "aria-label": `Samples of ${this.version.title}` },
      ...this.buttons,
    );
    const controls = versionControls(samplers, this.version, state, () => view.show(), options);
    if (suffix) controls.push(this.#removeButton(suffix));
    this.node = element(
      "section",
      { class: `card family-${model.family}`, "aria-label": this.version.title },
      element("div", { class: "controls" }, ...controls),
      this.grid,
      element("p", { class: "hint" }, model.familyLine),
      element("p", { class: "hint summary" }, this.version.summary),
    );
    this.seeds = [];
    const compute = (request, signal) => this.#compute(request, signal);
    this.latest = new Latest(context, compute, (pictures) => this.#paint(pictures), this.node);
  }

  draw() {
    this.seeds = imageSeeds(this.view.seed, COUNT);
    this.latest.ask({ seeds: this.seeds, temperature: this.view.temperature });
  }

  mark(key) {
    this.buttons.forEach((item, i) =>
      setAttribute(item, "aria-pressed", String(key === `${this.key}.${i}`)),
    );
  }

  close() {
    this.latest.cancel();
  }

  async #compute({ seeds, temperature }, signal) {
    if (temperature === 1) return this.version.sample(seeds, signal);
    const latents = await this.version.latents(seeds, signal);
    return this.version.decode(latents.map((vector) => scaled(vector, temperature)), signal);
  }

  #paint(pictures) {
    this.buttons.forEach((item, i) => {
      pictures[i].paint(item.firstChild);
      const label = this.version.labelAt(i);
      const ofClass = label === null ? "" : ` of class ${this.version.model.className(label)}`;
      item.setAttribute("aria-label", `Image ${i + 1}${ofClass}, seed ${this.seeds[i]}`);
    });
    announce(`${pictures.length} images of ${this.version.title}, seed ${this.view.seed}`);
  }

  #removeButton(suffix) {
    const label = `Remove ${this.version.model.name}`;
    return button("×", () => this.view.remove(suffix), { class: "close", "aria-label": label });
  }
}
