/**
 * A table done group by group, so that engines always have work and results are
 * written now and then.
 *
 * @module
 */

/** Rows of a table: from one number to before another, `size` at a time. */
export interface GroupedRows {
  from: number;
  to: number;
  size: number;
}

/**
 * What `begin` gives for the first row of each group, in order. A group is begun
 * before the one ahead of it has ended.
 */
export async function* begunAhead<Result>(
  { from, to, size }: GroupedRows,
  begin: (row: number) => Promise<Result>,
): AsyncGenerator<Result> {
  const start = (row: number) => {
    const begun = row < to ? begin(row) : undefined;
    begun?.catch(() => {}); // a failure is thrown where it is awaited
    return begun;
  };
  let next = start(from);
  try {
    for (let row = from; next; row += size) {
      const begun = next;
      next = start(row + size);
      yield await begun;
    }
  } finally {
    await next?.catch(() => {}); // the caller stopped early
  }
}

/** The items of groups, joined until `everyMs` have passed since the last. */
export async function* joined<Item>(
  groups: AsyncIterable<Item[]>,
  everyMs: number,
): AsyncGenerator<Item[]> {
  let items: Item[] = [], since = performance.now();
  for await (const group of groups) {
    items.push(...group);
    if (performance.now() - since < everyMs) continue;
    yield items;
    items = [];
    since = performance.now();
  }
  if (items.length > 0) yield items;
}
