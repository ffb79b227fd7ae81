/**
 * The report of a study as Markdown: question, results and their intervals.
 *
 * @module
 */
import { count } from "../data/table.ts";
import type { Difference, Figure, StudyRow } from "./rows.ts";
import type { Study } from "./study.ts";

/** A figure of the report, by its path relative to it. */
export interface Illustration {
  title: string;
  path: string;
}

/** The contents of a report. */
export interface StudyResults {
  study: string;
  /** The command that makes it again. */
  command: string;
  environment: Record<string, unknown>;
  /** Cells that are done, of all. */
  done: number;
  cells: number;
  quick: boolean;
  rows: readonly StudyRow[];
  /** What the study asks; not recorded by older versions. */
  about?: StudyAbout;
}

/** A study in words. */
export interface StudyAbout {
  title: string;
  question: string;
  notes: readonly string[];
  variants: readonly { name: string; about: string }[];
}

/** Methods of the table's intervals. */
export const INTERVALS_TEXT =
  "Accuracy, AUC and hit rate are means over folds (of the seeds' means). The 95 % intervals of accuracy and AUC are Student's t over folds, and at least what the number of images allows: Wilson's of the share of images that are called right, Newcombe's of the AUC. One fold alone has that of its images.";

const COLUMNS_TEXT =
  "The hit rate is the share of drawn sub-tiles that hit an annotated object of the label; beside it, what uniform draws would hit. A difference is that of accuracy to the variant named under the same seeds, with its interval over folds as well. `best-epoch` is the published protocol, which chooses the epoch on the fold it reports: optimistic. `held-out` touches the fold once; `not chosen by`: of the folds by which no setting was chosen. Time is that of the CPU for training and testing a fold, since other work on the machine disturbs the clock (results.json has both); where the row is another number of sub-tiles N, for testing alone; of a teacher, without its student. N is `all` where all locations are seen. Memory is the most that the process ever held.";

/** The report of `results`. */
export function reportText(
  study: Study,
  results: StudyResults,
  illustrations: readonly Illustration[],
): string {
  const { rows } = results;
  const abouts = new Map(
    study.variants.map(({ name, about }) => [name, about]),
  );
  return [
    `# ${study.title}`,
    "",
    headline(rows),
    "",
    study.question,
    "",
    ...[...remarks(results), ...study.notes ?? []]
      .flatMap((remark) => [remark, ""]),
    `Made by \`${results.command}\`.`,
    "",
    "## Figures",
    "",
    ...table(rows, abouts),
    "",
    `${INTERVALS_TEXT} ${COLUMNS_TEXT}`,
    "",
    "## Variants",
    "",
    ...study.variants.map(({ name, about }) => `- \`${name}\`: ${about}`),
    "",
    ...illustrations.flatMap(({ title, path }) => [
      `![${title}](${path})`,
      "",
    ]),
  ].join("\n");
}

/** The first paragraph: who is best, and any baseline that beats its match. */
function headline(rows: readonly StudyRow[]): string {
  const best = rows
    .filter(({ accuracy, unseen }) => accuracy.mean !== null && !unseen)
    .toSorted((a, b) => b.accuracy.mean! - a.accuracy.mean!)[0];
  if (!best) return "No variant is done yet.";
  const highest = `The highest accuracy is ${figureText(best.accuracy)} (${
    [
      `\`${best.variant}\``,
      ...(best.baseline ? ["a baseline"] : []),
      best.protocol,
      ...(best.epochs === null ? [] : [`${best.epochs} epochs`]),
    ].join(", ")
  }).`;
  const baselines = rows.filter(({ baseline }) => baseline);
  if (baselines.length === 0) return `${highest} No baseline is done yet.`;
  const compared = baselines
    .filter(({ accuracyDifference }) => accuracyDifference !== null);
  if (compared.length === 0) {
    return `${highest} No baseline is compared yet: the variants that they are compared with are not done.`;
  }
  const winners = compared
    .filter(({ accuracyDifference }) => (accuracyDifference!.mean ?? 0) > 0);
  if (winners.length === 0) {
    return `${highest} No baseline does better than the variant it is compared with.`;
  }
  const named = winners.map(({ variant, accuracyDifference }) =>
    `\`${variant}\` by ${points(accuracyDifference!)} over \`${
      accuracyDifference!.against
    }\``
  );
  return `${highest} Baselines that win: ${named.join("; ")}.`;
}

function remarks({ done, cells, quick }: StudyResults): string[] {
  return [
    ...(quick ? ["**A quick run: the figures mean nothing.**"] : []),
    ...(done < cells
      ? [
        `**${done} of ${cells} runs are done; the others are missing, or the table has those of their folds that are done.**`,
      ]
      : []),
  ];
}

function table(
  rows: readonly StudyRow[],
  abouts: ReadonlyMap<string, string>,
): string[] {
  const head = [
    "variant",
    "protocol",
    "folds x seeds",
    "epochs",
    "N",
    "accuracy",
    "AUC",
    "hit rate (chance, ratio)",
    "difference",
    "CPU s a fold",
    "peak MB",
  ];
  const lines = rows.filter(({ variant }) => abouts.has(variant)).map((row) => [
    row.baseline ? `${row.variant} (baseline)` : row.variant,
    row.protocol,
    `${row.folds} x ${row.seeds}${row.unseen ? ", not chosen by" : ""}`,
    String(row.epochs ?? ""),
    String(row.samples ?? "all"),
    figureText(row.accuracy),
    figureText(row.auc),
    hits(row),
    row.accuracyDifference
      ? `${points(row.accuracyDifference)} to ${row.accuracyDifference.against}`
      : "",
    row.cpuSecondsPerFold.toFixed(0),
    row.peakBytes === null ? "" : (row.peakBytes / 1e6).toFixed(0),
  ]);
  return [head, head.map(() => "---"), ...lines]
    .map((cells) => `| ${cells.join(" | ")} |`);
}

function hits({ hitRate, chanceHitRate }: StudyRow): string {
  const { mean } = hitRate, chance = chanceHitRate.mean;
  if (mean === null || chance === null) return "";
  const ratio = chance > 0 ? `, ${(mean / chance).toFixed(1)}` : "";
  return `${number(mean)} (${number(chance)}${ratio})`;
}

/** A figure with its deviation and its interval. */
export function figureText({ mean, sd, low, high }: Figure): string {
  const spread = sd === null ? "" : ` +- ${number(sd)}`;
  const range = low === null ? "" : ` [${number(low)}, ${number(high)}]`;
  return `${number(mean)}${spread}${range}`;
}

function points({ mean, low, high, folds }: Difference): string {
  const signed = (value: number | null) =>
    value === null ? "-" : `${value < 0 ? "" : "+"}${value.toFixed(3)}`;
  const range = low === null ? "" : ` [${signed(low)}, ${signed(high)}]`;
  return `${signed(mean)}${range} (${count(folds, "fold")})`;
}

function number(value: number | null): string {
  return value === null ? "-" : value.toFixed(3);
}
