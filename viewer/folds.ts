/**
 * The folds of a cross-validation: a table with their curves, and their test
 * images together.
 *
 * @module
 */
import { calibrationChart, sparkline } from "./chart.ts";
import { confusionTable } from "./confusion.ts";
import { button, element, share } from "./dom.ts";
import { charts, type Fold, isEpoch, type LogLine, valuesOf } from "./log.ts";
import type { CrossValidated, Mean } from "./types.ts";

/** A fold under a protocol. */
export interface FoldName {
  protocol: string;
  fold: number;
}

const ABOUT: Record<string, string> = {
  "best-epoch": "The epoch was chosen on the fold itself: optimistic.",
  "held-out": "The epoch was chosen without the fold.",
};

/** The tables of folds, and the curves of one of them. */
export function foldParts(
  log: readonly LogLine[],
  { result, chosen, onChoose }: {
    /** Of a job that is done. */
    result: CrossValidated | undefined;
    /** Whose curves are shown; those of the latest if none is. */
    chosen: FoldName | undefined;
    onChoose: (name: FoldName) => void;
  },
): HTMLElement[] {
  // The protocol that estimates the metrics on new images is run last.
  const groups = [...Map.groupBy(log, keyOf).values()].reverse();
  const shown =
    groups.find(([line]) =>
      chosen?.protocol === line!.protocol && chosen?.fold === line!.fold
    ) ?? latest(groups);
  if (!shown) return [];
  const protocols = Map.groupBy(groups, ([line]) => line!.protocol!);
  return [...protocols].flatMap(([protocol, folds]) => {
    const pooled = result?.protocols.find((one) => one.protocol === protocol);
    const caption = `Folds, ${protocol}. ${ABOUT[protocol]}`;
    const isHere = protocol === shown[0]!.protocol;
    return [
      element(
        "div",
        { class: "folds" },
        element(
          "table",
          {},
          element("caption", {}, caption),
          head(),
          element(
            "tbody",
            {},
            ...folds.reverse().map((lines) =>
              foldRow(lines, { isShown: lines === shown, onChoose })
            ),
            ...(pooled ? [meanRow(pooled.means)] : []),
          ),
        ),
      ),
      ...(isHere ? charts(shown.filter(isEpoch)) : []),
      ...(pooled
        ? [
          confusionTable({ classes: result!.classes, ...pooled }, protocol),
          calibrationChart({ classes: result!.classes, ...pooled }, protocol),
        ]
        : []),
    ];
  });
}

function keyOf({ protocol, fold }: LogLine): string {
  return `${protocol} ${fold}`;
}

/** The fold that is trained, else the last one. */
function latest(groups: readonly LogLine[][]): LogLine[] | undefined {
  const isDone = (lines: readonly LogLine[]) =>
    lines.some(({ type }) => type === "fold");
  return groups.find((lines) => !isDone(lines)) ?? groups[0];
}

function head(): HTMLElement {
  const names = ["Fold", "Epoch", "Images", "Accuracy", "AUC", "Loss"];
  return element(
    "thead",
    {},
    element(
      "tr",
      {},
      ...names.map((name) => element("th", { scope: "col" }, name)),
    ),
  );
}

function foldRow(
  lines: readonly LogLine[],
  { isShown, onChoose }: {
    isShown: boolean;
    onChoose: (name: FoldName) => void;
  },
): HTMLElement {
  const { protocol, fold } = lines[0]! as FoldName;
  const epochs = lines.filter(isEpoch);
  const done = lines.find((line): line is Fold & LogLine =>
    line.type === "fold"
  );
  const cells = done
    ? [
      `${done.bestEpoch}`,
      `${done.images}`,
      figure(done.accuracy),
      figure(done.auc),
    ]
    : [`${epochs.at(-1)?.epoch ?? 0}…`, "", "", ""];
  return element(
    "tr",
    {},
    element(
      "th",
      { scope: "row" },
      button(`Fold ${fold}`, () => onChoose({ protocol, fold }), {
        id: `${protocol}-${fold}`,
        "aria-pressed": `${isShown}`,
      }),
    ),
    ...cells.map((text) => element("td", {}, text)),
    element(
      "td",
      {},
      sparkline(`Loss of fold ${fold}`, valuesOf(epochs, "loss")),
    ),
  );
}

function meanRow(means: Record<string, Mean>): HTMLElement {
  const cell = (name: string) => {
    const { mean, interval } = means[name] ?? { mean: null, interval: null };
    return element(
      "td",
      {},
      figure(mean),
      ...(interval
        ? [
          element("br"),
          element(
            "small",
            {},
            `${share(interval.low)} to ${share(interval.high)}`,
          ),
        ]
        : []),
    );
  };
  return element(
    "tr",
    { class: "mean" },
    element("th", { scope: "row", colspan: 3 }, "Mean, 95 % interval"),
    cell("accuracy"),
    cell("auc"),
    element("td"),
  );
}

function figure(value: number | null): string {
  return value === null ? "undefined" : share(value);
}
