/**
 * Times of single dispatches on a GPU, as its timestamps tell them.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import type { TfjsWebGpuInternals } from "../../kernels/gpu.ts";

/** Time and calls of one kernel, all together. */
export interface Share {
  ms: number;
  calls: number;
}

/** True if a device was opened with timestamps, which not every adapter has. */
export function hasTimestamps(
  { features }: Pick<GPUDevice, "features">,
): boolean {
  return features.has("timestamp-query");
}

const MAX_QUERIES = 4096; // of a set
const TIMESTAMP_BYTES = 8;

/**
 * Times every dispatch of `work`, each in a pass of its own; their order stays.
 * One at a time: it replaces a method of WebGPU's classes meanwhile.
 *
 * @param device with timestamps.
 * @param nameOf the name of the dispatch of now.
 */
export async function gpuTimes(
  device: GPUDevice,
  nameOf: () => string,
  work: () => Promise<unknown>,
): Promise<Map<string, Share>> {
  const names: string[] = [];
  const sets: GPUQuerySet[] = [];
  const timestampWrites = (): GPUComputePassTimestampWrites => {
    const at = 2 * names.length % MAX_QUERIES;
    if (at === 0) {
      sets.push(
        device.createQuerySet({ type: "timestamp", count: MAX_QUERIES }),
      );
    }
    names.push(nameOf());
    return {
      querySet: sets.at(-1)!,
      beginningOfPassWriteIndex: at,
      endOfPassWriteIndex: at + 1,
    };
  };
  const { beginComputePass } = GPUCommandEncoder.prototype;
  GPUCommandEncoder.prototype.beginComputePass = function () {
    const begin = () =>
      beginComputePass.call(this, { timestampWrites: timestampWrites() });
    return new PassPerDispatch(begin) as unknown as GPUComputePassEncoder;
  };
  try {
    await work();
    submitRest(); // no query is resolved before it is written
  } finally {
    GPUCommandEncoder.prototype.beginComputePass = beginComputePass;
  }
  const times = await Promise.all(sets.map((set) => timesOf(device, set)));
  const shares = new Map<string, Share>();
  for (const [i, name] of names.entries()) {
    const share = shares.get(name) ?? { ms: 0, calls: 0 };
    const query = 2 * i % MAX_QUERIES;
    const own = times[Math.floor(2 * i / MAX_QUERIES)]!;
    share.ms += Number(own[query + 1]! - own[query]!) / 1e6;
    share.calls++;
    shares.set(name, share);
  }
  return shares;
}

/** Submits what is recorded and nobody has read. */
function submitRest(): void {
  const backend = tf.backend() as unknown as TfjsWebGpuInternals;
  if (!backend.commandEncoder) return;
  backend.endComputePassEncoder();
  backend.submitQueue();
}

/** As a compute pass, with a pass for each dispatch. */
class PassPerDispatch {
  readonly #begin: () => GPUComputePassEncoder;
  #pipeline: GPUComputePipeline | undefined;
  #bindGroup: GPUBindGroup | undefined;

  constructor(begin: () => GPUComputePassEncoder) {
    this.#begin = begin;
  }

  setPipeline(pipeline: GPUComputePipeline): void {
    this.#pipeline = pipeline;
  }

  setBindGroup(_: 0, bindGroup: GPUBindGroup): void {
    this.#bindGroup = bindGroup;
  }

  dispatchWorkgroups(...grid: [number, number?, number?]): void {
    const pass = this.#begin();
    pass.setPipeline(this.#pipeline!);
    pass.setBindGroup(0, this.#bindGroup!);
    pass.dispatchWorkgroups(...grid);
    pass.end();
  }

  end(): void {} // every pass has ended
}

/** The timestamps of a set, ns. */
async function timesOf(
  device: GPUDevice,
  set: GPUQuerySet,
): Promise<BigUint64Array> {
  const size = MAX_QUERIES * TIMESTAMP_BYTES;
  const resolved = device.createBuffer({
    size,
    usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC,
  });
  const staging = device.createBuffer({
    size,
    usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ,
  });
  const encoder = device.createCommandEncoder();
  encoder.resolveQuerySet(set, 0, MAX_QUERIES, resolved, 0);
  encoder.copyBufferToBuffer(resolved, 0, staging, 0, size);
  device.queue.submit([encoder.finish()]);
  await staging.mapAsync(GPUMapMode.READ);
  const times = new BigUint64Array(staging.getMappedRange().slice(0));
  for (const buffer of [resolved, staging]) buffer.destroy();
  set.destroy();
  return times;
}
