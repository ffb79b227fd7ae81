/**
 * One kernel, two engines: turns an operation of ours into a tfjs kernel.
 *
 * @module
 */
import type {
  KernelConfig,
  NamedTensorInfoMap,
  TensorInfo,
} from "@tensorflow/tfjs-core";
import type { BackendWasm } from "@tensorflow/tfjs-backend-wasm";
import type { TfjsWebGpuInternals } from "./gpu.ts";

/** Arguments that tfjs passes to a kernel. */
export interface KernelCall<Backend, Attributes> {
  backend: Backend;
  inputs: NamedTensorInfoMap;
  attributes: Attributes;
}

type KernelFunction<Backend, Attributes> = (
  call: KernelCall<Backend, Attributes>,
) => TensorInfo | TensorInfo[];

/** The two registrations of one kernel. */
export function kernelConfigs<Attributes = Record<string, never>>(
  kernelName: string,
  { wasm, webgpu }: {
    wasm: KernelFunction<BackendWasm, Attributes>;
    webgpu: KernelFunction<TfjsWebGpuInternals, Attributes>;
  },
): KernelConfig[] {
  return [
    {
      kernelName,
      backendName: "wasm",
      kernelFunc: ({ backend, inputs, attrs }) =>
        wasm({
          backend: backend as BackendWasm,
          inputs: inputs as NamedTensorInfoMap,
          attributes: attrs as Attributes,
        }),
    },
    {
      kernelName,
      backendName: "webgpu",
      kernelFunc: ({ backend, inputs, attrs }) =>
        webgpu({
          backend: backend as TfjsWebGpuInternals,
          inputs: inputs as NamedTensorInfoMap,
          attributes: attrs as Attributes,
        }),
    },
  ];
}

/**
 * A float32 tensor's place on the WASM heap. Allocate outputs first: the heap
 * may move when it grows, and leaves older views empty.
 */
export function floatView(
  backend: BackendWasm,
  info: TensorInfo,
): Float32Array {
  return backend.typedArrayFromHeap(info) as Float32Array;
}

/** An int32 tensor's place on the WASM heap. */
export function intView(backend: BackendWasm, info: TensorInfo): Int32Array {
  return backend.typedArrayFromHeap(info) as Int32Array;
}
