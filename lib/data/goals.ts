/**
 * The labels of a manifest as its target takes them.
 *
 *     classes   a name
 *     labels    names, as in a;b; an empty cell names none
 *     value     a number
 *     ordinal   a number, the grade
 *     survival  the time, with a + if it is censored, as R's Surv prints it: 34.2
 *               and 34.2+; or the columns time and event
 *
 * @module
 */
import { shortened } from "../errors.ts";
import { type Goal, LABEL_SEPARATOR, type TargetName } from "../target.ts";

/** How the labels of a target are read. */
export interface LabelReader {
  /** True if an empty cell is a label. */
  mayBeEmpty: boolean;
  /** What is wrong with a label, and what to do; undefined: nothing. */
  fault(label: string): string | undefined;
  /** The names that a label uses; none of a number. */
  namesIn(label: string): string[];
  /** The names of the network's outputs, if no label uses any. */
  fixed?: readonly string[];
  /** A label as numbers. */
  goal(label: string, names: readonly string[]): Goal;
  /** What labels lack that nothing can be learned without; undefined: nothing. */
  lacks?(labels: readonly string[]): string | undefined;
  /** What images are dealt out by, evenly, for splits and folds. */
  strata(labels: readonly string[]): (label: string) => readonly string[];
}

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
const CENSORED = "+";

/** The parts of a label of the target `labels`, sorted, each once. */
function partsOf(label: string): string[] {
  const parts = label.split(LABEL_SEPARATOR).map((part) => part.trim());
  return [...new Set(parts.filter((part) => part !== ""))].sort();
}

/** Values a quarter, as far as each quarter has so many. */
const LEAST_OF_QUARTER = 10;

/** Quarters of sorted values; fewer parts of few values. */
function quarters(labels: readonly string[]): (label: string) => string[] {
  const sorted = Float64Array.from(labels, Number).sort();
  const parts = Math.min(
    4,
    Math.max(1, Math.floor(sorted.length / LEAST_OF_QUARTER)),
  );
  const bounds = Array.from(
    { length: parts - 1 },
    (_, i) => sorted[Math.floor((i + 1) * sorted.length / parts)]!,
  );
  return (label) => {
    const above = bounds.filter((bound) => Number(label) >= bound).length;
    return [`part ${above + 1} of ${parts} by value`];
  };
}

const READERS: Record<TargetName, LabelReader> = {
  classes: {
    mayBeEmpty: false,
    fault: () => undefined,
    namesIn: (label) => [label],
    goal: (label, names) => [names.indexOf(label)],
    strata: () => (label) => [label],
  },
  labels: {
    mayBeEmpty: true,
    fault: () => undefined,
    namesIn: partsOf,
    goal(label, names) {
      const shown = new Set(partsOf(label));
      return names.map((name) => shown.has(name) ? 1 : 0);
    },
    // As many of each label on each side, and as many without any.
    strata: () => (label) => {
      const parts = partsOf(label);
      return parts.length > 0 ? parts : [""];
    },
  },
  value: {
    mayBeEmpty: false,
    fault: (label) =>
      isNumber(label)
        ? undefined
        : "write a number, or leave the image out of the table",
    namesIn: () => [],
    fixed: ["value"],
    goal: (label) => [Number(label)],
    strata: quarters,
  },
  ordinal: {
    mayBeEmpty: false,
    fault: (label) =>
      isNumber(label)
        ? undefined
        : "grades are numbers in their order, such as 0, 1, 2: write one",
    namesIn: (label) => [label],
    goal: (label, names) => [names.indexOf(label)],
    strata: () => (label) => [label],
  },
  survival: {
    mayBeEmpty: false,
    fault: (label) =>
      isNumber(timeText(label)) && Number(timeText(label)) >= 0
        ? undefined
        : `write the time, from 0 on, with a ${CENSORED} behind it if the event was not seen`,
    namesIn: () => [],
    fixed: ["risk"],
    goal: (label) => [
      Number(timeText(label)),
      label.endsWith(CENSORED) ? 0 : 1,
    ],
    lacks: (labels) =>
      labels.every((label) => label.endsWith(CENSORED))
        ? "no event was seen"
        : undefined,
    strata: () => (label) => [
      label.endsWith(CENSORED) ? "censored" : "event",
    ],
  },
};

/** How the labels of `target` are read. */
export function labelReader(target: TargetName): LabelReader {
  return READERS[target];
}

/** What is wrong with a cell of the label, as a line of a table tells it. */
export function labelFault(
  target: TargetName,
  label: string,
  column: string,
): string | undefined {
  const advice = READERS[target].fault(label);
  return advice && `${column} is "${shortened(label)}": ${advice}`;
}

function timeText(label: string): string {
  return label.endsWith(CENSORED) ? label.slice(0, -1) : label;
}

/** True for a finite number in digits. */
export function isNumber(text: string): boolean {
  return NUMBER.test(text) && Number.isFinite(Number(text));
}

// As clinical tables write it: cBioPortal's 1:DECEASED and 0:LIVING, STAMP's and
// lifelines' 1 and 0, and words.
const EVENT_WORDS: Readonly<Record<string, boolean>> = {
  "1": true,
  "1.0": true,
  "true": true,
  "yes": true,
  "dead": true,
  "deceased": true,
  "event": true,
  "1:deceased": true,
  "0": false,
  "0.0": false,
  "false": false,
  "no": false,
  "alive": false,
  "living": false,
  "censored": false,
  "0:living": false,
};

/** The words for an event, and for none, as a message names them. */
export const EVENT_ADVICE = "write 1 if the event was seen, and 0 if not";

/**
 * The label of a time and an event.
 *
 * @returns undefined if `event` is no word for it.
 */
export function survivalLabel(time: string, event: string): string | undefined {
  const word = event.toLowerCase();
  if (!Object.hasOwn(EVENT_WORDS, word)) return undefined;
  return EVENT_WORDS[word] ? time : `${time}${CENSORED}`;
}
