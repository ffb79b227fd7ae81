/**
 * Chooses and starts the engine of a run.
 *
 * `auto` takes webgpu when a hardware adapter answers, else wasm; a software
 * adapter is used only if webgpu is requested by name. tfjs has one current
 * backend per process, so the engine started last is the one in use.
 *
 * @module
 */
import { registerKernels } from "../../kernels/registry.ts";
import { EngineError } from "../errors.ts";
import { startWasm } from "./wasm.ts";
import {
  type AdapterDescription,
  describeAdapter,
  findAdapter,
  INSTALL_HINT,
  startWebGpu,
} from "./webgpu.ts";

/** Names of engines that a user can request. */
export const BACKENDS = [
  "auto",
  "webgpu",
  "wasm",
] as const satisfies readonly BackendChoice[];

/** An engine by name; `auto` takes a hardware GPU if there is one, else wasm. */
export type BackendChoice = "auto" | "webgpu" | "wasm";

/** A running engine. */
export interface Engine {
  /** Name of the engine. */
  readonly backend: "webgpu" | "wasm";
  /** One line for the user, e.g. "wasm: no WebGPU adapter". */
  readonly reason: string;
  /** The GPU, on webgpu. */
  readonly adapter?: AdapterDescription;
  /** The device, on webgpu; used for error scopes. */
  readonly device?: GPUDevice;
  /** Error that stopped the engine; undefined while it works. */
  readonly failure?: Error | undefined;
  /** Throws `failure` if there is one; call it before results are used. */
  assertAlive(): void;
  /**
   * Runs `work`; an error caused by a failed engine becomes an `EngineError`.
   *
   * @throws {EngineError} If the engine failed meanwhile, whatever `work`
   *   returns or throws; else what `work` throws.
   */
  whileAlive<T>(work: () => Promise<T>): Promise<T>;
}

/**
 * Starts an engine and makes it tfjs's current backend.
 *
 * @example
 * ```ts
 * const engine = await startEngine("auto");
 * console.log(engine.reason); // "wasm: no WebGPU adapter"
 * ```
 *
 * @param why reason for an engine that is named.
 * @throws {EngineError} If webgpu was requested by name and there is no
 * adapter.
 */
export async function startEngine(
  backend: BackendChoice,
  why = "as requested",
): Promise<Engine> {
  registerKernels();
  switch (backend) {
    case "wasm":
      return await wasmEngine(`wasm: ${why}`);
    case "webgpu": {
      const adapter = await findAdapter();
      if (!adapter) {
        throw new EngineError(
          `Cannot start the webgpu engine because there is no adapter: ${INSTALL_HINT}`,
        );
      }
      return await webGpuEngine(adapter, why);
    }
    case "auto": {
      const adapter = await findAdapter();
      if (!adapter) return await wasmEngine("wasm: no WebGPU adapter");
      const { name, software } = describeAdapter(adapter);
      if (!software) return await webGpuEngine(adapter, "a hardware adapter");
      return await wasmEngine(
        `wasm: no hardware WebGPU adapter (found only ${name})`,
      );
    }
    default:
      return backend satisfies never;
  }
}

async function wasmEngine(reason: string): Promise<Engine> {
  await startWasm();
  return {
    backend: "wasm",
    reason,
    assertAlive() {},
    whileAlive: (work) => work(),
  };
}

async function webGpuEngine(
  gpuAdapter: GPUAdapter,
  why: string,
): Promise<Engine> {
  const { adapter, device, watch } = await startWebGpu(gpuAdapter);
  return {
    backend: "webgpu",
    reason: `webgpu: ${why} (${adapter.name})`,
    adapter,
    device,
    get failure() {
      return watch.failure;
    },
    assertAlive() {
      if (watch.failure) throw watch.failure;
    },
    whileAlive: watch.whileAlive,
  };
}
