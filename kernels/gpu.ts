/**
 * Runs our WGSL on tfjs's WebGPU backend.
 *
 * A dispatch is recorded into tfjs's own command encoder, as tfjs's
 * `recordAndSubmit` does (backend_webgpu.ts, 4.22.0), so our kernels and tfjs's
 * run in the order they were called. Outputs are tensors of the backend: tfjs
 * owns, recycles and frees their buffers.
 *
 * Every kernel binds, in this order: 0 a uniform `params`, the inputs, the
 * outputs. Workgroups form a 2-D grid (a device takes 65,535 a dimension); WGSL
 * computes `group.x + group.y * groups.x`, and returns when that is too large.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";

/** The data that tfjs holds for a tensor on this backend. */
interface TensorData {
  resource: GPUBuffer | null;
  /** Values that are not uploaded yet, or were read back. */
  values: tf.BackendValues | null;
  dtype: tf.DataType;
}

/** A field of a uniform as tfjs gives it. */
export interface UniformField {
  type: string;
  data: number[];
}

/** The parts of tfjs's `WebGPUBackend` that recording a dispatch touches. */
export interface TfjsWebGpuInternals {
  readonly device: GPUDevice;
  readonly queue: GPUQueue;
  readonly tensorMap: { get(dataId: tf.DataId): TensorData };
  bufferManager: {
    acquireBuffer(size: number, usage: GPUBufferUsageFlags): GPUBuffer;
  };
  readonly commandQueueOwnedIds: WeakSet<tf.DataId>;
  commandEncoder: GPUCommandEncoder | null;
  computePassEncoder: GPUComputePassEncoder | null;
  dispatchCountInPass: number;
  makeUniforms(fields: UniformField[]): GPUBufferBinding;
  /** Ours (lib/engine/webgpu.ts): binds a copy of the words of a uniform. */
  placeUniforms(words: Uint32Array<ArrayBuffer>): GPUBufferBinding;
  /** Ours: copies a tensor, to be read with whatever is read next. */
  readLater(dataId: tf.DataId): () => Promise<ArrayBuffer>;
  /** Ours: submits what is recorded if it is enough. */
  submitIfDue(): void;
  makeTensorInfo(
    shape: number[],
    dtype: tf.DataType,
    values?: tf.TypedArray,
  ): tf.TensorInfo;
  uploadToGPU(dataId: tf.DataId): void;
  disposeData(dataId: tf.DataId): boolean;
  incRef(dataId: tf.DataId): void;
  ensureCommandEncoderReady(): void;
  endComputePassEncoder(): void;
  submitQueue(): void;
}

/** A run of a tensor's bytes, bound as if it were a tensor of its own. */
export interface TensorSlice {
  tensor: tf.TensorInfo;
  /** Bytes; a multiple of 256, the largest alignment a device may ask for. */
  offset: number;
  /** Bytes. */
  size: number;
}

/** Operands and size of one dispatch. */
export interface Dispatch {
  /** The uniform buffer's words; the layout is the WGSL struct's. */
  params: Uint32Array<ArrayBuffer>;
  inputs: (tf.TensorInfo | TensorSlice)[];
  outputs: tf.TensorInfo[];
  /** Workgroups in all. */
  groups: number;
}

const BYTES_PER_ELEMENT = 4; // float32 and int32: the only types we use

/**
 * One entry point of one WGSL module; its pipeline is created once per device.
 */
export class Kernel {
  readonly #pipelines = new WeakMap<GPUDevice, GPUComputePipeline>();
  readonly #code: string;
  readonly #entryPoint: string;

  constructor(readonly label: string, code: string, entryPoint = "main") {
    this.#code = code;
    this.#entryPoint = entryPoint;
  }

  /**
   * Records one dispatch after everything tfjs has recorded so far.
   *
   * @throws {RangeError} If a tensor does not fit in one storage binding, or
   * the work in one grid.
   */
  run(
    backend: TfjsWebGpuInternals,
    { params, inputs, outputs, groups }: Dispatch,
  ): void {
    const { limits } = backend.device;
    const tensors = [...inputs, ...outputs];
    for (const item of tensors) {
      if ("shape" in item) checkBinding(item.shape, this.label, limits);
    }
    const grid = dispatchGrid(groups, this.label, limits);
    const pipeline = this.#pipeline(backend.device);
    const resources = [
      backend.placeUniforms(params),
      ...tensors.map((item) => bufferBinding(backend, item)),
    ];
    const bindGroup = backend.device.createBindGroup({
      label: this.label,
      layout: pipeline.getBindGroupLayout(0),
      entries: resources.map((resource, binding) => ({ binding, resource })),
    });
    record(backend, { pipeline, bindGroup, grid });
  }

  #pipeline(device: GPUDevice): GPUComputePipeline {
    const cached = this.#pipelines.get(device);
    if (cached) return cached;
    const { label } = this;
    const module = device.createShaderModule({ label, code: this.#code });
    const pipeline = device.createComputePipeline({
      label,
      layout: "auto",
      compute: { module, entryPoint: this.#entryPoint },
    });
    this.#pipelines.set(device, pipeline);
    return pipeline;
  }
}

/** One kernel for values one by one, and one for four at a time. */
export type ElementKernels = Record<1 | 4, Kernel>;

/** The kernels of WGSL that is written for an `Element` of either size. */
export function elementKernels(
  label: string,
  code: string,
  entryPoint?: string,
): ElementKernels {
  const kernel = (type: string) =>
    new Kernel(label, `alias Element = ${type};\n${code}`, entryPoint);
  return { 1: kernel("f32"), 4: kernel("vec4f") };
}

/** Values of an `Element` that divide `length`: 4 if possible, else 1. */
export function lanesOf(length: number): 1 | 4 {
  return length % 4 ? 1 : 4;
}

/** Cuts `groups` workgroups into rows that the device can dispatch. */
export function dispatchGrid(
  groups: number,
  label: string,
  limits: Pick<GPUSupportedLimits, "maxComputeWorkgroupsPerDimension">,
): [x: number, y: number] {
  const limit = Number(limits.maxComputeWorkgroupsPerDimension);
  const y = Math.ceil(groups / limit);
  if (y > limit) {
    throw new RangeError(
      `Cannot run "${label}" because its workgroups must be <= ${limit}^2: current value is ${groups}`,
    );
  }
  return [Math.ceil(groups / y), y];
}

/**
 * Maximum bytes of a tensor on the current backend: the binding limit on a GPU.
 */
export function largestTensorBytes(): number {
  if (tf.getBackend() !== "webgpu") return Infinity;
  const { device } = tf.backend() as unknown as TfjsWebGpuInternals;
  const { maxBufferSize, maxStorageBufferBindingSize } = device.limits;
  // They may be BigInt.
  return Math.min(Number(maxBufferSize), Number(maxStorageBufferBindingSize));
}

/** Refuses a tensor that does not fit in one storage binding. */
export function checkBinding(
  shape: number[],
  label: string,
  limits: Pick<GPUSupportedLimits, "maxStorageBufferBindingSize">,
): void {
  const bytes = tf.util.sizeFromShape(shape) * BYTES_PER_ELEMENT;
  const limit = Number(limits.maxStorageBufferBindingSize);
  if (bytes > limit) {
    throw new RangeError(
      `Cannot run "${label}" because a tensor must be <= ${limit} bytes on this device (maxStorageBufferBindingSize): current shape is [${shape}], ${bytes} bytes`,
    );
  }
}

/** A copy of `bytes` from one tensor to another. */
export interface TensorCopy {
  from: { tensor: tf.TensorInfo; byte: number };
  to: { tensor: tf.TensorInfo; byte: number };
  bytes: number;
}

/** Records copies after everything tfjs has recorded so far. */
export function copyTensors(
  backend: TfjsWebGpuInternals,
  copies: readonly TensorCopy[],
): void {
  backend.ensureCommandEncoderReady();
  backend.endComputePassEncoder();
  for (const { from, to, bytes } of copies) {
    backend.commandEncoder!.copyBufferToBuffer(
      tensorBuffer(backend, from.tensor),
      from.byte,
      tensorBuffer(backend, to.tensor),
      to.byte,
      bytes,
    );
  }
}

function bufferBinding(
  backend: TfjsWebGpuInternals,
  item: tf.TensorInfo | TensorSlice,
): GPUBufferBinding {
  if ("shape" in item) return { buffer: tensorBuffer(backend, item) };
  const { tensor, offset, size } = item;
  return { buffer: tensorBuffer(backend, tensor), offset, size };
}

function tensorBuffer(
  backend: TfjsWebGpuInternals,
  { dataId }: tf.TensorInfo,
): GPUBuffer {
  backend.uploadToGPU(dataId);
  // tfjs must not recycle the buffer before this dispatch is submitted.
  backend.commandQueueOwnedIds.add(dataId);
  return backend.tensorMap.get(dataId).resource!;
}

function record(
  backend: TfjsWebGpuInternals,
  { pipeline, bindGroup, grid }: {
    pipeline: GPUComputePipeline;
    bindGroup: GPUBindGroup;
    grid: [number, number];
  },
): void {
  backend.ensureCommandEncoderReady();
  backend.computePassEncoder ??= backend.commandEncoder!.beginComputePass({
    label: "zoomin",
  });
  backend.computePassEncoder.setPipeline(pipeline);
  backend.computePassEncoder.setBindGroup(0, bindGroup);
  backend.computePassEncoder.dispatchWorkgroups(...grid);
  backend.dispatchCountInPass++;
  backend.submitIfDue();
}
