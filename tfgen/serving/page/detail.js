// The panel of one image: its seed, its latent vector, and how to get it again.

import { linkTo } from "./address.js";
import { LatentBars } from "./bars.js";
import { announce, html } from "./elements.js";
import { pictureCanvas } from "./images.js";
import { ModelVersion } from "./models.js";
import { decimals, norm, scaled } from "./numbers.js";
import { copyButton, saveControls } from "./save.js";
import { Latest } from "./requests.js";
import { address } from "./source.js";

export class ImageDetail {
  constructor(state, context, onclose) {
    this.state = state;
    this.heading = html`<h2>Image</h2>`;
    this.canvas = pictureCanvas("the image");
    this.facts = html`<p></p>`;
    this.bars = new LatentBars("Latent vector", (index, value) => this.#edit(index, value));
    this.explanation = html`<div></div>`;
    this.commands = html`<div></div>`;
    const save = saveControls(() => this.#fileName(),
      () => [{ canvases: [this.canvas], columns: 1 }]);
    this.node = html`
      <aside class="card detail" aria-label="Image" hidden>
        <div class="top">${this.heading}
          <button class="close" aria-label="Close the image" @click=${onclose}>×</button></div>
        <div class="pair">${[this.canvas, this.facts]}</div>
        <h3>Latent vector</h3>
        ${[this.bars.node, this.explanation, save, this.commands]}
      </aside>`;
    const compute = (request, signal) => this.#compute(request, signal);
    this.latest = new Latest(context, compute, (picture) => this.#paint(picture), this.node);
  }

  /** Shows the image of a seed, the one at `index` of its grid. */
  show(version, seed, index, temperature) {
    const fixed = new ModelVersion(version.model, version.number, version.labelAt(index));
    const key = `${fixed.title} ${fixed.label} ${seed}`;
    const isSame = key === this.key;
    Object.assign(this, { key, version: fixed, seed, temperature });
    this.changes = this.#readChanges();
    this.node.hidden = false;
    if (!isSame) {
      this.latents = null;
      this.latest.cancel();
    }
    this.latest.ask();
  }

  close() {
    this.key = null;
    this.latest.cancel();
    this.node.hidden = true;
  }

  /** The latent vector with the visitor's changes. */
  get vector() {
    const vector = scaled(this.latents, this.temperature);
    for (const [index, value] of this.changes) vector[index] = value;
    return vector;
  }

  async #compute(_, signal) {
    const { version, seed, temperature, changes } = this;
    this.latents ??= (await version.latents([seed], signal))[0];
    const isPlain = temperature === 1 && !changes.size;
    const [picture] = isPlain
      ? await version.sample([seed], signal)
      : await version.decode([this.vector], signal);
    return picture;
  }

  /** The changed latents that the address names, `3~1.25_7~-0.5`, by index. */
  #readChanges() {
    const { latentDim } = this.version.model;
    const pairs = this.state.text("edit").split("_").filter(Boolean)
      .map((pair) => pair.split("~").map(Number));
    const valid = pairs.filter(([index, value]) =>
      Number.isInteger(index) && index >= 0 && index < latentDim && Number.isFinite(value));
    if (valid.length < pairs.length) this.state.reject("edit");
    return new Map(valid);
  }

  #edit(index, value) {
    if (!this.latents) return;
    this.changes.set(index, value);
    this.#keepChanges();
    this.#showBars();
    this.latest.ask();
  }

  #undo() {
    this.changes.clear();
    this.#keepChanges();
    this.latest.replace();
  }

  #keepChanges() {
    const text = [...this.changes].map((change) => change.join("~")).join("_");
    this.state.set({ edit: text || null });
  }

  #showBars() {
    this.bars.show(this.vector, null, [...this.changes.keys()]);
  }

  #paint(picture) {
    picture.paint(this.canvas);
    const { model, label } = this.version;
    this.node.className = `card detail family-${model.family}`;
    const title = this.version.title + (label === null ? "" : `, class ${model.className(label)}`);
    const isChanged = this.changes.size > 0;
    this.heading.textContent = isChanged ? "Edited image" : "Image";
    const description = `${title}, seed ${this.seed}`;
    this.canvas.ariaLabel = description;
    this.facts.replaceChildren(html`
      <span>${title}</span><strong class="seed-value">seed ${this.seed}</strong>
      <span>${picture.width} × ${picture.height} pixels</span>
      ${this.temperature !== 1 && html`<span>temperature ${this.temperature}</span>`}`);
    this.#showBars();
    this.#explain(isChanged);
    // An edited image is of no seed, so tfgen-sample does not draw it.
    const inFile = !isChanged && command("The same image again, in a file", this.#sampleCommand());
    this.commands.replaceChildren(inFile || "");
    announce(`Image of ${description}${isChanged ? ", edited" : ""}`);
  }

  #explain(isChanged) {
    const { model, number, label } = this.version;
    const { latentDim } = model;
    const values = { model: model.name, version: number, class: label };
    const between = linkTo("between", { ...values, from: this.seed });
    const plane = linkTo("plane", { ...values, seed: this.seed });
    this.explanation.replaceChildren(html`
      <p class="hint">Each image has its own seed, derived from the grid's seed. The seed gives the
        latent vector: ${latentDim} random numbers from a normal distribution. The vector has length
        ${decimals(norm(this.vector), 1)}. Drag a bar to change the image. Where there are many
        bars, a single one changes little.</p>
      ${isChanged && html`<button @click=${() => this.#undo()}>Undo the changes</button>`}
      <p class="links"><a href=${between}>Interpolate to another image</a>
        <a href=${plane}>Explore the latent space around it</a></p>`);
  }

  #sampleCommand() {
    const { model, number, label } = this.version;
    const parts = ["tfgen-sample", model.name, "--version", number, `--seeds=${this.seed}`];
    if (label !== null) parts.push("--label", label);
    if (this.temperature !== 1) parts.push("--temperature", this.temperature);
    if (address) parts.push("--url", address);
    return [...parts, "--out", `${this.#fileName()}.png`].join(" ");
  }

  #fileName() {
    const edited = this.changes.size ? "-edited" : "";
    return `${this.version.model.name}-${this.version.number}-seed${this.seed}${edited}`;
  }
}

/** A command with a button that copies it. */
function command(label, text) {
  const code = html`<code tabindex="0" aria-label=${label}>${text}</code>`;
  return html`<div class="command"><h3>${label}</h3>${code}
    ${copyButton("Copy", "text/plain", () => text)}</div>`;
}
