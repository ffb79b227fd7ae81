/**
 * What a word that nobody knows was probably meant to be.
 *
 * @module
 */

// More than this many slips make another word.
const MOST_EDITS = 2;

/**
 * The one of `known` that `word` is a slip of the hand away from, in capitals
 * or not; undefined where none is.
 */
export function nearest(
  word: string,
  known: readonly string[],
  mostEdits = MOST_EDITS,
): string | undefined {
  let best: string | undefined;
  let fewest = Math.min(mostEdits, word.length - 1) + 1;
  for (const name of known) {
    // Each character too many is an edit; a word may be megabytes long.
    if (Math.abs(word.length - name.length) >= fewest) continue;
    const edits = editDistance(word.toLowerCase(), name.toLowerCase());
    if (edits >= fewest) continue;
    best = name;
    fewest = edits;
  }
  return best;
}

/** Levenshtein distance; two letters that changed places are one edit. */
function editDistance(a: string, b: string): number {
  let twoAbove: number[] = [];
  let above = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = above[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      const isSwapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] &&
        a[i - 2] === b[j - 1];
      const swapped = isSwapped ? twoAbove[j - 2]! + 1 : Infinity;
      row.push(Math.min(replaced, swapped, above[j]! + 1, row[j - 1]! + 1));
    }
    twoAbove = above;
    above = row;
  }
  return above[b.length]!;
}
