// Draw: what the models make of a drawing, of an image file, or of a test image.

import { checkbox } from "./controls.js";
import { ClassifierCard, LikelihoodCard, PosteriorCard } from "./cards.js";
import { convert, hasLightBorder } from "./convert.js";
import { announce, html } from "./elements.js";
import { drawn, pictureCanvas, realPictures } from "./images.js";
import { DrawingPad } from "./pad.js";

export const name = "draw";
export const title = "Draw";
export const lead = (models) => html`
  The other views turn latent vectors into images. This view goes the other way: draw
  ${models.every(hasDigits) ? "a digit" : "something"}, and the <em>encoder</em> of a model finds a
  latent vector for it. A classifier says what it is. A model with a likelihood says how likely the
  image is.`;
export const accepts = (model) => model.hasPosterior || model.isClassifier || model.hasBitsPerDim;
export const needs = "No model here takes images. Train one: tfgen-train vae.";
export const mount = (...parts) => new Draw(...parts);

const hasDigits = ({ dataset }) => dataset === "mnist";
// Image files are read at this many pixels on the longer side, at most.
const FILE_LIMIT = 512;
// What the state has of an image that is shown; null: nothing.
const NO_IMAGE = { strokes: null, test: null, centre: null, invert: null };

class Draw {
  constructor(root, state, context, models) {
    Object.assign(this, { state, context });
    this.cards = [
      [PosteriorCard, (model) => model.hasPosterior],
      [ClassifierCard, (model) => model.isClassifier],
      [LikelihoodCard, (model) => model.hasBitsPerDim],
    ]
      .map(([Card, isMatch]) => [Card, models.filter(isMatch)])
      .filter(([, matches]) => matches.length)
      .map(([Card, matches]) => new Card(matches, state, context, () => this.#update()));
    this.real = this.cards.map(({ version }) => version.model).find((model) => model.realAddress);
    this.source = null;
    this.pad = new DrawingPad(() => this.#onStroke());
    root.append(html`<div class="split draw">${this.#padCard(models.some(hasDigits))}
      <div class="cards">${this.cards.map(({ node }) => node)}</div></div>`);
    this.#takeDroppedFiles();
    this.#readState();
  }

  #padCard(canCentre) {
    this.seen = pictureCanvas("the drawing as the models see it");
    const setOptions = () => {
      const { centre, invert } = this.#options;
      this.state.set({ centre: Number(centre), invert: Number(invert) });
      this.#update();
    };
    this.centre = checkbox("Centre it as MNIST's digits are", setOptions);
    this.invert = checkbox("Invert light and dark", setOptions);
    this.note = html`<p class="hint"></p>`;
    const openFile = ({ target }) => target.files.length && this.#openFile(target.files[0]);
    const takeTestImage = () => this.#takeTestImage();
    return html`
      <section class="card" aria-label="Drawing">
        <h2>Draw here</h2>
        ${this.pad.canvas}
        <div class="row tools">
          <button @click=${() => this.#clear()}>Clear</button>
          <button @click=${() => this.#undo()}>Undo</button>
          ${this.real && html`<button @click=${takeTestImage}>Test image</button>`}
          <label class="button">Open a file<input type="file" accept="image/*" class="unseen"
            aria-label="Open an image file" @change=${openFile}></label>
        </div>
        ${[canCentre && this.centre, this.invert]}
        <h3>What the models see</h3>
        ${[this.seen, this.note]}
        <p class="hint">You can also drop an image file onto this page.</p>
      </section>`;
  }

  get #options() {
    return { centre: this.centre.control.checked, invert: this.invert.control.checked };
  }

  #takeDroppedFiles() {
    const { signal } = this.context;
    addEventListener("dragover", (event) => event.preventDefault(), { signal });
    const take = (event) => {
      event.preventDefault();
      const [file] = event.dataTransfer.files;
      if (file) this.#openFile(file);
      else this.note.textContent = "What you dropped is not a file.";
    };
    addEventListener("drop", take, { signal });
  }

  #readState() {
    const { state } = this;
    const strokes = state.text("strokes");
    const index = state.integer("test", -1, 0);
    this.#showOptions(index < 0);
    if (strokes && this.pad.showText(strokes)) this.#take(this.pad.pixels);
    else this.#take(null);
    if (!this.source && index >= 0 && this.real) this.#showTestImage(index);
  }

  #showOptions(centre, invert = false) {
    const asked = (key, fallback) => this.state.integer(key, Number(fallback), 0, 1) === 1;
    this.centre.control.checked = asked("centre", centre);
    this.invert.control.checked = asked("invert", invert);
  }

  #onStroke() {
    if (!this.state.text("strokes")) { // what was shown was no drawing
      if (this.state.text("test")) this.state.set(NO_IMAGE);
      this.#showOptions(true);
    }
    this.state.set({ strokes: this.pad.isEmpty ? null : this.pad.toText() });
    this.#take(this.pad.isEmpty ? null : this.pad.pixels);
  }

  #undo() {
    if (this.pad.isEmpty) this.#clear();
    else this.pad.undo();
  }

  #clear() {
    this.pad.clear();
    this.state.set(NO_IMAGE);
    this.#showOptions(true);
    this.#take(null);
  }

  #takeTestImage() {
    const index = this.state.integer("test", -1, -1) + 1;
    this.state.set({ ...NO_IMAGE, test: index });
    this.#showOptions(false);
    this.#showTestImage(index);
  }

  async #showTestImage(index) {
    try {
      const pictures = await realPictures(this.real, this.context.signal);
      const picture = pictures[index % pictures.length];
      this.pad.showImage(picture.toCanvas());
      this.#take(picture.toImageData());
      this.note.textContent = `Test image ${(index % pictures.length) + 1} of ${pictures.length}.`;
    } catch (error) {
      this.context.fail(error);
    }
  }

  async #openFile(file) {
    try {
      const context = drawn(await createImageBitmap(file), FILE_LIMIT);
      const { canvas } = context;
      const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
      this.state.set(NO_IMAGE);
      const isGrey = this.cards.some(({ version }) => version.model.shape[2] === 1);
      this.#showOptions(false, isGrey && hasLightBorder(pixels));
      this.pad.showImage(canvas);
      this.#take(pixels);
      this.note.textContent = `${file.name} stays on this machine; the link does not contain it.`;
    } catch {
      this.note.textContent = `${file.name} is not an image that this browser can read; try a PNG.`;
    }
  }

  /** Takes the pixels of an image; null: of none. */
  #take(source) {
    this.source = source;
    this.note.textContent = "";
    this.#update();
  }

  /** Shows what the models make of the image. */
  #update() {
    const { centre, invert } = this.#options;
    const pictures = this.cards.map(({ version: { model } }) => {
      const options = { centre: centre && hasDigits(model), invert };
      return this.source && convert(this.source, model.shape, options);
    });
    [this.seen.height, this.seen.width] = this.cards[0].version.model.shape;
    pictures[0]?.paint(this.seen);
    this.cards.forEach((card, i) => card.show(pictures[i]));
    if (!this.source) announce("The drawing is empty");
  }
}
