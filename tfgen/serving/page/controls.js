// The controls that the views share.

import { html } from "./elements.js";
import { ALL_CLASSES, ModelVersion } from "./models.js";
import { MAX_SEED, randomSeed } from "./numbers.js";

/** Why a version has no statistics of test images. */
export function missingStatistics({ isMeasured, model }) {
  return isMeasured || !model.realAddress
    ? "There are no statistics of test images: they need a model's newest version and its data set."
    : "The server is still measuring test images; open this view again later.";
}

let controls = 0;

/** A control below its label. */
export function labelled(label, control, ...further) {
  control.id = `control-${++controls}`;
  return html`<div class="control"><label for=${control.id}>${label}</label>
    <div class="row">${[control, ...further]}</div></div>`;
}

/** A menu; `options` are values, or pairs of a value and its text. */
export function menu(label, options, value, onchange) {
  const items = options.map((option) => {
    const [key, text = key] = [option].flat();
    return new Option(text, key, false, String(key) === String(value));
  });
  const select = html`<select @change=${() => onchange(select.value)}>${items}</select>`;
  return labelled(label, select);
}

/** A seed, and a button that takes another one. */
export function seedControl(label, value, onchange, most = MAX_SEED) {
  const change = () => {
    if (input.value !== "" && input.checkValidity()) onchange(Number(input.value));
  };
  const takeAnother = () => {
    history.pushState(null, "", location.href); // so that “back” gives this seed again
    input.value = randomSeed();
    change();
  };
  const input = html`<input type="number" class="seed" inputmode="numeric" step="1"
    value=${value} min="0" max=${most} @input=${change}>`;
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
 * The version that a state names, and the menus that choose its model, number and class.
 *
 * The values are `model`, `version` and `class`, with a suffix where a view has several of them.
 * What the state does not name is the fallback model, by default the first one, its newest
 * version, and all classes or the first one. `onchange` runs after a menu changed the state.
 */
export function versionChoice(models, state, onchange, options = {}) {
  const { suffix = "", fallback = models[0], allClasses = false } = options;
  const [ofModel, ofVersion, ofClass] = ["model", "version", "class"].map((key) => key + suffix);
  const names = models.map(({ name }) => name);
  const name = state.choice(ofModel, names, fallback.name);
  const model = models[names.indexOf(name)];
  const numbers = model.versions.map(({ number }) => number);
  const number = state.choice(ofVersion, numbers);
  const labels = [...Array(model.isClassifier ? 0 : model.numClasses).keys()];
  if (allClasses && labels.length) labels.unshift(ALL_CLASSES);
  const label = labels.length ? state.choice(ofClass, labels) : null;
  const chooser = (heading, key, choices, value, further = {}) =>
    menu(heading, choices, value, (chosen) => {
      state.set({ [key]: chosen, ...further });
      onchange();
    });
  const menus = [chooser("Model", ofModel, names, name, { [ofVersion]: null, [ofClass]: null })];
  if (numbers.length > 1) {
    const texts = model.versions.map(({ shipped }, i) =>
      [numbers[i], shipped ? `${numbers[i]} (shipped)` : numbers[i]]);
    menus.push(chooser("Version", ofVersion, texts, number));
  }
  if (label !== null) {
    const texts = labels.map((value) =>
      [value, value === ALL_CLASSES ? "all classes, in turn" : model.className(value)]);
    menus.push(chooser("Class", ofClass, texts, label));
  }
  return { version: new ModelVersion(model, number, label), menus };
}

/**
 * The models of the data set that a state names, which can be compared with each other; one of them
 * with real images, if there is one; and the menu of data sets, if there are several.
 */
export function dataChoice(models, state, onchange) {
  const groups = Map.groupBy(models, ({ dataset, shape }) =>
    `${dataset ?? "unknown"}, ${shape.slice(0, 2).join(" × ")}`);
  const realOf = (key) => groups.get(key).find((model) => model.realAddress);
  const keys = [...groups.keys()].sort((a, b) => Boolean(realOf(b)) - Boolean(realOf(a)));
  const key = state.choice("data", keys);
  const choose = (data) => {
    state.set({ data, against: null });
    onchange();
  };
  const choice = keys.length > 1 ? menu("Data set", keys, key, choose) : null;
  return { key, group: groups.get(key), real: realOf(key), choice };
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
