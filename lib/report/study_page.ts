/**
 * The report of a study: its question, its table, and its figures.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { join } from "node:path";
import type { Figure, StudyRow } from "../study/rows.ts";
import { INTERVALS_TEXT } from "../study/report.ts";
import { duration, figure, megabytes } from "../words.ts";
import { type Html, html } from "./html.ts";
import type { Page } from "./page.ts";
import { bar, facts, range, table } from "./parts.ts";
import type { StudyFolder } from "./records.ts";
import { environmentSection } from "./training.ts";

/** The page of a study. */
export async function studyPage(
  { folder, results, figures }: StudyFolder,
): Promise<Page> {
  const { study, rows, done, cells, quick, command, environment, about } =
    results;
  const best =
    rows.filter(({ accuracy, unseen }) => accuracy.mean !== null && !unseen)
      .toSorted((a, b) => b.accuracy.mean! - a.accuracy.mean!)[0];
  return {
    kind: "Study",
    title: about?.title ?? study,
    lead: `${
      quick ? "A quick run, whose figures mean nothing. " : ""
    }${done} of ${cells} runs are done.`,
    figures: best
      ? [
        {
          name: "Highest accuracy",
          value: figure(best.accuracy.mean),
          note: intervalOf(best.accuracy),
        },
        {
          name: "by",
          value: best.variant,
          note: `${best.protocol}${best.baseline ? ", a baseline" : ""}`,
        },
        { name: "Variants", value: String(new Set(namesOf(rows)).size) },
      ]
      : [],
    sections: [
      {
        id: "results",
        title: "Results",
        content: html`
          ${about
            ? html`<p>${about.question}</p>`
            : null}${about?.notes.map((note) => html`<p>${note}</p>`) ??
            null}${rowsTable(rows)}<p
            class="note">${INTERVALS_TEXT}</p><h3>Compared</h3>${comparedTable(
              rows,
            )}
        `,
      },
      { id: "cost", title: "Time and memory", content: costTable(rows) },
      ...about
        ? [{
          id: "variants",
          title: "Variants",
          content: facts(
            about.variants.map(({ name, about }) => [name, about]),
          ),
        }]
        : [],
      {
        id: "figures",
        title: "Figures",
        content: await figuresOf(folder, figures, namesOf(rows)),
      },
      {
        id: "machine",
        title: "Environment",
        content: html`<p>Made by <code>${command}</code>.</p>${
          environmentSection(environment)
        }`,
      },
    ],
  };
}

function namesOf(rows: readonly StudyRow[]): string[] {
  return [...new Set(rows.map(({ variant }) => variant))];
}

function intervalOf({ low, high }: Figure): string {
  return range(low === null || high === null ? null : { low, high });
}

function withInterval(value: Figure): Html {
  return html`${figure(value.mean)} <span class="note">${
    value.low === null ? null : intervalOf(value)
  }</span>`;
}

function rowsTable(rows: readonly StudyRow[]): Html {
  const number = true;
  return table(
    [
      "Variant",
      "Protocol",
      { title: "Folds × seeds", number },
      { title: "N", number },
      { title: "Accuracy", number },
      "",
      { title: "AUC", number },
    ],
    rows.map((row) => {
      const { accuracy } = row;
      const { low, high } = accuracy;
      return [
        row.baseline
          ? html`${row.variant} <span class="note">baseline</span>`
          : row.variant,
        row.unseen ? `${row.protocol}, not chosen by` : row.protocol,
        `${row.folds} × ${row.seeds}`,
        row.samples ?? "all",
        withInterval(accuracy),
        bar(
          accuracy.mean,
          low === null || high === null ? null : { low, high },
        ),
        withInterval(row.auc),
      ];
    }),
  );
}

/** Hits of annotated objects, and differences to other variants. */
function comparedTable(rows: readonly StudyRow[]): Html {
  const number = true;
  return table(
    [
      "Variant",
      "Protocol",
      { title: "N", number },
      { title: "Hit rate", number },
      { title: "by chance", number },
      { title: "Difference in accuracy", number },
      "to",
    ],
    rows.map((row) => [
      row.variant,
      row.protocol,
      row.samples ?? "all",
      figure(row.hitRate.mean),
      figure(row.chanceHitRate.mean),
      row.accuracyDifference ? withInterval(row.accuracyDifference) : null,
      row.accuracyDifference?.against ?? null,
    ]),
  );
}

function costTable(rows: readonly StudyRow[]): Html {
  const number = true;
  return table(
    [
      "Variant",
      "Protocol",
      { title: "N", number },
      { title: "Epochs", number },
      { title: "Time a fold", number },
      { title: "CPU time a fold", number },
      { title: "Peak memory", number },
    ],
    rows.map((row) => [
      row.variant,
      row.protocol,
      row.samples ?? "all",
      row.epochs,
      duration(row.secondsPerFold),
      duration(row.cpuSecondsPerFold),
      row.peakBytes === null ? "-" : megabytes(row.peakBytes),
    ]),
  );
}

/** The recorded figures, those of a variant behind its name. */
async function figuresOf(
  folder: string,
  names: readonly string[],
  variants: readonly string[],
): Promise<Html> {
  const ofVariant = (name: string) =>
    variants.filter((variant) => name.startsWith(`${variant}-`))
      .toSorted((a, b) => b.length - a.length)[0] ?? "";
  const groups = Map.groupBy(names, ofVariant);
  const common = groups.get("") ?? [];
  const parts: Html[] = [await pictures(folder, common)];
  for (const variant of variants) {
    const own = groups.get(variant);
    if (!own) continue;
    parts.push(
      html`<details><summary>${variant}</summary>${await pictures(
        folder,
        own,
      )}</details>`,
    );
  }
  return html`${parts}`;
}

/** Files as pictures: an SVG in an <img> can neither run nor load anything. */
async function pictures(
  folder: string,
  names: readonly string[],
): Promise<Html> {
  const shown = await Promise.all(names.map(async (name) => {
    const bytes = await Deno.readFile(join(folder, "figures", name));
    const type = name.endsWith(".svg") ? "image/svg+xml" : "image/png";
    const address = `data:${type};base64,${
      Buffer.from(bytes).toString("base64")
    }`;
    return html`
      <figure class="picture"><img src="${address}" alt="${name}"></figure>
    `;
  }));
  return html`<div class="charts">${shown}</div>`;
}
