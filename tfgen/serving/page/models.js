// The models of the listing, and requests to a version of one.

import { Picture } from "./images.js";
import { shortened, signed } from "./numbers.js";
import { address, predict } from "./source.js";

/** Stands for the classes 0, 1, 2, … in turn. */
export const ALL_CLASSES = "all";

/** A model of the listing. */
export class Model {
  constructor(entry) {
    // How the newest version was trained is a summary in a layman's words, and details.
    const { name, family, colour, summary, details, versions, dataset } = entry;
    Object.assign(this, { name, family, colour, summary, details, versions, dataset });
    // What the family is, in a sentence; empty for a family that is not installed.
    this.familyLine = entry.family_line;
    this.signatures = entry.signatures ?? {};
    this.shape = entry.image_shape ?? [];
    // The background of its training images: 1 is light, -1 dark, 0 neither.
    this.background = Math.sign(Math.round(3 * entry.background - 1.5));
    this.latentDim = entry.latent_dim ?? 0;
    this.numClasses = entry.num_classes ?? 0;
    this.classNames = entry.class_names ?? [];
    this.realAddress = entry.real ? entry.real.replace(/^\//, "") : null;
    // Whether a server has finished with the test images, even if there are no statistics.
    this.isMeasured = !address || Boolean(entry.test_statistics);
    this.directions = entry.test_statistics?.latent_directions ?? null;
    // Numbers by which an exported page knows latents whose images it brings, by view.
    this.preview = entry.preview ?? {};
    this.bitsPerDim = entry.test_statistics?.bits_per_dim ?? null;
    this.newest = versions[0].number;
    // What it can: draw images; classify them; encode an image as a normal distribution of latent
    // vectors; finish a drawing; measure the bits/dim of an image.
    const { features, encode, log_prob: likelihood } = this.signatures;
    this.isSampler = "latents" in this.signatures && "decode" in this.signatures;
    this.isClassifier = "logits" in (features?.outputs ?? {});
    this.hasPosterior = "stddev" in (encode?.outputs ?? {});
    this.canFinish = this.isSampler && Boolean(encode);
    this.hasBitsPerDim = "bits_per_dim" in (likelihood?.outputs ?? {});
  }

  /** What a class is called. */
  className(label) {
    const name = this.classNames[label];
    return name === undefined || name === String(label) ? String(label) : `${label} (${name})`;
  }
}

/**
 * A version of a model, and the class of its images.
 *
 * The class is null for a model without classes, and may be `ALL_CLASSES`. Images are `Picture`s,
 * latent vectors `Float32Array`s.
 */
export class ModelVersion {
  constructor(model, number, label = null) {
    Object.assign(this, { model, number, label });
    // The listing describes the newest version; of others, it has the evaluation alone.
    const { summary = "", details, directions = null, bitsPerDim = null, isMeasured = true } =
      number === model.newest ? model : {};
    Object.assign(this, { summary, details, directions, bitsPerDim, isMeasured });
    this.evaluation = model.versions.find((version) => version.number === number).evaluation;
  }

  /** What messages call it. */
  get title() {
    return `${this.model.name} version ${this.number}`;
  }

  /** The class of the image at an index; null without classes. */
  labelAt(index) {
    return this.label === ALL_CLASSES ? index % this.model.numClasses : this.label;
  }

  /** The images of seeds; a request has these as signed integers. */
  async sample(seeds, signal) {
    const { images } = await this.#call("sample", { seed: seeds.map(signed) }, signal);
    return images.map(Picture.fromValues);
  }

  /** The latent vectors of seeds. */
  async latents(seeds, signal) {
    const { latents } = await this.#call("latents", { seed: seeds.map(signed) }, signal);
    return latents.map((vector) => Float32Array.from(vector));
  }

  /** The images of latent vectors. */
  async decode(latents, signal) {
    const lists = latents.map((vector) => Array.from(vector, shortened));
    const { images } = await this.#call("decode", { latents: lists }, signal);
    return images.map(Picture.fromValues);
  }

  /** Latents of each image, its posterior's mean, and the standard deviation of `hasPosterior`. */
  async encode(pictures, signal, seeds) {
    // Versions published before 0.1.0 call the latents `mean`.
    const { mean, latents = mean, stddev } =
      await this.#callWithImages("encode", pictures, signal, seeds);
    return latents.map((vector, i) =>
      ({ mean: Float32Array.from(vector), stddev: Float32Array.from(stddev?.[i] ?? []) }));
  }

  /** The outputs of `log_prob` for a picture, with the noise of seed 0. */
  async logProb(picture, signal) {
    const outputs = await this.#callWithImages("log_prob", [picture], signal);
    return Object.fromEntries(Object.entries(outputs).map(([name, values]) => [name, values[0]]));
  }

  /** The logits of each image, for a classifier. */
  async classify(pictures, signal) {
    return (await this.#callWithImages("features", pictures, signal)).logits;
  }

  #callWithImages(signature, pictures, signal, seeds = pictures.map(() => 0)) {
    const inputs = { images: pictures.map((picture) => picture.toLists()) };
    if ("seed" in this.model.signatures[signature].inputs) inputs.seed = seeds;
    return this.#call(signature, inputs, signal);
  }

  async #call(name, inputs, signal) {
    const signature = this.model.signatures[name];
    if ("label" in signature.inputs && !("label" in inputs)) {
      const size = Object.values(inputs)[0].length;
      inputs.label = Array.from({ length: size }, (_, i) => this.labelAt(i) ?? 0);
    }
    const outputs = await predict(this.model, this.number, name, inputs, signal);
    // The only output comes without its name.
    const names = Object.keys(signature.outputs);
    return names.length === 1 ? { [names[0]]: outputs } : outputs;
  }
}
