// Compare: the families beside real images, and their evaluations.

import { dataChoice, rebuild, seedControl, versionChoice } from "./controls.js";
import { html, table } from "./elements.js";
import { GridCard, realPictures } from "./images.js";
import { MAX_SEED, imageSeeds, randomNumbers, shuffle } from "./numbers.js";
import { saveControls } from "./save.js";
import { address } from "./source.js";

export const name = "compare";
export const title = "Compare";
export const lead = () => html`
  How good is a model? Look at its samples beside real images, and read what tfgen-evaluate
  measured.`;

const COUNT = 16;

export function mount(root, state, context, samplers) {
  let shown = null; // ends the requests of what is shown
  const show = () => rebuild(root, () => {
    shown?.abort();
    shown = new AbortController();
    const signal = AbortSignal.any([shown.signal, context.signal]);
    root.replaceChildren(...content(samplers, state, { ...context, signal }, show));
  });
  show();
}

/** Sixteen samples of each version, sixteen real images, and the evaluations. */
function content(samplers, state, context, show) {
  const { group, real, choice } = dataChoice(samplers, state, show);
  const column = (heading, family, line, menus, compute) => {
    const controls = [html`<h2>${heading}</h2>`];
    if (menus.length) controls.push(html`<div class="controls">${menus}</div>`);
    const notes = [html`<p class="hint">${line}</p>`];
    const look = { kind: "grid four", count: COUNT, title: heading, family, controls, notes };
    const { node, latest, images } = new GridCard(context, { ...look, compute });
    return { node, latest, title: heading, canvases: images.canvases, columns: 4 };
  };
  const choices = group.map((model) =>
    versionChoice([model], state, show, { suffix: `-${model.name}`, allClasses: true }));
  const columns = choices.map(({ version, menus: [, ...menus] }) =>
    column(version.model.name, version.model.family, version.model.familyLine, menus,
      (value, signal) => version.sample(imageSeeds(value, COUNT), signal)));
  if (real) {
    const compute = async (value, signal) =>
      shuffle(await realPictures(real, signal), randomNumbers(value)).slice(0, COUNT);
    columns.unshift(column("real images", "real", "Images of the test set.", [], compute));
  }
  const seed = () => state.integer("seed", 0, 0, MAX_SEED);
  const draw = () => columns.forEach(({ latest }) => latest.replace(seed()));
  const change = (value) => {
    state.set({ seed: value });
    draw();
  };
  draw();
  return [
    html`<div class="controls">${[choice, seedControl("Seed", seed(), change)]}</div>`,
    html`<div class="columns even">${columns.map(({ node }) => node)}</div>`,
    saveControls(() => `comparison-seed${seed()}`, () => columns),
    metricsTable(choices.map(({ version }) => version)),
  ];
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
    const heading = [name, html`<span class="hint"> ${caption}</span>`];
    return [heading, ...texts.map((text) => text ?? "–")];
  });
  const headings = evaluated.map(({ model }) =>
    html`<th scope="col" class=${`family-${model.family}`}>${model.name}</th>`);
  if (hasReal) headings.unshift(html`<th scope="col">real images</th>`);
  const missing = versions.filter(({ evaluation }) => !evaluation).map(({ title, model }) =>
    html`<p class="hint">${title} is not evaluated${address &&
      html`: <code>tfgen-evaluate ${model.name}</code>`}</p>`);
  const note = "The column “real images” compares validation images with the test set.";
  return html`
    <section class="card" aria-label="Evaluations">
      <h2>What tfgen-evaluate measured</h2>
      <div class="scroll" tabindex="0" role="group" aria-label="Table of evaluations">
        ${table(headings, rows)}</div>
      ${hasReal && html`<p class="hint">${note}</p>`}${missing}
    </section>`;
}
