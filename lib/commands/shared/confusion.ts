/**
 * A confusion matrix as text that fits the terminal.
 *
 * @module
 */
import { heading } from "./terminal.ts";

const LEAST_COLUMN = 6; // characters, of a count and a cut name
const PAIRS_SHOWN = 12;

/**
 * The lines of the table. Names are cut to make it fit; if it has too many
 * columns for that, the pairs that are confused most are listed in its place.
 *
 * @param confusion images of class [true][predicted].
 * @param width characters in a line.
 */
export function confusionText(
  confusion: readonly (readonly number[])[],
  classes: readonly string[],
  width: number,
): string[] {
  const wanted = Math.max(8, ...classes.map((name) => name.length + 2));
  const column = Math.min(wanted, Math.floor(width / (classes.length + 1)));
  if (column < LEAST_COLUMN) return confusedPairs(confusion, classes);
  const row = (cells: readonly (string | number)[]) =>
    cells.map((cell) => cut(String(cell), column - 2).padStart(column)).join(
      "",
    );
  return [
    heading("true \\ predicted"),
    row(["", ...classes]),
    ...confusion.map((counts, i) => row([classes[i]!, ...counts])),
  ];
}

/** A text of at most `most` characters. */
function cut(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most - 1)}…`;
}

function confusedPairs(
  confusion: readonly (readonly number[])[],
  classes: readonly string[],
): string[] {
  const pairs = confusion.flatMap((counts, i) =>
    counts.map((count, j) => ({ count, i, j }))
  ).filter(({ count, i, j }) => count > 0 && i !== j)
    .sort((a, b) => b.count - a.count);
  const more = pairs.length - PAIRS_SHOWN;
  return [
    heading("confused (--json has all)"),
    ...pairs.slice(0, PAIRS_SHOWN).map(({ count, i, j }) =>
      `  ${String(count).padStart(5)} of ${classes[i]} called ${classes[j]}`
    ),
    ...(pairs.length === 0 ? ["  none"] : []),
    ...(more > 0 ? [`  and ${more} more pairs`] : []),
  ];
}
