// Learning: the samples of a run while it was trained, and its curves.

import { menu, rebuild, slider } from "./controls.js";
import { html } from "./elements.js";

export const name = "learning";
export const title = "Learning";
export const lead = () => html`
  A model begins with noise and learns for many <em>epochs</em>: in each, it sees all training
  images once. Move the slider through the epochs of a run: the seeds stay the same, so what changes
  is what the model has learned.`;
export const accepts = (run) => Boolean(run.epochs);

export function mount(root, state, _, runs) {
  const show = () => {
    const names = runs.map((entry) => entry.name);
    const run = state.choice("run", names);
    const { epochs } = runs[names.indexOf(run)];
    const image = html`<img>`;
    const showEpoch = (index) => {
      state.set({ at: index });
      image.src = `page/runs/${run}/${epochs[index]}.png`;
      image.alt = `Samples of ${run} after ${epochs[index]} epochs`;
    };
    const choose = (chosen) => {
      state.set({ run: chosen, at: null });
      rebuild(root, show);
    };
    const max = epochs.length - 1;
    const value = state.integer("at", max, 0, max);
    const range = { min: 0, max, step: 1, value, format: (index) => epochs[index] };
    showEpoch(value);
    root.replaceChildren(html`<div class="controls">${menu("Run", names, run, choose)}
      ${slider("Epochs", range, showEpoch)}</div><div class="learning">
      ${image}<div class="scroll" tabindex="0" role="group" aria-label="Curves of the run">
      <img src=${`page/runs/${run}/curves.png`} alt=${`Curves of ${run}`}></div></div>`);
  };
  show();
}
