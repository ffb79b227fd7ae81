/**
 * Generated routines over the memory of tfjs's WASM backend.
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs-core";
import {
  type FunctionBuilder,
  hasRelaxedMultiplyAdd,
  instantiate,
} from "./assembler.ts";

/** Members of tfjs's WASM backend that we use beyond its public types. */
export interface WasmBackend extends tf.KernelBackend {
  wasm: { asm: Record<string, unknown> };
  dataIdMap: { get(id: tf.DataId): { memoryOffset: number } };
  makeOutput(shape: number[], dtype: tf.DataType): tf.TensorInfo;
  typedArrayFromHeap(info: tf.TensorInfo): Float32Array;
  disposeData(id: tf.DataId): boolean;
}

/** A generated routine: pointers, counts and strides, of bytes. */
export type Routine = (...parameters: number[]) => void;
const routines = new WeakMap<WebAssembly.Memory, Map<string, Routine>>();

/** The routine of that name over the backend's memory, built on first use. */
export function routine(
  backend: WasmBackend,
  name: string,
  build: (name: string, relaxed: boolean) => FunctionBuilder,
): Routine {
  const memory = Object.values(backend.wasm.asm)
    .find((item) => item instanceof WebAssembly.Memory);
  if (!memory) throw new TypeError("Cannot find the memory of tfjs-wasm");
  let known = routines.get(memory);
  if (!known) routines.set(memory, known = new Map());
  let found = known.get(name);
  if (!found) {
    const builder = build(name, hasRelaxedMultiplyAdd());
    found = instantiate([builder], memory)[name]!;
    known.set(name, found);
  }
  return found;
}

/** Byte offset of a tensor in the backend's memory. */
export function offsetOf(backend: WasmBackend, info: tf.TensorInfo): number {
  return backend.dataIdMap.get(info.dataId).memoryOffset;
}
