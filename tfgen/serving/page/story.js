// The guided story: six questions, each answered by a view.

import { linkTo } from "./address.js";
import { html } from "./elements.js";

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
  { model: "gan", view: "compare", values: { data: "mnist, 28 × 28", round: 6 }, part: "[aria-label=Game]",
    question: "Can you tell real digits from those of the models?",
    answer: "Half of these are real. Click those, then Check." },
];

/** The link to the first step from a number on that these models can show; null: there is none. */
export function storyLink(models, first = 1) {
  const index = STEPS.findIndex(({ model, accepts = () => true }, i) =>
    i + 1 >= first && models.some((entry) => entry.name === model && accepts(entry)));
  if (index < 0) return null;
  const { model, view, values } = STEPS[index];
  return linkTo(view, { model, version: 1, ...values, story: index + 1 });
}

/**
 * The question of a step above its view, which is hidden until the visitor asks for the answer; null
 * if there is no step of that number.
 */
export function storyBar(number, models, view) {
  if (!STEPS[number - 1]) return null;
  const { question, answer, part } = STEPS[number - 1];
  const next = storyLink(models, Number(number) + 1);
  const link = next && html`<a href=${next} class="button">Next question</a>`;
  const text = html`<p hidden>${answer}</p>`;
  const show = () => {
    text.hidden = view.hidden = false;
    bar.querySelector("button").replaceWith(link ?? "");
    link?.focus();
    if (part) view.querySelector(part)?.scrollIntoView({ block: "center" });
  };
  const bar = html`<section class="card story" aria-label="Story">
    <p class="hint">Story</p><h2>${question}</h2>
    ${text}<button class="main" @click=${show}>Show me</button></section>`;
  view.hidden = true;
  return bar;
}
