// Finishes a drawing: what is drawn stays, and a model samples what is blank.

import { INK, backgroundOf } from "./convert.js";
import { html } from "./elements.js";
import { GridCard, Picture } from "./images.js";
import { ALL_CLASSES, ModelVersion } from "./models.js";
import { imageSeeds } from "./numbers.js";

const COUNT = 8;
const ROUNDS = 12;

/** The drawings that a model finished, by the rounds of `tfgen.sampling.complete`. */
export class FinishCard extends GridCard {
  constructor(model, context) {
    const version = new ModelVersion(model, model.newest, model.numClasses ? ALL_CLASSES : null);
    const title = `Finished by ${version.title}`;
    super(context, {
      kind: "grid four", count: COUNT, title, family: model.family,
      controls: [html`<h2>${title}</h2>`], notes: [],
      compute: (request, signal) => this.#finish(request, signal),
    });
    this.version = version;
    this.show(null);
  }

  /** Lets the model finish a picture with the noise of a seed; null: hides the card. */
  show(picture, seed) {
    this.node.hidden = !picture;
    if (picture) this.latest.replace({ picture, seed });
    else this.latest.cancel();
  }

  async #finish({ picture, seed }, signal) {
    const { version } = this;
    const paper = backgroundOf(picture.toImageData()) > 0 ? 255 : 0;
    const seeds = imageSeeds(seed, COUNT * (ROUNDS + 1));
    let encoded = null;
    for (let round = 0; ; round++) {
      const ofRound = seeds.filter((_, i) => i % (ROUNDS + 1) === round);
      const noise = await version.latents(ofRound, signal);
      const share = 1 - round / ROUNDS;
      const latents = encoded ? encoded.map(({ mean }, k) => mean.map((value, i) =>
        Math.sqrt(1 - share * share) * value + share * noise[k][i])) : noise;
      const decoded = await version.decode(latents, signal);
      const pictures = decoded.map((other) => withInk(other, picture, paper));
      if (round === ROUNDS) return pictures;
      this.images.paint(pictures);
      encoded = await version.encode(pictures, signal, ofRound);
    }
  }
}

/** A picture with what is drawn in another one, on a paper of a value in 0…255. */
function withInk({ bytes }, { height, width, channels, bytes: drawn }, paper) {
  return new Picture(height, width, channels, bytes.map((value, i) => {
    const start = i - (i % channels);
    const pixel = drawn.subarray(start, start + channels);
    return pixel.some((ink) => Math.abs(ink - paper) > INK) ? drawn[i] : value;
  }));
}
