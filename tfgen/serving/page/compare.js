// Compare: the families beside real images, their evaluations, and a game.

import { emptyNote, noSamplerNote, seedControl } from "./controls.js";
import { announce, element, lead, term } from "./elements.js";
import { Game } from "./game.js";
import { pictureCanvas, realPictures } from "./images.js";
import { ModelVersion, ALL_CLASSES } from "./models.js";
import { MAX_SEED, imageSeeds, randomNumbers, shuffle } from "./numbers.js";
import { Latest } from "./server.js";

export const name = "compare";
export const title = "Compare";

const COUNT = 16;

// The figures of an evaluation: what they are called, how they are read, and how they are written.
const FIGURES = [
  ["fid", "FID", "distance to real images; lower is better", 2],
  ["precision", "precision", "share of samples that look real; higher is better", 2],
  ["recall", "recall", "share of real images that samples resemble; higher is better", 2],
  ["density", "density", "how many real images are around a sample; higher is better", 2],
  ["coverage", "coverage", "share of real images with a sample nearby; higher is better", 2],
];
const LIKELIHOODS = [
  ["bits_per_dim", "bits/dim", "bits to store one number of a test image; lower is better", 2],
  ["negative_elbo", "−ELBO", "nats to store a test image, an upper bound; lower is better", 1],
];

export function mount(root, state, context) {
  const samplers = context.models.filter((model) => model.isSampler);
  root.append(
    lead(
      "How good is a model? Look at its samples beside real images, read what tfgen-evaluate " +
        "measured, and then be the ",
      term("discriminator"),
      ": tell the real images from the samples. A GAN trains its generator against just that.",
    ),
  );
  if (!samplers.length) {
    root.append(noSamplerNote());
    return;
  }
  const models = comparable(samplers);
  root.append(gallery(models, state, context));
  const table = figuresTable(models);
  if (table) root.append(table);
  const real = models.find((model) => model.realAddress);
  root.append(
    real
      ? new Game(models, real, state, context).node
      : emptyNote(
          "The game needs real images. Those of these models are not on the server: start it " +
            "with --data-dir.",
        ),
  );
}

/** The models to compare: the shape and the data set of the first one. */
function comparable(samplers) {
  const order = ["vae", "gan", "flow"];
  const rank = ({ family }) => (order.includes(family) ? order.indexOf(family) : order.length);
  const first = samplers.find((model) => model.realAddress) ?? samplers[0];
  const isAlike = ({ dataset, shape }) =>
    dataset === first.dataset && String(shape) === String(first.shape);
  return samplers.filter(isAlike).sort((a, b) => rank(a) - rank(b));
}

function newestVersion(model) {
  return new ModelVersion(model, model.newest, model.numClasses ? ALL_CLASSES : null);
}

/** Sixteen samples of each model, and sixteen real images. */
function gallery(models, state, context) {
  const seed = () => state.integer("seed", 0, 0, MAX_SEED);
  const columns = models.map((model) => {
    const canvases = columnCanvases("sample");
    const node = column(model.name, canvases, model.family, model.familyLine);
    const latest = new Latest(
      context,
      (value, signal) => newestVersion(model).sample(imageSeeds(value, COUNT), signal),
      (pictures) => {
        pictures.forEach((picture, i) => picture.paint(canvases[i]));
        announce(`Samples of ${model.name}`);
      },
      node,
    );
    return { node, latest };
  });
  const nodes = columns.map(({ node }) => node);
  const real = models.find((model) => model.realAddress);
  const realCanvases = columnCanvases("real image");
  if (real) nodes.unshift(column("real images", realCanvases, "real", "Images of the test set."));
  const draw = async () => {
    columns.forEach(({ latest }) => latest.replace(seed()));
    if (!real) return;
    try {
      const pictures = await realPictures(real, context.signal);
      const chosen = shuffle(pictures, randomNumbers(seed()));
      realCanvases.forEach((canvas, i) => chosen[i]?.paint(canvas));
    } catch (error) {
      context.fail(error);
    }
  };
  const change = (value) => {
    state.set({ seed: value });
    draw();
  };
  draw();
  return element("div", {},
    element("div", { class: "controls" }, seedControl("Seed", seed(), change)),
    element("div", { class: "columns even" }, ...nodes));
}

function columnCanvases(label) {
  return Array.from({ length: COUNT }, (_, i) => pictureCanvas(`${label} ${i + 1}`));
}

function column(heading, canvases, family, line) {
  return element("section", { class: `card family-${family}`, "aria-label": heading },
    element("h2", {}, heading),
    element("div", { class: "grid four" }, ...canvases),
    element("p", { class: "hint" }, line));
}

/** The table of evaluations; null if no model has one. */
function figuresTable(models) {
  const evaluated = models.filter((model) => model.evaluation);
  if (!evaluated.length) return null;
  // The figures of real images, those of the validation set.
  const floor = evaluated.map(({ evaluation }) => evaluation.floor).find((f) => "fid" in (f ?? {}));
  const value = (figures, key, digits) =>
    typeof figures?.[key] === "number" ? figures[key].toFixed(digits) : "–";
  const row = ([key, label, meaning, digits], part) => {
    const cells = evaluated.map(({ evaluation }) => value(evaluation[part], key, digits));
    if (floor) cells.unshift(part === "samples" ? value(floor, key, digits) : "–");
    if (cells.every((cell) => cell === "–")) return null;
    const heading = element("th", { scope: "row" }, label,
      element("span", { class: "hint" }, ` ${meaning}`));
    return element("tr", {}, heading, ...cells.map((cell) => element("td", {}, cell)));
  };
  const headings = evaluated.map((model) =>
    element("th", { scope: "col", class: `family-${model.family}` }, model.name));
  if (floor) headings.unshift(element("th", { scope: "col" }, "real images"));
  const rows = [
    ...FIGURES.map((figure) => row(figure, "samples")),
    ...LIKELIHOODS.map((figure) => row(figure, "likelihood")),
  ];
  return element(
    "section",
    { class: "card", "aria-label": "Evaluations" },
    element("h2", {}, "What tfgen-evaluate measured"),
    element("div", { class: "scroll" },
      element("table", {},
        element("thead", {}, element("tr", {}, element("td"), ...headings)),
        element("tbody", {}, ...rows.filter(Boolean)))),
  );
}
