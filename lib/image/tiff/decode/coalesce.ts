/**
 * Coalesces work that is cheaper in batches: items in flight at the same time
 * are processed together.
 *
 * @module
 */

/** Work on a batch of up to `most` items, with one result each. */
interface TogetherOptions<Item, Result> {
  most: number;
  work(items: readonly Item[]): Promise<Result>[];
}

/** Items that wait for a batch as long as more are in flight. */
export class Together<Item, Result> {
  readonly #options: TogetherOptions<Item, Result>;
  #coming = 0;
  #waiting: { item: Item; resolve: (result: Promise<Result>) => void }[] = [];

  constructor(options: TogetherOptions<Item, Result>) {
    this.#options = options;
  }

  /**
   * The result of an item in flight; undefined if the item resolves to
   * undefined.
   */
  async run(coming: Promise<Item | undefined>): Promise<Result | undefined> {
    this.#coming++;
    let result: Promise<Result> | undefined;
    try {
      const item = await coming;
      if (item !== undefined) {
        const { promise, resolve } = Promise.withResolvers<Result>();
        this.#waiting.push({ item, resolve });
        result = promise;
      }
    } finally {
      this.#coming--;
      const { most } = this.#options;
      if (this.#coming === 0 || this.#waiting.length >= most) this.#start();
    }
    return await result;
  }

  #start(): void {
    const started = this.#waiting;
    this.#waiting = [];
    if (started.length === 0) return;
    const results = this.#options.work(started.map(({ item }) => item));
    for (const [i, { resolve }] of started.entries()) resolve(results[i]!);
  }
}
