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

/** The memory of a backend, and the routines over it by name. */
interface Built {
  memory: WebAssembly.Memory;
  byName: Map<string, Routine>;
}
// By the module of a backend: finding its memory takes as long as a routine.
const built = new WeakMap<WasmBackend["wasm"]["asm"], Built>();

/** The routine of that name over the backend's memory, built on first use. */
export function routine(
  backend: WasmBackend,
  name: string,
  build: (name: string, relaxed: boolean) => FunctionBuilder,
): Routine {
  const { memory, byName } = builtOver(backend.wasm.asm);
  let found = byName.get(name);
  if (!found) {
    const builder = build(name, hasRelaxedMultiplyAdd());
    found = instantiate([builder], memory)[name]!;
    byName.set(name, found);
  }
  return found;
}

function builtOver(asm: WasmBackend["wasm"]["asm"]): Built {
  let found = built.get(asm);
  if (found) return found;
  const memory = Object.values(asm)
    .find((item) => item instanceof WebAssembly.Memory);
  if (!memory) throw new TypeError("Cannot find the memory of tfjs-wasm");
  built.set(asm, found = { memory, byName: new Map() });
  return found;
}

/** Byte offset of a tensor in the backend's memory. */
export function offsetOf(backend: WasmBackend, info: tf.TensorInfo): number {
  return backend.dataIdMap.get(info.dataId).memoryOffset;
}
