/**
 * The GPU engine: Deno's WebGPU under tfjs's WebGPU backend.
 *
 * tfjs registers a "webgpu" backend of its own at import. Ours replaces it: it
 * takes all the limits that the adapter offers, and keeps the device, because
 * errors on a GPU are silent and we must listen for them.
 *
 * @module
 */
import { tmpdir } from "node:os";
import * as tf from "@tensorflow/tfjs-core";
import type { WebGPUBackend as WebGPUBackendType } from "@tensorflow/tfjs-backend-webgpu";
import type { TfjsWebGpuInternals } from "../../kernels/gpu.ts";
import { EngineError } from "../errors.ts";
import { DEFAULT_MEMORY_BYTES } from "../memory.ts";
import { BufferPool } from "./buffer_pool.ts";
import { watchDevice, type WatchedDevice } from "./device_watch.ts";
import { type CopyQueue, ReadBack } from "./read_back.ts";
import { Uniforms, uniformWords } from "./uniforms.ts";

/** Description of an adapter. */
export interface AdapterDescription {
  /** E.g. "NVIDIA H100" or "llvmpipe (LLVM 15.0.6, 256 bits)". */
  name: string;
  /** A CPU emulates the GPU. */
  software: boolean;
  /** Limits of a device, by WebGPU's names. */
  limits: Record<string, number>;
}

/** A started device. */
export interface WebGpu {
  adapter: AdapterDescription;
  device: GPUDevice;
  watch: WatchedDevice;
}

/** Advice for a user without an adapter, in one line. */
export const INSTALL_HINT =
  "install the GPU vendor's Vulkan driver, or a software adapter with `apt-get install mesa-vulkan-drivers`";

// Limits that bound the sizes of our kernels and tfjs's.
const RAISED_LIMITS = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupsPerDimension",
] as const;

// A submission costs the host as much as several dispatches, so there are few:
// tfjs's 15 dispatches are submitted only if they hold this many bytes, which
// are free for others after it.
const MAX_DISPATCHES = 64;
const MIN_DISPATCHES = 15;
const MAX_PENDING_BYTES = 64e6;

// What a profile needs (`deno task bench --only profile-step`).
const FEATURES: readonly GPUFeatureName[] = ["timestamp-query"];

/** The adapter that Deno's WebGPU offers first, if any. */
export async function findAdapter(): Promise<GPUAdapter | undefined> {
  // Mesa prints a line on stderr when this is unset.
  const name = "XDG_RUNTIME_DIR";
  const { state } = Deno.permissions.querySync({ name: "env", variable: name });
  if (state === "granted" && !Deno.env.get(name)) Deno.env.set(name, tmpdir());
  const adapter = await navigator.gpu?.requestAdapter({
    powerPreference: "high-performance",
  });
  return adapter ?? undefined;
}

/** Names an adapter and tells hardware from software. */
export function describeAdapter(
  { info, limits }: GPUAdapter,
): AdapterDescription {
  const name = info.description || info.device || info.vendor || "unnamed";
  return {
    name,
    software: info.isFallbackAdapter ||
      /llvmpipe|lavapipe|swiftshader|warp|basic render/i.test(name),
    limits: Object.fromEntries(
      RAISED_LIMITS.map((limit) => [limit, Number(limits[limit])]), // may be BigInt
    ),
  };
}

/** The hardware GPU of this machine, if it has one. */
export async function hardwareAdapter(): Promise<
  AdapterDescription | undefined
> {
  const found = await findAdapter();
  const adapter = found && describeAdapter(found);
  return adapter?.software ? undefined : adapter;
}

let current: Promise<WebGpu> | undefined;

/**
 * Starts tfjs's WebGPU backend on `adapter`, once, and makes it the current one.
 *
 * @throws {EngineError} If the adapter gives no device, or tfjs refuses it.
 */
export async function startWebGpu(adapter: GPUAdapter): Promise<WebGpu> {
  current ??= openDevice(adapter);
  try {
    const webGpu = await current;
    if (await tf.setBackend("webgpu")) return webGpu;
    throw new Error("tfjs-backend-webgpu does not accept it");
  } catch (cause) {
    throw new EngineError(
      `Cannot start the webgpu engine on "${describeAdapter(adapter).name}": ${
        (cause as Error).message
      }`,
      { cause },
    );
  }
}

async function openDevice(gpuAdapter: GPUAdapter): Promise<WebGpu> {
  const adapter = describeAdapter(gpuAdapter);
  const device = await gpuAdapter.requestDevice({
    label: "zoomin",
    requiredLimits: adapter.limits,
    requiredFeatures: FEATURES.filter((name) => gpuAdapter.features.has(name)),
  });
  await registerBackend(device, gpuAdapter.info);
  return { adapter, device, watch: watchDevice(adapter.name, device) };
}

async function registerBackend(
  device: GPUDevice,
  info: GPUAdapterInfo,
): Promise<void> {
  const { WebGPUBackend } = await import("@tensorflow/tfjs-backend-webgpu");

  class Backend extends WebGPUBackend {
    readonly #internals = this as unknown as TfjsWebGpuInternals;
    readonly #readBack = new ReadBack(device, this.#copyQueue());
    readonly #pool = new BufferPool(device, DEFAULT_MEMORY_BYTES);
    readonly #uniforms = new Uniforms(device.queue, this.#pool);

    constructor() {
      super(device, info);
      this.#internals.bufferManager = this.#pool;
      this.#internals.placeUniforms = (words) => this.#uniforms.place(words);
      this.#internals.makeUniforms = (fields) =>
        this.#uniforms.place(uniformWords(fields));
      this.#internals.submitIfDue = () => this.#submitIfDue();
    }

    /** As tfjs's, with all uniforms written at once. */
    override submitQueue(): void {
      this.#uniforms.submit(() => super.submitQueue());
      this.#pool.acquiredBytes = 0;
    }

    /** As tfjs's, submitted with others. */
    override runWebGPUProgram(
      ...call: Parameters<WebGPUBackendType["runWebGPUProgram"]>
    ): tf.TensorInfo {
      const output = super.runWebGPUProgram(...call);
      this.#submitIfDue();
      return output;
    }

    #submitIfDue(): void {
      const { dispatchCountInPass: dispatches } = this.#internals;
      const isHeavy = this.#pool.acquiredBytes >= MAX_PENDING_BYTES;
      if (dispatches < (isHeavy ? MIN_DISPATCHES : MAX_DISPATCHES)) return;
      this.#internals.endComputePassEncoder();
      this.submitQueue();
    }

    /**
     * As tfjs's, by a write that the queue orders: tfjs's own staging buffer
     * ends the pass. No unsubmitted dispatch uses the buffer, because the pool
     * has none of those.
     */
    override uploadToGPU(dataId: tf.DataId): void {
      const data = this.#internals.tensorMap.get(dataId);
      const { values } = data;
      if (data.resource || !ArrayBuffer.isView(values)) {
        return super.uploadToGPU(dataId);
      }
      data.values = null; // tfjs then makes a buffer without any
      super.uploadToGPU(dataId);
      device.queue.writeBuffer(data.resource!, 0, wordsOf(values, data.dtype));
    }

    /** Copies a tensor as it is now, to be read with whatever is read next. */
    readLater(dataId: tf.DataId): () => Promise<ArrayBuffer> {
      this.uploadToGPU(dataId);
      // Its buffer is not used anew before the copy is submitted.
      this.#internals.commandQueueOwnedIds.add(dataId);
      const { resource } = this.#internals.tensorMap.get(dataId);
      return this.#readBack.later(resource!);
    }

    /** As tfjs's, without the pause of Deno's mapAsync. */
    override async getBufferData(buffer: GPUBuffer): Promise<ArrayBuffer> {
      return await this.#readBack.read(buffer);
    }

    #copyQueue(): CopyQueue {
      return {
        copy: (buffer, staging, offset) => {
          this.#internals.ensureCommandEncoderReady();
          this.#internals.endComputePassEncoder();
          this.#internals.commandEncoder!
            .copyBufferToBuffer(buffer, 0, staging, offset, buffer.size);
        },
        submit: () => {
          // A dispatch may have been recorded, or all submitted, meanwhile.
          if (!this.#internals.commandEncoder) return;
          this.#internals.endComputePassEncoder();
          this.submitQueue();
        },
      };
    }
  }

  tf.removeBackend("webgpu"); // tfjs's own, registered by the import
  // Small tensors would stay on the CPU, where our kernels cannot see them.
  tf.env().set("WEBGPU_CPU_FORWARD", false);
  // Ours submits (`#submitIfDue`).
  tf.env().set("WEBGPU_DEFERRED_SUBMIT_BATCH_SIZE", Infinity);
  tf.registerBackend("webgpu", () => new Backend());
}

/** Values as the 32-bit words that a kernel reads. */
function wordsOf(
  values: tf.TypedArray,
  dtype: tf.DataType,
): Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer> {
  const isFloat = dtype === "float32";
  if (isFloat ? values instanceof Float32Array : values instanceof Int32Array) {
    return values as Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer>;
  }
  return isFloat ? new Float32Array(values) : new Int32Array(values);
}
