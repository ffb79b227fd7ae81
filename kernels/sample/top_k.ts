/**
 * The k best of a stream of (value, index): the larger value, at equal values
 * the lower index. A binary heap whose root is the worst one kept.
 *
 * @module
 */

/** Keeps the k best of everything offered; O(k) memory. */
export class Top {
  readonly #values: Float64Array;
  readonly #indices: Int32Array;
  #size = 0;

  constructor(readonly k: number) {
    this.#values = new Float64Array(k);
    this.#indices = new Int32Array(k);
  }

  /** A value must exceed this to be kept, if indices arrive in order. */
  get threshold(): number {
    return this.#size < this.k ? -Infinity : this.#values[0]!;
  }

  /** Indices kept so far, unordered. */
  get indices(): Int32Array {
    return this.#indices.subarray(0, this.#size);
  }

  /**
   * Keeps (value, index) if it is among the k best so far; returns true if it
   * is.
   */
  offer(value: number, index: number): boolean {
    if (this.#size < this.k) {
      this.#siftUp(this.#size++, value, index);
      return true;
    }
    const isKept = this.k > 0 && this.#worse(0, value, index);
    if (isKept) this.#siftDown(value, index);
    return isKept;
  }

  /**
   * Empties the heap, best first, into `values` and `indices`; the rest of them
   * is filled with -Infinity and -1.
   */
  drain(values: Float32Array | Float64Array, indices: Int32Array): void {
    values.fill(-Infinity);
    indices.fill(-1);
    while (this.#size > 0) {
      const last = --this.#size;
      values[last] = this.#values[0]!;
      indices[last] = this.#indices[0]!;
      this.#siftDown(this.#values[last]!, this.#indices[last]!);
    }
  }

  /** The entry at `slot` is worse than (value, index). */
  #worse(slot: number, value: number, index: number): boolean {
    const own = this.#values[slot]!;
    return own < value || (own === value && this.#indices[slot]! > index);
  }

  #siftUp(slot: number, value: number, index: number): void {
    while (slot > 0) {
      const parent = (slot - 1) >> 1;
      if (this.#worse(parent, value, index)) break;
      this.#move(parent, slot);
      slot = parent;
    }
    this.#put(slot, value, index);
  }

  #siftDown(value: number, index: number): void {
    let slot = 0;
    for (;;) {
      let child = 2 * slot + 1;
      if (child >= this.#size) break;
      const right = child + 1;
      if (
        right < this.#size &&
        this.#worse(right, this.#values[child]!, this.#indices[child]!)
      ) child = right;
      if (!this.#worse(child, value, index)) break;
      this.#move(child, slot);
      slot = child;
    }
    this.#put(slot, value, index);
  }

  #move(from: number, to: number): void {
    this.#put(to, this.#values[from]!, this.#indices[from]!);
  }

  #put(slot: number, value: number, index: number): void {
    this.#values[slot] = value;
    this.#indices[slot] = index;
  }
}
