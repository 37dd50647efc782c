// The guided story: six questions, each answered by a view.

import { linkTo } from "./address.js";
import { html } from "./elements.js";
import { accepts as acceptsGame } from "./game.js";

// Each step shows a view of a model that it accepts; its answer may be in a part of the view.
const STEPS = [
  { model: "vae", view: "samples", values: { seed: 1 },
    question: "Can a computer draw a digit that nobody ever wrote?",
    answer: `A variational autoencoder can. It learned from 50 000 handwritten digits how to draw a
      digit from 20 numbers; here, these are random. A new seed gives 25 new digits.` },
  { model: "vae", view: "between", values: { from: 385, to: 350, share: 0.5 },
    question: "What happens halfway between a 3 and an 8?",
    answer: `A digit that could be either. Both are lists of numbers, and so is every point between
      them. Move the slider: one becomes the other without a jump.` },
  { model: "gan", view: "samples", values: { seed: 3 },
    question: "Can you learn to draw if all you are ever told is “real” or “fake”?",
    answer: `A generative adversarial network can. One network forges digits, another one learns to
      tell them from real ones, and that answer is all that the forger learns from.` },
  { model: "flow", accepts: (model) => model.hasBitsPerDim, view: "draw",
    values: { test: 4, "model-likelihood": "flow", "version-likelihood": 1 }, part: ".scale",
    question: "How surprised is a model by this image?",
    answer: `A normalizing flow measures it, in bits for each pixel: the fewer, the more probable
      the image. Draw something that is no digit, and compare.` },
  { model: "flow-matching", view: "samples", values: { seed: 0, temperature: 0.6 },
    question: "Flow matching turns noise into digits. What if the noise is weak?",
    answer: `The digits get plainer and more alike. Move the temperature to the right: with too much
      noise, some of it stays in the images.` },
  { model: "gan", accepts: acceptsGame, view: "game", part: "[aria-label=Game]",
    values: { data: "mnist, 28 × 28", round: 6 },
    question: "Can you tell real digits from those of the models?",
    answer: "Half of these images are real. Click them, then press Check." },
];

/** The steps that these models can show, with their links. */
function stepsOf(models) {
  const steps = STEPS.map((step, i) => {
    const values = { model: step.model, version: 1, ...step.values, story: i + 1 };
    return { ...step, number: i + 1, link: linkTo(step.view, values) };
  });
  return steps.filter(({ model, accepts = () => true }) =>
    models.some((entry) => entry.name === model && accepts(entry)));
}

/** The link to the first step; nothing if these models can show none. */
export function storyLink(models) {
  return stepsOf(models)[0]?.link;
}

/**
 * The question that a state names, above its view, which is hidden until the visitor asks for the
 * answer; null if there is none. `share` is a further button.
 */
export function storyBar(state, models, view, share) {
  const steps = stepsOf(models);
  const numbers = steps.map(({ number }) => number);
  const index = numbers.indexOf(state.choice("story", numbers, null));
  if (index < 0) return null;
  const { question, answer, part } = steps[index];
  const next = steps[index + 1];
  const ends = [
    models.some(acceptsGame) && ["Play the game", linkTo("game")],
    ["See the samples", linkTo("samples")],
    ["Begin again", steps[0].link],
  ];
  const links = (next ? [["Next question", next.link]] : ends.filter(Boolean)).map(
    ([text, href]) => html`<a href=${href} class="button">${text}</a>`);
  const text = html`<p hidden>${answer}</p>`;
  const show = () => {
    text.hidden = view.hidden = false;
    button.replaceWith(html`<div class="row">${links}</div>`);
    links[0].focus();
    if (part) view.querySelector(part)?.scrollIntoView({ block: "center" });
  };
  const button = html`<button class="main" @click=${show}>Show me</button>`;
  view.hidden = true;
  return html`<section class="card story" aria-label="Story">
    <p class="hint">Story: ${index + 1} of ${steps.length}</p>
    <div class="top"><h1>${question}</h1>${share}</div>${[text, button]}</section>`;
}
