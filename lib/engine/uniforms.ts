/**
 * The uniforms of the dispatches of one submission, in one buffer.
 *
 * A write of its own for each dispatch costs the host more than the dispatch.
 *
 * @module
 */
import type { UniformField } from "../../kernels/gpu.ts";
import type { BufferPool } from "./buffer_pool.ts";

const USAGE = GPUBufferUsage.COPY_DST | GPUBufferUsage.UNIFORM;
// Offset of a binding, bytes: a device asks for no more unless it is told to.
const ALIGNMENT = 256;
const DISPATCHES = 64; // of a buffer
const BUFFER_BYTES = DISPATCHES * ALIGNMENT;

/** Places uniforms in a buffer that is written when they are submitted. */
export class Uniforms {
  readonly #queue: GPUQueue;
  readonly #pool: BufferPool;
  readonly #bytes = new Uint8Array(BUFFER_BYTES);
  #buffer: GPUBuffer | undefined;
  #used = 0;
  /** Buffers that dispatches of now are bound to. */
  readonly #bound: GPUBuffer[] = [];

  constructor(queue: GPUQueue, pool: BufferPool) {
    this.#queue = queue;
    this.#pool = pool;
  }

  /** The binding of a dispatch's uniforms; they are copied. */
  place(words: ArrayBuffer | Uint32Array<ArrayBuffer>): GPUBufferBinding {
    const bytes = words instanceof ArrayBuffer
      ? new Uint8Array(words)
      : new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
    const size = roundUp(bytes.length, 16); // struct alignment
    if (this.#used + size > BUFFER_BYTES) this.#write();
    this.#buffer ??= this.#pool.acquireBuffer(BUFFER_BYTES, USAGE);
    const offset = this.#used;
    this.#bytes.set(bytes, offset);
    this.#used += roundUp(size, ALIGNMENT);
    return { buffer: this.#buffer, offset, size };
  }

  /** Runs `submit` with all that was placed written before it. */
  submit(submit: () => void): void {
    this.#write();
    submit();
    for (const buffer of this.#bound.splice(0)) {
      this.#pool.releaseBuffer(buffer);
    }
  }

  #write(): void {
    if (!this.#buffer) return;
    this.#queue.writeBuffer(this.#buffer, 0, this.#bytes, 0, this.#used);
    this.#bound.push(this.#buffer);
    this.#buffer = undefined;
    this.#used = 0;
  }
}

/**
 * Fields as a WGSL struct lays them out: as tfjs's `makeUniforms`
 * (backend_webgpu.ts, 4.22.0), where 5 and 6 numbers are a struct of two
 * vectors.
 */
export function uniformWords(fields: readonly UniformField[]): ArrayBuffer {
  const offsets: number[] = [];
  let end = 0, largest = 4, before = 0;
  for (const { data } of fields) {
    const length = Math.max(1, data.length);
    const own = length === 1 ? 4 : length === 2 ? 8 : 16;
    const alignment = before > 4 ? 16 : own;
    largest = Math.max(largest, alignment);
    offsets.push(roundUp(end, alignment));
    end = offsets.at(-1)! + 4 * length;
    before = length;
  }
  const words = new ArrayBuffer(roundUp(end, largest));
  const integers = new Int32Array(words), floats = new Float32Array(words);
  fields.forEach(({ type, data }, i) => {
    // tfjs's shaders expect a 1 for the shape of a scalar.
    const values = data.length === 0 ? [1] : data;
    (type === "float32" ? floats : integers).set(values, offsets[i]! / 4);
  });
  return words;
}

function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}
