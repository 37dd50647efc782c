// The panel of one image: its seed, its latent vector, and how to get it again.

import { linkTo } from "./address.js";
import { LatentBars } from "./bars.js";
import { announce, button, element } from "./elements.js";
import { download, pictureCanvas } from "./images.js";
import { ModelVersion } from "./models.js";
import { decimals, norm, scaled, shortened } from "./numbers.js";
import { Latest } from "./requests.js";
import { address } from "./source.js";

// With more dimensions, one alone changes an image only a little.
const MANY = 50;

export class ImageDetail {
  constructor(state, context, onclose) {
    this.state = state;
    this.node = element("aside", { class: "card detail", "aria-label": "Image", hidden: true });
    this.heading = element("h2");
    this.canvas = pictureCanvas("the image");
    this.facts = element("p");
    this.bars = new LatentBars("Latent vector", (index, value) => this.#edit(index, value));
    this.hint = element("p", { class: "hint" });
    this.reset = button("Undo the changes", () => this.#undo(), { hidden: true });
    this.links = element("p", { class: "links" });
    this.commands = element("div", { class: "commands" });
    const save = button("Download PNG", () => download(this.picture, this.#fileName()));
    const close = button("×", onclose, { class: "close", "aria-label": "Close the image" });
    const top = element("div", { class: "top" }, this.heading, close);
    const side = element("div", {}, this.facts, save);
    this.node.append(
      top,
      element("div", { class: "pair" }, this.canvas, side),
      element("h3", {}, "Latent vector"),
      this.bars.node,
      this.hint,
      this.reset,
      this.links,
      this.commands,
    );
    const compute = (request, signal) => this.#compute(request, signal);
    this.latest = new Latest(context, compute, (result) => this.#paint(result), this.node);
  }

  /** Shows the image of a seed, the one at `index` of its grid. */
  show(version, seed, index, temperature) {
    const fixed = new ModelVersion(version.model, version.number, version.labelAt(index));
    const key = `${fixed.title} ${fixed.label} ${seed}`;
    const isSame = key === this.key;
    Object.assign(this, { key, version: fixed, seed, temperature });
    this.changes = readChanges(this.state.text("edit"), version.model.latentDim);
    this.node.hidden = false;
    if (isSame) {
      this.latest.ask({ seed, temperature });
    } else {
      this.latents = null;
      this.latest.replace({ seed, temperature });
    }
  }

  close() {
    this.key = null;
    this.latest.cancel();
    this.node.hidden = true;
  }

  /** The latent vector with the visitor's changes. */
  get vector() {
    const vector = this.latents.slice();
    for (const [index, value] of this.changes) vector[index] = value;
    return vector;
  }

  async #compute(request, signal) {
    if (request.vector) {
      const [picture] = await this.version.decode([request.vector], signal);
      return { picture };
    }
    const [latents] = await this.version.latents([request.seed], signal);
    this.latents = scaled(latents, request.temperature);
    const isPlain = request.temperature === 1 && !this.changes.size;
    const [picture] = isPlain
      ? await this.version.sample([request.seed], signal)
      : await this.version.decode([this.vector], signal);
    return { picture };
  }

  #edit(index, value) {
    if (!this.latents) return;
    this.changes.set(index, value);
    this.#keepChanges();
    this.bars.show(this.vector, null, [...this.changes.keys()]);
    this.latest.ask({ vector: this.vector });
  }

  #undo() {
    this.changes.clear();
    this.#keepChanges();
    this.latest.replace({ seed: this.seed, temperature: this.temperature });
  }

  #keepChanges() {
    const text = [...this.changes].map((change) => change.join("~")).join("_");
    this.state.set({ edit: text || null });
  }

  #paint({ picture }) {
    this.picture = picture;
    picture.paint(this.canvas);
    const { model, label } = this.version;
    this.node.className = `card detail family-${model.family}`;
    const ofClass = label === null ? "" : `, class ${model.className(label)}`;
    const isChanged = this.changes.size > 0;
    this.heading.textContent = isChanged ? "Edited image" : "Image";
    const description = `${this.version.title}${ofClass}, seed ${this.seed}`;
    this.canvas.setAttribute("aria-label", description);
    const size = `${picture.width} × ${picture.height} pixels`;
    this.facts.replaceChildren(
      element("span", {}, this.version.title + ofClass),
      element("strong", { class: "seed-value" }, `seed ${this.seed}`),
      element("span", {}, size),
      this.temperature === 1 ? "" : element("span", {}, `temperature ${this.temperature}`),
    );
    this.bars.show(this.vector, null, [...this.changes.keys()]);
    this.hint.textContent = this.#explanation();
    this.reset.hidden = !isChanged;
    this.#showLinks();
    this.#showCommands();
    announce(`Image of ${description}${isChanged ? ", edited" : ""}`);
  }

  #explanation() {
    const { latentDim } = this.version.model;
    return (
      "Each image has its own seed, derived from the grid's seed. The seed gives the latent " +
      `vector: ${latentDim} random numbers from a normal distribution. The vector has length ` +
      `${decimals(norm(this.vector), 1)}. Drag a bar to change the image.` +
      (latentDim > MANY ? ` With ${latentDim} dimensions, one bar changes little.` : "")
    );
  }

  #showLinks() {
    const { model, number, label } = this.version;
    const values = { model: model.name, version: number, class: label };
    const between = linkTo("between", { ...values, from: this.seed });
    const plane = linkTo("plane", { ...values, seed: this.seed });
    this.links.replaceChildren(
      element("a", { href: between }, "Interpolate to another image"),
      element("a", { href: plane }, "Explore the latent space around it"),
    );
  }

  #showCommands() {
    // An edited image is of no seed, so tfgen-sample does not draw it.
    const inFile =
      !this.changes.size && command("The same image again, in a file", this.#sampleCommand());
    const overHttp = address && command("Pixel values as JSON, over HTTP", this.#curl());
    this.commands.replaceChildren(...[inFile, overHttp].filter(Boolean));
  }

  #sampleCommand() {
    const { model, number, label } = this.version;
    const parts = ["tfgen-sample", model.name, "--version", number, `--seeds=${this.seed}`];
    if (label !== null) parts.push("--label", label);
    if (this.temperature !== 1) parts.push("--temperature", this.temperature);
    if (address) parts.push("--url", address);
    return [...parts, "--out", this.#fileName()].join(" ");
  }

  #curl() {
    const { model, number, label } = this.version;
    let body = { instances: [label === null ? this.seed : { seed: this.seed, label }] };
    if (this.changes.size || this.temperature !== 1) {
      const inputs = { latents: [Array.from(this.vector, shortened)] };
      if (label !== null) inputs.label = [label];
      body = { signature_name: "decode", inputs };
    }
    const path = `v1/models/${model.name}/versions/${number}:predict`;
    return `curl -d '${JSON.stringify(body)}' ${address}/${path}`;
  }

  #fileName() {
    const edited = this.changes.size ? "-edited" : "";
    return `${this.version.model.name}-${this.version.number}-seed${this.seed}${edited}.png`;
  }
}

/** A command with a button that copies it. */
function command(label, text) {
  const code = element("code", { tabindex: 0, "aria-label": label }, text);
  const copy = button("Copy", async () => {
    // Without a secure context there is no clipboard, so the text is selected too.
    getSelection().selectAllChildren(code);
    await navigator.clipboard?.writeText(text);
    announce("Copied");
  });
  return element("div", { class: "command" }, element("h3", {}, label), code, copy);
}

/** The changed latents that an address names, `3~1.25_7~-0.5`, by index. */
function readChanges(text, latentDim) {
  const pairs = text
    .split("_")
    .filter(Boolean)
    .map((pair) => pair.split("~").map(Number));
  const isIndex = (index) => Number.isInteger(index) && index >= 0 && index < latentDim;
  return new Map(pairs.filter(([index, value]) => isIndex(index) && Number.isFinite(value)));
}
