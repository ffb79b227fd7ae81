/**
 * Prefetch: the next item is made while this one is used.
 *
 * @module
 */

import { setImmediate } from "node:timers/promises";

/** Options of {@linkcode prefetched}. */
interface PrefetchOptions<Result> {
  /** Frees a result. */
  drop(result: Result): void;
}

/**
 * The result of `make` for each item, in order, with one prefetched. A yielded
 * result is dropped when the next one is asked for.
 */
export async function* prefetched<Item, Result>(
  items: readonly Item[],
  make: (item: Item) => Promise<Result>,
  { drop }: PrefetchOptions<Result>,
): AsyncGenerator<Result> {
  const start = (index: number) => {
    const item = items[index];
    const made = item === undefined ? undefined : make(item);
    made?.catch(() => {}); // a failure is thrown where it is awaited
    return made;
  };
  let next = start(0);
  try {
    for (let i = 0; next !== undefined; i++) {
      const made: Result = await next;
      next = start(i + 1);
      // The caller computes at once and lets nothing else run: first let the
      // next one start to be decoded on another thread.
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

/** `items` in chunks of at most `size`, in order. */
export function chunksOf<Item>(items: readonly Item[], size: number): Item[][] {
  return Array.from(
    { length: Math.ceil(items.length / size) },
    (_, i) => items.slice(i * size, (i + 1) * size),
  );
}
