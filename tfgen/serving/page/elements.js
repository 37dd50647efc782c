// Builds the elements of the page. Styles are classes: the page allows no inline style.

const SVG = "http://www.w3.org/2000/svg";

/**
 * An HTML element. Attributes are set by name, listeners by `onclick` and the like; an attribute
 * that is null, undefined or false is left out.
 */
export function element(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** An SVG element. */
export function shape(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else setAttribute(node, name, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

/** Sets an attribute, or removes it if the value is null, undefined or false. */
export function setAttribute(node, name, value) {
  if (value === null || value === undefined || value === false) node.removeAttribute(name);
  else node.setAttribute(name, value === true ? "" : value);
}

/** Tells screen readers what happened. */
export function announce(message) {
  document.getElementById("status").textContent = message;
}

/** The paragraph at the top of a view: what it is about. */
export function lead(...children) {
  return element("p", { class: "lead" }, ...children);
}

/** A term where it is explained. */
export function term(text) {
  return element("em", {}, text);
}

/** A button that runs an action. */
export function button(label, onclick, attributes = {}) {
  return element("button", { type: "button", onclick, ...attributes }, label);
}
