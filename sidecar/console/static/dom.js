// Makes and keeps elements. Whatever a peer has chosen is put in as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

/** Make an element: h("td", { class: "number" }, "12", otherElement). */
export function h(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** Make an SVG element. */
export function s(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Say something anew only where it is other than before: what has not changed keeps selection and focus. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Keep a parent's children in step with items: by key, so that a row that stays keeps its focus.
 * `make(item)` gives an element, `update(element, item)` brings it up to date.
 */
export function keep(parent, items, key, make, update) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const name = String(key(item));
    let child = known.get(name);
    known.delete(name);
    if (!child) {
      child = make(item);
      child.dataset.key = name;
    }
    update(child, item);
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
  }
  for (const gone of known.values()) gone.remove();
}

/** A row of a list whose cells are made once and filled again and again: [label, class]. */
export function row(columns) {
  return h("tr", {}, ...columns.map(([label, kind]) => h("td", { "data-label": label, class: kind })));
}
