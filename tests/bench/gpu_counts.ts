/**
 * What a piece of work asks of WebGPU, and of the thread that asks for it.
 *
 * @module
 */
import process from "node:process";

/** Calls of WebGPU, and the time of the thread that makes them. */
export interface GpuCounts {
  dispatches: number;
  /** Buffers that are mapped to be written: each upload that has its own. */
  stagingBuffers: number;
  submits: number;
  /** Buffers that are mapped to be read. */
  readBacks: number;
  /** CPU time of the calling thread, without its waits for read-backs, ms. */
  hostMs: number;
}

/** The counts as one line. */
export function countsText(counts: Omit<GpuCounts, "hostMs">): string {
  const { dispatches, stagingBuffers, submits, readBacks } = counts;
  return `${dispatches} dispatches, ${stagingBuffers} staging buffers, ${submits} submits, ${readBacks} read-backs`;
}

/**
 * Counts the calls of `work`, on every device. One at a time: it replaces
 * methods of WebGPU's classes meanwhile.
 */
export async function gpuCounts(
  work: () => Promise<unknown>,
): Promise<GpuCounts> {
  const counts: GpuCounts = {
    dispatches: 0,
    stagingBuffers: 0,
    submits: 0,
    readBacks: 0,
    hostMs: 0,
  };
  const waits = new Waits();
  const restore = [
    before(GPUComputePassEncoder.prototype, "dispatchWorkgroups", () => {
      counts.dispatches++;
    }),
    before(GPUQueue.prototype, "submit", () => {
      counts.submits++;
    }),
    before(GPUDevice.prototype, "createBuffer", (_, [{ mappedAtCreation }]) => {
      if (mappedAtCreation) counts.stagingBuffers++;
    }),
    before(GPUBuffer.prototype, "mapAsync", (buffer) => {
      counts.readBacks++;
      waits.begin(buffer);
    }),
    before(GPUBuffer.prototype, "unmap", (buffer) => waits.end(buffer)),
  ];
  try {
    const started = threadMs();
    await work();
    counts.hostMs = threadMs() - started - waits.ms;
    return counts;
  } finally {
    for (const one of restore) one();
  }
}

/** CPU time of this thread, ms. */
function threadMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

/** CPU time of this thread while at least one buffer waits to be mapped. */
class Waits {
  readonly #waiting = new Set<GPUBuffer>();
  #since = 0;
  ms = 0;

  begin(buffer: GPUBuffer): void {
    if (this.#waiting.size === 0) this.#since = threadMs();
    this.#waiting.add(buffer);
  }

  end(buffer: GPUBuffer): void {
    if (!this.#waiting.delete(buffer) || this.#waiting.size > 0) return;
    this.ms += threadMs() - this.#since;
  }
}

/** Calls `note` before each call of a method; returns what undoes it. */
function before<Self extends object, Name extends keyof Self>(
  prototype: Self,
  name: Name,
  note: (self: Self, args: Parameters<Method<Self[Name]>>) => void,
): () => void {
  const original = prototype[name];
  const noting = function (
    this: Self,
    ...args: Parameters<Method<Self[Name]>>
  ): unknown {
    note(this, args);
    return (original as Method<Self[Name]>).apply(this, args);
  };
  Object.assign(prototype, { [name]: noting });
  return () => Object.assign(prototype, { [name]: original });
}

type Method<T> = T extends (...args: infer Arguments) => infer Result
  ? (...args: Arguments) => Result
  : never;
