/**
 * The confusion matrix as a table.
 *
 * @module
 */
import { element } from "./dom.ts";
import type { Scores } from "./types.ts";

/**
 * Images by true and predicted class, shaded by their share of the true one.
 *
 * @param protocol of a cross-validation.
 */
export function confusionTable(
  { confusion, classes }: Pick<Scores, "confusion" | "classes">,
  protocol?: string,
): HTMLTableElement {
  const cell = (count: number, row: readonly number[], isRight: boolean) => {
    const made = element(
      "td",
      { class: isRight ? "right" : "wrong" },
      `${count}`,
    );
    const all = row.reduce((sum, n) => sum + n, 0);
    made.style.setProperty("--share", String(count / Math.max(1, all)));
    return made;
  };
  return element(
    "table",
    { class: "confusion" },
    element(
      "caption",
      {},
      `Confusion${
        protocol ? `, ${protocol}` : ""
      }: true class by row, predicted by column`,
    ),
    element(
      "thead",
      {},
      element(
        "tr",
        {},
        element("td"),
        ...classes.map((name) => element("th", { scope: "col" }, name)),
      ),
    ),
    element(
      "tbody",
      {},
      ...confusion.map((row, i) =>
        element(
          "tr",
          {},
          element("th", { scope: "row" }, classes[i]!),
          ...row.map((count, j) => cell(count, row, i === j)),
        )
      ),
    ),
  );
}
