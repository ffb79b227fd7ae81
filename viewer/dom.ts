/**
 * Elements of the page: found by id, made, and filled.
 *
 * @module
 */

/** The element `id` of the page, which has it. */
export function byId<Kind extends HTMLElement = HTMLElement>(id: string): Kind {
  return document.getElementById(id) as Kind;
}

/** Attributes of an element; an absent one is left out. */
type Attributes = Record<string, string | number | boolean | undefined>;

/** Makes an element. */
export function element<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  attributes: Attributes = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[Tag] {
  const made = document.createElement(tag);
  setAttributes(made, attributes);
  made.append(...children);
  return made;
}

/** Makes an element of SVG. */
export function svg(
  tag: string,
  attributes: Attributes = {},
  ...children: (Node | string)[]
): SVGElement {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  setAttributes(made, attributes);
  made.append(...children);
  return made;
}

function setAttributes(to: Element, attributes: Attributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    to.setAttribute(name, value === true ? "" : String(value));
  }
}

/** A button with what it does. */
export function button(
  text: string,
  onClick: () => void,
  attributes: Attributes = {},
): HTMLButtonElement {
  const made = element("button", { type: "button", ...attributes }, text);
  made.addEventListener("click", onClick);
  return made;
}

/** Shows text in an element that is hidden without. */
export function say(at: HTMLElement, text: string): void {
  at.textContent = text;
}

/** A share in [0, 1] with the digits that matter. */
export function share(value: number): string {
  if (value > 0 && value < 0.0005) return value.toPrecision(1);
  return value.toFixed(3);
}

/** Bytes in words. */
export function bytesText(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const step = bytes < 1
    ? 0
    : Math.min(units.length - 1, Math.floor(Math.log10(bytes) / 3));
  const value = bytes / 1000 ** step;
  return `${value >= 10 || step === 0 ? Math.round(value) : value.toFixed(1)} ${
    units[step]
  }`;
}
