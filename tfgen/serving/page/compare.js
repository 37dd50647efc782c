// Compare: the families beside real images, their evaluations, and a game.

import { chosenVersion, emptyNote, menu, rebuild, seedControl,
  versionControls } from "./controls.js";
import { announce, html } from "./elements.js";
import { Game } from "./game.js";
import { ImageGrid, realPictures } from "./images.js";
import { MAX_SEED, imageSeeds, randomNumbers, shuffle } from "./numbers.js";
import { saveControls } from "./save.js";
import { Latest } from "./requests.js";

export const name = "compare";
export const title = "Compare";
export const lead = () => html`
  How good is a model? Look at its samples beside real images, read what tfgen-evaluate measured,
  and then be the <em>discriminator</em>: tell the real images from the samples. A GAN trains its
  generator against such a discriminator.`;

const COUNT = 16;
export function mount(root, state, context, samplers) {
  const groups = groupsOf(samplers);
  const body = html`<div></div>`;
  root.append(body);
  const show = () => rebuild(body, () => body.replaceChildren(...content()));
  const choose = (key) => {
    state.set({ data: key, against: null });
    show();
  };
  let shown = null; // ends the requests of what is shown
  const content = () => {
    shown?.abort();
    shown = new AbortController();
    const signal = AbortSignal.any([shown.signal, context.signal]);
    const [key, models] = groups.find(([text]) => text === state.text("data")) ?? groups[0];
    const keys = groups.map(([text]) => [text, text]);
    const choice = groups.length > 1 ? menu("Data set", keys, key, choose) : null;
    const real = models.find((model) => model.realAddress);
    const columns = models.map((model) => {
      const options = { suffix: `-${model.name}`, allClasses: true };
      const version = chosenVersion([model], state, options);
      const [, ...menus] = versionControls([model], version, state, show, options);
      return { version, menus };
    });
    const versions = columns.map(({ version }) => version);
    const game = real
      ? new Game(versions, real, state, { ...context, signal }).node
      : emptyNote(
          "There are no real images for these models; tfgen-serve --data-dir FOLDER shows them.",
        );
    const samples = gallery(columns, real, state, { ...context, signal }, choice);
    return [samples, metricsTable(versions), game];
  };
  show();
}

/** The models that can be compared with each other, by data set and shape; with real ones first. */
function groupsOf(samplers) {
  const groups = Map.groupBy(samplers, ({ dataset, shape }) =>
    `${dataset ?? "unknown"}, ${shape.slice(0, 2).join(" × ")}`);
  const hasReal = ([, models]) => models.some((model) => model.realAddress);
  return [...groups].sort((a, b) => hasReal(b) - hasReal(a));
}

/** Sixteen samples of each version, and sixteen real images; `choice` is a further control. */
function gallery(columns, real, state, context, choice) {
  const seed = () => state.integer("seed", 0, 0, MAX_SEED);
  const column = (heading, family, line, menus, compute) => {
    const names = Array.from({ length: COUNT }, (_, i) => `${heading}: image ${i + 1}`);
    const images = new ImageGrid("grid four", heading, names);
    const node = html`<section class=${`card family-${family}`} aria-label=${heading}>
      <h2>${heading}</h2>${menus.length ? html`<div class="controls">${menus}</div>` : null}
      ${images.node}<p class="hint">${line}</p></section>`;
    const show = (pictures) => {
      images.paint(pictures);
      announce(`Images: ${heading}`);
    };
    const latest = new Latest(context, compute, show, node);
    return { node, latest, title: heading, canvases: images.canvases, columns: 4 };
  };
  const parts = columns.map(({ version, menus }) =>
    column(version.model.name, version.model.family, version.model.familyLine, menus,
      (value, signal) => version.sample(imageSeeds(value, COUNT), signal)));
  if (real) {
    const draw = async (value, signal) =>
      shuffle(await realPictures(real, signal), randomNumbers(value)).slice(0, COUNT);
    parts.unshift(column("real images", "real", "Images of the test set.", [], draw));
  }
  const draw = () => parts.forEach(({ latest }) => latest.replace(seed()));
  const change = (value) => {
    state.set({ seed: value });
    draw();
  };
  draw();
  return html`<div>
    <div class="controls">${[choice, seedControl("Seed", seed(), change)]}</div>
    <div class="columns even">${parts.map(({ node }) => node)}</div>
    ${saveControls(() => `comparison-seed${seed()}`, () => parts)}</div>`;
}

/** The table of evaluations, and which versions have none. */
function metricsTable(versions) {
  const evaluated = versions.filter(({ evaluation }) => evaluation);
  // Each evaluation lists all metrics, in one order. A likelihood is named by what it is of.
  const metrics = (evaluated[0]?.evaluation ?? []).flatMap((_, i) =>
    [...Map.groupBy(evaluated.map(({ evaluation }) => evaluation[i]), ({ name }) => name).values()]
      .filter((values) => values.some(({ value }) => value)));
  const hasReal = metrics.flat().some(({ real }) => real);
  const rows = metrics.map((values) => {
    const [{ name, caption }] = values;
    const texts = evaluated.map(({ evaluation }) =>
      evaluation.find((metric) => metric.name === name)?.value);
    if (hasReal) texts.unshift(values.find(({ real }) => real)?.real);
    const cells = texts.map((text) => html`<td>${text ?? "–"}</td>`);
    const heading = html`<th scope="row">${name}<span class="hint"> ${caption}</span></th>`;
    return html`<tr>${[heading, ...cells]}</tr>`;
  });
  const headings = evaluated.map(({ model }) =>
    html`<th scope="col" class=${`family-${model.family}`}>${model.name}</th>`);
  if (hasReal) headings.unshift(html`<th scope="col">real images</th>`);
  const missing = versions.filter(({ evaluation }) => !evaluation).map(({ title, model }) =>
    html`<p class="hint">${title} is not evaluated: <code>tfgen-evaluate ${model.name}</code></p>`);
  const explanation = html`<p class="hint">The column “real images”: validation images measured
    against the test set.</p>`;
  return html`
    <section class="card" aria-label="Evaluations">
      <h2>What tfgen-evaluate measured</h2>
      <div class="scroll" tabindex="0" role="group" aria-label="Table of evaluations">
        <table><thead><tr><td></td>${headings}</tr></thead>
        <tbody>${rows}</tbody></table></div>
      ${hasReal && explanation}${missing}
    </section>`;
}
