// Samples: grids of images from a seed, of up to four models side by side.

import { rebuild, seedControl, slider, versionChoice } from "./controls.js";
import { ImageDetail } from "./detail.js";
import { html } from "./elements.js";
import { GridCard } from "./images.js";
import { MAX_SEED, decimals, imageSeeds, scaled, unsigned } from "./numbers.js";
import { saveControls } from "./save.js";

export const name = "samples";
export const title = "Samples";
export const lead = () => html`
  A model turns a <em>latent vector</em>, a list of random numbers, into an image. A <em>seed</em>
  decides which random numbers: the same seed always gives the same image. Click an image to see its
  seed and its latent vector.`;
export const mount = (...parts) => new Samples(...parts).show();

const COUNT = 25;
const SUFFIXES = ["", "2", "3", "4"];
const IS_SMALL = matchMedia("(max-width: 640px)");

class Samples {
  constructor(root, state, context, samplers) {
    Object.assign(this, { state, context, samplers });
    if (!SUFFIXES.some((suffix) => state.text(`model${suffix}`))) this.#chooseFamilies();
    this.columns = html`<div class="columns"></div>`;
    this.detail = new ImageDetail(state, context, () => this.#select(""));
    const groups = () => this.grids.map(({ version, images }) =>
      ({ title: version.title, canvases: images.canvases, columns: 5 }));
    const fileName = () => `samples-seed${this.seed}`;
    root.append(html`${this.#controls()}
      <div class="split">${[this.columns, this.detail.node]}</div>
      ${saveControls(fileName, groups)}`);
  }

  /** Chooses the visitor's own models, then one of each further family; on a phone, the first. */
  #chooseFamilies() {
    const families = this.samplers.map(({ family }) => family);
    const chosen = this.samplers.filter(({ versions, family }, i) =>
      !versions[0].shipped || families.indexOf(family) === i);
    if (IS_SMALL.matches) chosen.splice(1);
    SUFFIXES.forEach((suffix, i) => this.state.set({ [`model${suffix}`]: chosen[i]?.name }));
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
    this.grids?.forEach((grid) => grid.latest.cancel());
    this.grids = this.suffixes.map((suffix) => new SampleGrid(this, suffix));
    const nodes = this.grids.map(({ node }) => node);
    if (nodes.length < SUFFIXES.length) {
      nodes.push(html`<button class="add" @click=${() => this.#add()}>Add a model</button>`);
    }
    rebuild(this.columns, () => this.columns.replaceChildren(...nodes));
    this.#draw();
  }

  /** Shows an image, `column.index`, in the panel; an empty key closes it. */
  #select(key, edit = null) {
    this.state.set({ image: key, edit });
    this.grids.forEach((grid) => grid.mark(key));
    const [column, index] = key.split(".");
    const grid = this.grids.find((entry) => entry.key === column);
    const seed = grid?.seeds[index];
    if (key && seed === undefined) this.state.reject("image");
    if (seed === undefined) this.detail.close();
    else this.detail.show(grid.version, seed, Number(index), this.temperature);
  }

  choose(key) {
    this.#select(key);
    // The panel of a phone may cover it.
    this.columns.querySelector("[aria-pressed=true]").scrollIntoView({ block: "nearest" });
  }

  #draw() {
    this.grids.forEach((grid) => grid.draw());
    this.#select(this.state.text("image"), this.state.text("edit") || null);
  }

  #controls() {
    const change = (changes) => {
      this.state.set(changes);
      this.#draw();
    };
    const range = { min: 0.1, max: 2, step: 0.05, value: this.temperature, format: decimals };
    return html`<div class="controls">
      ${seedControl("Seed of the grid", this.seed, (seed) => change({ seed }))}
      ${slider("Temperature", range, (temperature) =>
        change({ temperature: temperature === 1 ? null : temperature }))}
      <p class="hint">The temperature scales the latent vectors: below 1, images are more typical
        and more alike.</p></div>`;
  }

  #add() {
    const shown = this.grids.map((grid) => grid.version.model.name);
    const next = this.samplers.find((model) => !shown.includes(model.name)) ?? this.samplers[0];
    const suffix = SUFFIXES.find((entry) => !this.suffixes.includes(entry));
    this.state.set({ [`model${suffix}`]: next.name });
    this.show();
  }

  remove(suffix) {
    const keys = ["model", "version", "class"].map((key) => key + suffix);
    this.state.set({ image: null, ...Object.fromEntries(keys.map((key) => [key, null])) });
    this.show();
  }
}

/** The column of one model. */
class SampleGrid extends GridCard {
  constructor(view, suffix) {
    const { state, context, samplers } = view;
    const options = { suffix, allClasses: true };
    const { version, menus } = versionChoice(samplers, state, () => view.show(), options);
    const { title: heading, model, summary, details } = version;
    if (suffix) {
      menus.push(html`<button class="close" aria-label=${`Remove ${model.name}`}
        @click=${() => view.remove(suffix)}>×</button>`);
    }
    const key = suffix || "1";
    super(context, {
      kind: "grid", count: COUNT, title: heading, family: model.family,
      controls: [html`<div class="controls">${menus}</div>`],
      notes: [html`<p class="hint">${model.familyLine}</p>`,
        summary && html`<details class="hint"><summary>${summary}</summary>${details}</details>`],
      compute: (request, signal) => this.#compute(request, signal),
      onclick: (i) => view.choose(`${key}.${i}`),
    });
    Object.assign(this, { view, key, version });
  }

  /** Shows the images of the view's seed; their names are known at once. */
  draw() {
    const { version, view } = this;
    this.seeds = imageSeeds(view.seed, COUNT).map(unsigned);
    this.images.items.forEach((item, i) => {
      const label = version.labelAt(i);
      const ofClass = label === null ? "" : ` of class ${version.model.className(label)}`;
      item.ariaLabel = `Image ${i + 1}${ofClass}, seed ${this.seeds[i]}`;
    });
    this.latest.ask({ seeds: this.seeds, temperature: view.temperature });
  }

  mark(key) {
    this.images.items.forEach((item, i) => {
      item.ariaPressed = String(key === `${this.key}.${i}`);
    });
  }

  async #compute({ seeds, temperature }, signal) {
    if (temperature === 1) return this.version.sample(seeds, signal);
    const latents = await this.version.latents(seeds, signal);
    return this.version.decode(latents.map((vector) => scaled(vector, temperature)), signal);
  }
}
