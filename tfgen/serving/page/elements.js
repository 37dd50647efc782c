// Builds the elements of the page. Styles are classes: the page allows no inline style.

import { clamp } from "./numbers.js";

// Begins an attribute that stands for a value of a template.
const MARK = "§";
const NOTHING = [null, undefined, false];

/**
 * The node of a template of HTML, or a fragment of several nodes.
 *
 * A `${value}` is a child: a node, a text, or an array of them; or the whole value of an attribute.
 * Null, undefined and false leave either out. `@click=${listener}` listens.
 */
export function html(strings, ...values) {
  const slots = values.map((_, i) =>
    strings[i].endsWith("=") ? `"${MARK}${i}"` : `<template id="${i}"></template>`);
  const template = document.createElement("template");
  template.innerHTML = String.raw({ raw: strings }, ...slots).trim();
  for (const node of template.content.querySelectorAll("*")) {
    for (const { name, value: text } of [...node.attributes]) {
      if (text.startsWith(MARK)) setAttribute(node, name, values[text.slice(MARK.length)]);
    }
  }
  const content = new DocumentFragment();
  content.append(template.content);
  for (const slot of content.querySelectorAll("template")) {
    slot.replaceWith(...[values[slot.id]].flat().filter((child) => !NOTHING.includes(child)));
  }
  return content.childNodes.length === 1 ? content.firstChild : content;
}

function setAttribute(node, name, value) {
  if (name.startsWith("@")) node.addEventListener(name.slice(1), value);
  if (name.startsWith("@") || NOTHING.includes(value)) node.removeAttribute(name);
  else node.setAttribute(name, value === true ? "" : value);
}

/** A table: the headings of its columns, and for each row a heading and texts. */
export function table(headings, rows) {
  const cell = (text) => html`<td>${text}</td>`;
  const row = ([heading, ...texts]) =>
    html`<tr><th scope="row">${heading}</th>${texts.map(cell)}</tr>`;
  return html`<table><thead><tr><td></td>${headings}</tr></thead>
    <tbody>${rows.map(row)}</tbody></table>`;
}

/** Tells screen readers what happened. */
export function announce(message) {
  document.getElementById("status").textContent = message;
}

/** Where the pointer is on a node: shares of its width and height, in 0…1. */
export function pointerOn(node, { clientX, clientY }) {
  const box = node.getBoundingClientRect();
  const x = clamp((clientX - box.left) / box.width, 0, 1);
  return { x, y: clamp((clientY - box.top) / box.height, 0, 1) };
}
