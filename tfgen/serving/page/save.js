// Saves and shares what a view shows: a picture of any size, a link.

import { menu } from "./controls.js";
import { announce, html } from "./elements.js";

const SCALES = [1, 4, 10];
// Pixels between images, pixels between groups of images, and the height of a group's title.
const [GAP, MARGIN, TITLE] = [1, 4, 24];
const NOTICE = 2000; // milliseconds that a button shows its result
// A computer has its own ways to send a file on.
const IS_TOUCHED = matchMedia("(pointer: coarse)");

/**
 * Controls that save what a view shows: a size, and buttons for a PNG and for the clipboard.
 *
 * `name()` is that of the file, without its ending. `groups()` are the images, side by side: their
 * `canvases`, row by row in `columns`, below a `title` if there are several groups.
 */
export function saveControls(name, groups) {
  let scale = SCALES.at(-1);
  const sizes = SCALES.map((value) => [value, `${value} ×`]);
  const png = () =>
    sheet(groups().filter(({ canvases }) => canvases[0].hasAttribute("width")), scale);
  const save = async () => {
    const file = new File([await png()], `${name()}.png`, { type: "image/png" });
    if (!IS_TOUCHED.matches || !share({ files: [file] })) download(file);
  };
  return html`<div class="controls save">
    ${menu("Enlarge", sizes, scale, (value) => (scale = Number(value)))}
    <button @click=${save}>Download PNG</button>
    ${copyButton("Copy image", "image/png", png)}</div>`;
}

/** A button that copies what `content` returns: a text, a blob or the promise of one. */
export function copyButton(label, type, content) {
  const copy = async () => {
    const { clipboard } = navigator; // there is none without HTTPS
    const blob = Promise.resolve(content()).then((value) => new Blob([value], { type }));
    const copying = clipboard?.write([new ClipboardItem({ [type]: blob })]);
    node.textContent = await copying?.then(() => "Copied", () => "Copying is not allowed") ??
      "Copying needs HTTPS";
    announce(node.textContent);
    setTimeout(() => (node.textContent = label), NOTICE);
  };
  const node = html`<button @click=${copy}>${label}</button>`;
  return node;
}

/** A button that shares a title and a link, or copies a text and a link. */
export function shareButton(label, copyLabel, content) {
  const text = () => [content().text, content().url].filter(Boolean).join(" ");
  return navigator.share
    ? html`<button @click=${() => share(content())}>${label}</button>`
    : copyButton(copyLabel, "text/plain", text);
}

/** Opens the phone's own sheet for what is shared; returns whether there is one. */
function share(content) {
  if (content.files && !navigator.canShare?.(content)) return false;
  navigator.share(content).catch(() => {}); // the visitor closed the sheet
  return true;
}

function download(file) {
  html`<a href=${URL.createObjectURL(file)} download=${file.name}></a>`.click();
}

/** A PNG of groups of images side by side; each pixel becomes `scale` × `scale`. */
function sheet(groups, scale) {
  const top = groups.length > 1 ? TITLE : 0;
  const [places, titles] = [[], []];
  let [left, bottom] = [0, 0];
  for (const { title, canvases, columns } of groups) {
    const [{ width, height }] = canvases;
    canvases.forEach((canvas, i) => {
      const y = Math.floor(i / columns) * (height + GAP);
      places.push([canvas, left + (i % columns) * (width + GAP), y]);
      bottom = Math.max(bottom, y + height);
    });
    titles.push([title, scale * left, TITLE - 7, scale * columns * width]);
    left += columns * (width + GAP) + MARGIN;
  }
  const context = new OffscreenCanvas(scale * (left - MARGIN - GAP), top + scale * bottom)
    .getContext("2d");
  // The background is transparent; grey is legible on a light one and on a dark one.
  Object.assign(context, { fillStyle: "#808080", font: "16px sans-serif" });
  if (top) titles.forEach((title) => context.fillText(...title));
  context.imageSmoothingEnabled = false;
  context.setTransform(scale, 0, 0, scale, 0, top);
  places.forEach((place) => context.drawImage(...place));
  return context.canvas.convertToBlob();
}
