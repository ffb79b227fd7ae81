/**
 * Reading while computing: the next item is made while this one is used.
 *
 * @module
 */

import { setImmediate } from "node:timers/promises";

/** How to get rid of what was made. */
interface AheadOptions<Result> {
  drop(result: Result): void;
}

/**
 * What `make` makes of each item, in order; one is made ahead. What is yielded
 * is dropped when the next one is asked for.
 */
export async function* ahead<Item, Result>(
  items: readonly Item[],
  make: (item: Item) => Promise<Result>,
  { drop }: AheadOptions<Result>,
): AsyncGenerator<Result> {
  const start = (index: number) => {
    const item = items[index];
    const made = item === undefined ? undefined : make(item);
    made?.catch(() => {}); // it is heard where it is awaited
    return made;
  };
  let next = start(0);
  try {
    for (let i = 0; next !== undefined; i++) {
      const made: Result = await next;
      next = start(i + 1);
      // Whoever takes this one computes at once and lets nothing else in: first
      // the next one comes to where it is decoded on another thread.
      if (next !== undefined) await setImmediate();
      try {
        yield made;
      } finally {
        drop(made);
      }
    }
  } finally {
    await next?.then(drop, () => {}); // the caller stopped early
  }
}

/** `items` in runs of at most `size`, in order. */
export function inParts<Item>(items: readonly Item[], size: number): Item[][] {
  return Array.from(
    { length: Math.ceil(items.length / size) },
    (_, i) => items.slice(i * size, (i + 1) * size),
  );
}
