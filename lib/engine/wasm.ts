/**
 * The embedded engine: tfjs on WebAssembly (XNNPACK, SIMD), our kernels as
 * plain loops. It needs no driver and no network: its .wasm file is part of the
 * npm package.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { setThreadsCount } from "@tensorflow/tfjs-backend-wasm";
import { EngineError } from "../errors.ts";

let started = false;

/** Starts tfjs's WASM backend and makes it the current one. */
export async function startWasm(): Promise<void> {
  if (!started) {
    // Forced threads are slower here; parallelism comes from one Worker per
    // engine.
    tf.env().set("WASM_HAS_MULTITHREAD_SUPPORT", false);
    setThreadsCount(1);
  }
  if (!await tf.setBackend("wasm")) {
    throw new EngineError(
      "Cannot start the wasm engine: tfjs-backend-wasm did not load",
    );
  }
  started = true;
}
