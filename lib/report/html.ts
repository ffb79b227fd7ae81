/**
 * HTML by templates that escape every value, so that no text of a file can
 * become a tag.
 *
 * @module
 */

/** A piece of HTML. */
export class Html {
  constructor(readonly text: string) {}
}

/** What a template takes; a list is joined, and null is nothing. */
export type Content = Html | string | number | null | readonly Content[];

/**
 * HTML of a template.
 *
 * @example
 * ```ts
 * console.log(html`<td>${"<b>"}</td>`.text); // <td>&lt;b&gt;</td>
 * ```
 */
export function html(
  parts: TemplateStringsArray,
  ...values: readonly Content[]
): Html {
  const rest = values.map((value, i) => textOf(value) + parts[i + 1]!);
  return new Html(parts[0]! + rest.join(""));
}

const ENTITIES: Record<string, string> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

function textOf(value: Content): string {
  if (value === null) return "";
  if (value instanceof Html) return value.text;
  if (typeof value === "object") return value.map(textOf).join("");
  return String(value).replaceAll(/[&<>"']/g, (sign) => ENTITIES[sign]!);
}
