// The controls that the views share.

import { html } from "./elements.js";
import { ALL_CLASSES, ModelVersion } from "./models.js";
import { MAX_SEED, randomSeed } from "./numbers.js";

/** What a view shows if the server could not compute what it needs of test images. */
export const NO_STATISTICS = "Statistics of test images are not available for this model.";

let controls = 0;

/** A control below its label. */
export function labelled(label, control, ...further) {
  control.id = `control-${++controls}`;
  return html`<div class="control"><label for=${control.id}>${label}</label>
    <div class="row">${[control, ...further]}</div></div>`;
}

/** A menu; `options` are pairs of a value and its text. */
export function menu(label, options, value, onchange) {
  const items = options.map(([key, text]) =>
    new Option(text, key, false, String(key) === String(value)));
  const select = html`<select @change=${() => onchange(select.value)}>${items}</select>`;
  return labelled(label, select);
}

/** A seed, and a button that takes another one. */
export function seedControl(label, value, onchange, least = 0) {
  const change = () => {
    if (input.value !== "" && input.checkValidity()) onchange(Number(input.value));
  };
  const takeAnother = () => {
    history.pushState(null, "", location.href); // so that “back” gives this seed again
    input.value = randomSeed();
    change();
  };
  const input = html`<input type="number" class="seed" inputmode="numeric" step="1"
    value=${value} min=${least} max=${MAX_SEED} @input=${change}>`;
  const control = labelled(label, input, html`<button title="Take another seed"
    aria-label=${`New ${label.toLowerCase()}`} @click=${takeAnother}>New</button>`);
  control.show = (seed) => (input.value = seed);
  return control;
}

/** A slider with its value beside it. */
export function slider(label, { min, max, step, value, format }, oninput) {
  const change = () => {
    control.show(Number(input.value));
    oninput(Number(input.value));
  };
  const output = html`<output></output>`;
  const input = html`<input type="range" min=${min} max=${max} step=${step} @input=${change}>`;
  const control = labelled(label, input, output);
  control.show = (number) => {
    input.value = number;
    output.textContent = input.ariaValueText = format(number);
  };
  control.show(value);
  return control;
}

/** A box to tick. */
export function checkbox(label, onchange) {
  return html`<label class="checkbox"><input type="checkbox" @change=${onchange}> ${label}</label>`;
}

/**
 * The version that a state names: its model, number and class.
 *
 * The values are `model`, `version` and `class`, with a suffix where a view has several of them.
 * What the state does not name is the fallback model, by default the first one, its newest
 * version, and all classes or the first one.
 */
export function chosenVersion(models, state, options = {}) {
  const { suffix = "", fallback = models[0], allClasses = false } = options;
  const name = state.text(`model${suffix}`);
  const known = models.find((entry) => entry.name === name);
  if (name && !known) state.missing.push(`model ${name}`);
  const model = known ?? fallback;
  const asked = state.integer(`version${suffix}`, model.newest);
  const isKnown = model.versions.some((version) => version.number === asked);
  if (!isKnown) state.missing.push(`${model.name} version ${asked}`);
  const number = isKnown ? asked : model.newest;
  if (!model.numClasses || model.isClassifier) return new ModelVersion(model, number);
  const first = allClasses ? ALL_CLASSES : 0;
  const label = state.integer(`class${suffix}`, first, 0, model.numClasses - 1);
  return new ModelVersion(model, number, label);
}

/** The menus of a version: model, version and class. `onchange` runs after the state changed. */
export function versionControls(models, version, state, onchange, options = {}) {
  const { suffix = "", allClasses = false } = options;
  const { model } = version;
  const chooser = (label, choices, value, changesOf) =>
    menu(label, choices, value, (chosen) => {
      state.set(changesOf(chosen));
      onchange();
    });
  const names = models.map(({ name }) => [name, name]);
  const nodes = [
    chooser("Model", names, model.name, (name) =>
      ({ [`model${suffix}`]: name, [`version${suffix}`]: null, [`class${suffix}`]: null })),
  ];
  if (model.versions.length > 1) {
    const numbers = model.versions.map(({ number, shipped }) =>
      [number, shipped ? `${number} (shipped)` : number]);
    nodes.push(chooser("Version", numbers, version.number, (number) =>
      ({ [`version${suffix}`]: number })));
  }
  if (version.label !== null) {
    const classes = Array.from({ length: model.numClasses }, (_, i) => [i, model.className(i)]);
    if (allClasses) classes.unshift([ALL_CLASSES, "all classes, in turn"]);
    nodes.push(chooser("Class", classes, version.label, (label) =>
      ({ [`class${suffix}`]: label === ALL_CLASSES ? null : label })));
  }
  return nodes;
}

/** Rebuilds a part of the page; the focus goes to the control that has the label of the old one. */
export function rebuild(root, build) {
  const labelOf = (node) => node.labels?.[0]?.textContent ?? node.ariaLabel;
  const { activeElement } = document;
  const label = root.contains(activeElement) ? labelOf(activeElement) : null;
  const alike = () =>
    [...root.querySelectorAll("select, input, button")].filter((node) => labelOf(node) === label);
  const index = label === null ? -1 : alike().indexOf(activeElement);
  build();
  if (index >= 0) alike()[index]?.focus();
}

/** The sentence that says why a view has nothing to show. */
export function emptyNote(text) {
  return html`<p class="note">${text}</p>`;
}
