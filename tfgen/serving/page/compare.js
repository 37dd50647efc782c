// Compare: the families beside real images, their evaluations, and a game.

import { emptyNote, menu, noSamplerNote, rebuild, seedControl } from "./controls.js";
import { announce, element, lead, term } from "./elements.js";
import { Game } from "./game.js";
import { pictureCanvas, realPictures } from "./images.js";
import { ModelVersion, ALL_CLASSES } from "./models.js";
import { MAX_SEED, imageSeeds, randomNumbers, shuffle } from "./numbers.js";
import { Latest } from "./requests.js";

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
  ["bits_per_dim", "bits/dim", "bits per pixel and channel of a test image; lower is better", 2],
  ["negative_elbo", "−ELBO", "nats to store a test image, an upper bound; lower is better", 1],
];

export function mount(root, state, context) {
  const samplers = context.models.filter((model) => model.isSampler);
  root.append(
    lead(
      "How good is a model? Look at its samples beside real images, read what tfgen-evaluate " +
        "measured, and then be the ",
      term("discriminator"),
      ": tell the real images from the samples. A GAN trains its generator against such a " +
        "discriminator.",
    ),
  );
  if (!samplers.length) {
    root.append(noSamplerNote());
    return;
  }
  const groups = groupsOf(samplers);
  const body = element("div");
  root.append(body);
  const show = () => rebuild(body, () => body.replaceChildren(...content(chosenGroup())));
  const chosenGroup = () => groups.find(({ key }) => key === state.text("data")) ?? groups[0];
  const choose = (key) => {
    state.set({ data: key, against: null });
    show();
  };
  const content = ({ key, models }) => {
    const keys = groups.map((group) => [group.key, group.key]);
    const choice = groups.length > 1 ? menu("Data set", keys, key, choose) : null;
    const real = models.find((model) => model.realAddress);
    const game = real
      ? new Game(models, real, state, context).node
      : emptyNote(
          "There are no real images for these models; tfgen-serve --data-dir FOLDER has them.",
        );
    return [gallery(models, state, context, choice), figuresTable(models), game].filter(Boolean);
  };
  show();
}

/** The models that can be compared with each other: those of a data set and of a shape. */
function groupsOf(samplers) {
  const keyOf = ({ dataset, shape }) =>
    `${dataset ?? "unknown"}, ${shape.slice(0, 2).join(" × ")}`;
  const groups = new Map();
  for (const model of samplers) {
    const key = keyOf(model);
    groups.set(key, [...(groups.get(key) ?? []), model]);
  }
  const hasReal = ({ models }) => models.some((model) => model.realAddress);
  return [...groups]
    .map(([key, models]) => ({ key, models }))
    .sort((a, b) => hasReal(b) - hasReal(a));
}

function newestVersion(model) {
  return new ModelVersion(model, model.newest, model.numClasses ? ALL_CLASSES : null);
}

/** Sixteen samples of each model, and sixteen real images; `choice` is a further control. */
function gallery(models, state, context, choice) {
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
    element("div", { class: "controls" }, choice, seedControl("Seed", seed(), change)),
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
    floor && element("p", { class: "hint" },
      "The column “real images”: validation images measured against the test set."),
  );
}
