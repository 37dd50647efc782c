// Draw: what the models make of a drawing, of an image file, or of a test image.

import { checkbox, emptyNote } from "./controls.js";
import { ClassifierCard, LikelihoodCard, PosteriorCard } from "./cards.js";
import { convert, hasLightBorder } from "./convert.js";
import { announce, button, element, lead, term } from "./elements.js";
import { pictureCanvas, pixelsOf, realPictures } from "./images.js";
import { DrawingPad } from "./pad.js";

export const name = "draw";
export const title = "Draw";

// Image files are read at this many pixels on the longer side, at most.
const FILE_LIMIT = 512;

export function mount(root, state, context) {
  root.append(
    lead(
      "The other views turn latent vectors into images. This view goes the other way: draw a " +
        "digit, and the ",
      term("encoder"),
      " of a model finds a latent vector for it. A classifier says which digit it is. A model " +
        "with a likelihood says how likely the image is.",
    ),
  );
  const models = context.models;
  if (models.some((model) => model.hasPosterior || model.isClassifier || model.hasBitsPerDim)) {
    new Draw(root, state, context);
  } else {
    root.append(emptyNote("No model here takes images. Train one: tfgen-train vae."));
  }
}

class Draw {
  constructor(root, state, context) {
    Object.assign(this, { state, context });
    this.cards = [
      [PosteriorCard, (model) => model.hasPosterior],
      [ClassifierCard, (model) => model.isClassifier],
      [LikelihoodCard, (model) => model.hasBitsPerDim],
    ]
      .map(([Card, isMatch]) => [Card, context.models.filter(isMatch)])
      .filter(([, models]) => models.length)
      .map(([Card, models]) => new Card(models, state, context, () => this.#update()));
    this.source = null;
    this.pad = new DrawingPad(() => this.#onStroke());
    root.append(
      element(
        "div",
        { class: "split draw" },
        this.#padCard(),
        element("div", { class: "cards" }, ...this.cards.map(({ node }) => node)),
      ),
    );
    this.#takeDroppedFiles();
    this.#readState();
  }

  #padCard() {
    this.seen = pictureCanvas("the drawing as the models see it");
    const file = element("input", {
      type: "file",
      accept: "image/*",
      class: "unseen",
      "aria-label": "Open an image file",
      onchange: () => file.files.length && this.#openFile(file.files[0]),
    });
    this.options = {
      isCentred: checkbox("Centre it as MNIST's digits are", true, () => this.#setOptions()),
      isInverted: checkbox("Invert light and dark", false, () => this.#setOptions()),
    };
    this.note = element("p", { class: "hint" });
    const [real] = this.cards.map(({ version }) => version.model).filter((m) => m.realAddress);
    this.real = real;
    return element(
      "section",
      { class: "card", "aria-label": "Drawing" },
      element("h2", {}, "Draw here"),
      this.pad.canvas,
      element(
        "div",
        { class: "row tools" },
        button("Clear", () => this.#clear()),
        button("Undo", () => this.#undo()),
        real && button("Test image", () => this.#takeTestImage()),
        element("label", { class: "button" }, "Open a file", file),
      ),
      this.options.isCentred,
      this.options.isInverted,
      element("h3", {}, "What the models see"),
      this.seen,
      this.note,
      element("p", { class: "hint" }, "You can also drop an image file onto this page."),
    );
  }

  #takeDroppedFiles() {
    const { signal } = this.context;
    addEventListener("dragover", (event) => event.preventDefault(), { signal });
    addEventListener(
      "drop",
      (event) => {
        event.preventDefault();
        const [file] = event.dataTransfer.files;
        if (file) this.#openFile(file);
        else this.note.textContent = "What you dropped is not a file.";
      },
      { signal },
    );
  }

  async #readState() {
    const { state } = this;
    const strokes = state.text("strokes");
    const index = state.integer("test", -1, 0);
    this.#showOptions(index < 0);
    this.#show(null);
    if (strokes && this.pad.showText(strokes)) {
      this.#take({ pixels: this.pad.pixels, isDrawing: true });
    }
    if (!this.source && index >= 0 && this.real) await this.#showTestImage(index);
  }

  #showOptions(isCentred, isInverted = false) {
    const asked = (key, fallback) => (this.state.integer(key, fallback ? 1 : 0, 0, 1) === 1);
    this.options.isCentred.show(asked("centre", isCentred));
    this.options.isInverted.show(asked("invert", isInverted));
  }

  #setOptions() {
    const isTicked = (key) => Number(this.options[key].firstChild.checked);
    this.state.set({ centre: isTicked("isCentred"), invert: isTicked("isInverted") });
    this.#update();
  }

  #onStroke() {
    if (this.state.text("test")) this.state.set({ test: null, centre: null, invert: null });
    if (!this.source?.isDrawing) this.#showOptions(true);
    this.state.set({ strokes: this.pad.isEmpty ? null : this.pad.toText() });
    this.#take(this.pad.isEmpty ? null : { pixels: this.pad.pixels, isDrawing: true });
  }

  #undo() {
    if (this.pad.isEmpty) this.#clear();
    else this.pad.undo();
  }

  #clear() {
    this.pad.clear();
    this.state.set({ strokes: null, test: null, centre: null, invert: null });
    this.#showOptions(true);
    this.#take(null);
  }

  async #takeTestImage() {
    const index = this.state.integer("test", -1, -1) + 1;
    this.state.set({ strokes: null, test: index, centre: null, invert: null });
    this.#showOptions(false);
    await this.#showTestImage(index);
  }

  async #showTestImage(index) {
    try {
      const pictures = await realPictures(this.real, this.context.signal);
      const picture = pictures[index % pictures.length];
      this.pad.showImage(picture.toCanvas());
      this.#take({ pixels: picture.toImageData() });
      this.note.textContent = `Test image ${(index % pictures.length) + 1} of ${pictures.length}.`;
    } catch (error) {
      this.context.fail(error);
    }
  }

  async #openFile(file) {
    try {
      const pixels = pixelsOf(await createImageBitmap(file), FILE_LIMIT);
      this.state.set({ strokes: null, test: null, centre: null, invert: null });
      const isLight = hasLightBorder(pixels) && this.cards.some(({ isGrey }) => isGrey);
      this.#showOptions(false, isLight);
      this.pad.showImage(await createImageBitmap(pixels));
      this.#take({ pixels });
      this.note.textContent = `${file.name} stays on this machine; the link does not contain it.`;
    } catch {
      this.note.textContent = `${file.name} is not an image that this browser can read; try a PNG.`;
    }
  }

  #take(source) {
    this.source = source;
    this.note.textContent = "";
    this.#update();
  }

  #update() {
    if (!this.source) {
      this.#show(null);
      return;
    }
    const options = {
      isCentred: this.options.isCentred.firstChild.checked,
      isInverted: this.options.isInverted.firstChild.checked,
    };
    this.#show((shape) => convert(this.source.pixels, shape, options));
  }

  /** Shows what the models make of the picture that `toShape` converts; null: of none. */
  #show(toShape) {
    const { shape } = this.cards[0];
    if (toShape) toShape(shape).paint(this.seen);
    else [this.seen.height, this.seen.width] = shape;
    this.cards.forEach((entry) => entry.show(toShape ? toShape(entry.shape) : null));
    if (!toShape) announce("The drawing is empty");
  }
}
