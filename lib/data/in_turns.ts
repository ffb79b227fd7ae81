/**
 * Work on many files, some hundred at a time.
 *
 * @module
 */

// Files looked at together: as many as keep a disk busy.
const TOGETHER = 256;

/** Does `work` on every item, on {@linkcode TOGETHER} of them at a time. */
export async function inTurns<Item>(
  items: readonly Item[],
  work: (item: Item) => Promise<void>,
): Promise<void> {
  for (let at = 0; at < items.length; at += TOGETHER) {
    await Promise.all(items.slice(at, at + TOGETHER).map(work));
  }
}
