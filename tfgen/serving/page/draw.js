// Draw: what the models make of a drawing, of an image file, or of a test image.

import { checkbox } from "./controls.js";
import { ClassifierCard, LikelihoodCard, PosteriorCard } from "./cards.js";
import { backgroundOf, convert } from "./convert.js";
import { announce, html } from "./elements.js";
import { FinishCard } from "./finish.js";
import { drawn, pictureCanvas, realPictures } from "./images.js";
import { DrawingPad } from "./pad.js";

export const name = "draw";
export const title = "Draw";
export const lead = (models) => html`
  The other views turn latent vectors into images. This view goes the other way: draw
  ${models.every(hasDigits) ? "a digit" : "something"}, and the <em>encoder</em> of a model finds a
  latent vector for it. A classifier says what it is.
  ${models.some((model) => model.hasBitsPerDim) && "A likelihood says how typical it is."}`;
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
    this.finishing = models.filter((model) => model.canFinish).map((model) =>
      new FinishCard(model, context));
    this.pad = new DrawingPad(() => this.#onStroke());
    root.append(html`<div class="split draw">${this.#padCard(models.some(hasDigits))}
      <div class="cards">${[...this.finishing, ...this.cards].map(({ node }) => node)}</div></div>`);
    this.#readState();
  }

  #padCard(canCentre) {
    this.seen = pictureCanvas("the drawing as the models see it");
    const setOptions = () => {
      const isTicked = ({ control }) => Number(control.checked);
      this.state.set({ centre: isTicked(this.centre), invert: isTicked(this.invert) });
      this.#update();
    };
    this.centre = checkbox("Centre it as MNIST's digits are", setOptions);
    this.invert = checkbox("Invert light and dark", setOptions);
    this.note = html`<p class="hint"></p>`;
    const openFile = ({ target }) => target.files.length && this.#openFile(target.files[0]);
    return html`
      <section class="card" aria-label="Drawing">
        <h2>Draw here</h2>
        ${this.pad.canvas}
        <div class="row tools">
          <button @click=${() => this.#clear()}>Clear</button>
          <button @click=${() => this.#undo()}>Undo</button>
          ${this.real && html`<button @click=${() => this.#takeTestImage()}>Test image</button>`}
          <label class="button">Open a file<input type="file" accept="image/*" class="unseen"
            aria-label="Open an image file" @change=${openFile}></label>
        </div>
        ${this.finishing.length && html`<button class="main" @click=${() => this.#finish()}>Let
          the models finish it</button>
          <p class="hint">What you drew stays where it is; the models sample the rest. Press again
            for others.</p>`}
        ${[canCentre && this.centre, this.invert]}
        <h3>What the models see</h3>
        ${[this.seen, this.note]}
      </section>`;
  }

  #readState() {
    const strokes = this.state.text("strokes");
    const index = this.state.integer("test", -1, 0);
    const isDrawing = strokes && this.pad.showText(strokes);
    if (strokes && !isDrawing) this.state.reject("strokes");
    this.#take(null);
    if (isDrawing || index < 0) return;
    if (this.real) this.#showTestImage(index);
    else this.state.reject("test");
  }

  #onStroke() {
    if (this.image) this.state.set(NO_IMAGE);
    this.state.set({ strokes: this.pad.isEmpty ? null : this.pad.toText() });
    this.#take(null);
  }

  #undo() {
    if (this.pad.isEmpty) this.#clear();
    else this.pad.undo();
  }

  #clear() {
    this.pad.clear();
    this.state.set(NO_IMAGE);
    this.#take(null);
  }

  #takeTestImage() {
    const index = this.state.integer("test", -1, -1) + 1;
    this.state.set({ ...NO_IMAGE, test: index });
    this.#showTestImage(index);
  }

  async #showTestImage(index) {
    try {
      const pictures = await realPictures(this.real, this.context.signal);
      const picture = pictures[index % pictures.length];
      this.pad.showImage(picture.toCanvas());
      this.#take({ pixels: picture.toImageData(), background: this.real.background });
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
      this.pad.showImage(canvas);
      this.#take({ pixels, background: backgroundOf(pixels) });
      this.note.textContent = `${file.name} stays on this machine; the link does not contain it.`;
    } catch {
      this.note.textContent = `${file.name} is not an image that this browser can read; try a PNG.`;
    }
  }

  #finish() {
    this.finishing.forEach((card) => card.show(this.read(card.version.model, false), this.seed));
    this.seed += 1;
    this.finishing[0].node.scrollIntoView({ block: "nearest" });
  }

  /** Takes the pixels and the background of an image; null: the drawing. */
  #take(image) {
    this.image = image;
    this.note.textContent = "";
    this.#update();
  }

  /** Shows what the models make of the image or of the drawing. */
  #update() {
    const models = this.cards.map(({ version }) => version.model);
    if (!this.image) this.pad.setPaper(models[0].background > 0);
    const { pixels, background } = this.image ?? this.pad;
    // The colours of a photograph are kept.
    const isOpposite = ({ background: own, shape }) =>
      own * background < 0 && (!this.image || shape[2] === 1);
    const asked = (key, fallback) => this.state.integer(key, Number(fallback), 0, 1) === 1;
    const centre = (this.centre.control.checked = asked("centre", !this.image));
    // The box is about what the first model sees.
    const invert = (this.invert.control.checked = asked("invert", isOpposite(models[0])));
    const isUsual = invert === isOpposite(models[0]);
    // A part of a digit is not centred as a whole one is.
    this.read = (model, isWhole) => convert(pixels, model,
      { centre: isWhole && centre && hasDigits(model), invert: isOpposite(model) === isUsual });
    const pictures = models.map((model) => this.read(model, true));
    pictures[0].paint(this.seen);
    this.finishing.forEach((card) => card.show(null));
    this.seed = 0;
    const isEmpty = !this.image && this.pad.isEmpty;
    this.cards.forEach((card, i) => card.show(isEmpty ? null : pictures[i]));
    if (isEmpty) announce("The drawing is empty");
  }
}
