/**
 * The page around a report: one file without a script, which may load nothing.
 *
 * @module
 */
import { type Content, type Html, html } from "./html.ts";
import { STYLE } from "./style.ts";

/** A part of a report. */
export interface Section {
  /** Names it in the address of the page. */
  id: string;
  title: string;
  content: Content;
}

/** A figure at the head of a report. */
export interface KeyFigure {
  name: string;
  value: string;
  /** Its interval, or what it rests on. */
  note?: string;
}

/** The contents of a report. */
export interface Page {
  /** Run, cross-validation, study or evaluation. */
  kind: string;
  title: string;
  /** A sentence on what was done. */
  lead: string;
  figures: readonly KeyFigure[];
  sections: readonly Section[];
}

// Nothing is fetched, whatever the file holds; pictures lie in the page.
const POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'";

/** The page as a file. */
export function pageText(
  { kind, title, lead, figures, sections }: Page,
): string {
  return html`
    <!DOCTYPE html>
    <html lang="en">
      <head>
    <meta charset="utf-8">
    <meta http-equiv="Content-Security-Policy" content="${POLICY}">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="color-scheme" content="light dark">
    <title>${title}: ${kind}</title>
    ${STYLE}
      </head>
      <body>
        <header>
    <p class="kind">${kind}</p>
    <h1>${title}</h1>
    <p class="lead">${lead}</p>
    ${figures.length > 0 ? keyFigures(figures) : null}
    <nav aria-label="Sections">${sections.map(({ id, title }) =>
      html`<a href="#${id}">${title}</a>`
    )}</nav>
        </header>
        <main>
    ${sections.map(({ id, title, content }) =>
      html`
        <section id="${id}"><h2>${title}</h2>
        ${content}
        </section>
      `
    )}</main>
        <footer>Made by zoomin from the files that the run recorded. Intervals are 95 %.</footer>
      </body>
    </html>
  `.text;
}

function keyFigures(figures: readonly KeyFigure[]): Html {
  return html`<dl class="key">${
    figures.map(({ name, value, note }) =>
      html`<div><dt>${name}</dt><dd>${value}</dd>${
        note === undefined ? null : html`<dd class="note">${note}</dd>`
      }</div>`
    )
  }</dl>`;
}
