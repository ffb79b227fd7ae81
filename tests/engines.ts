/**
 * Runs a test on every engine.
 *
 * @module
 */
import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import { type Engine, startEngine } from "../lib/engine/select.ts";
import { findAdapter } from "../lib/engine/webgpu.ts";

export { maxError } from "../lib/engine/self_test.ts";

const requireGpu = Deno.env.get("ZOOMIN_REQUIRE_GPU") === "1";

// At import, before any test: what a device leaves pending is no test's leak.
const noGpu = Deno.env.get("ZOOMIN_TEST_GPU") === "0"; // `deno task test:fast`
const adapter = noGpu ? undefined : await findAdapter();
if (adapter) await startEngine("webgpu");

/** True if a test that needs a GPU is reported as ignored. */
export const ignoreGpu = !adapter && !requireGpu;

/**
 * Defines one test an engine, with tfjs's backend switched to it. A test fails
 * if it leaves tensors behind or if the GPU reports an error. Without an
 * adapter the webgpu test is reported as ignored; with ZOOMIN_REQUIRE_GPU=1 it
 * fails.
 */
export function testOnEngines(
  name: string,
  test: (engine: Engine) => void | Promise<void>,
): void {
  testOnWasm(name, test);
  testOnWebGpu(name, test);
}

/** Defines a test of what webgpu alone does; as {@linkcode testOnEngines}. */
export function testOnWebGpu(
  name: string,
  test: (engine: Engine) => void | Promise<void>,
): void {
  Deno.test({
    name: `${name} [webgpu]`,
    ignore: ignoreGpu,
    async fn() {
      const engine = await startEngine("webgpu");
      await withErrorScopes(
        engine.device!,
        () => withoutLeaks(() => test(engine)),
      );
      engine.assertAlive();
    },
  });
}

/** Defines a test of what every engine does alike: on the faster one only. */
export function testOnWasm(
  name: string,
  test: (engine: Engine) => void | Promise<void>,
): void {
  Deno.test(`${name} [wasm]`, async () => {
    const engine = await startEngine("wasm");
    await withoutLeaks(() => test(engine));
  });
}

/** Fails if `test` leaves tensors behind. */
async function withoutLeaks(test: () => void | Promise<void>): Promise<void> {
  const before = tf.memory().numTensors;
  await test();
  assert.equal(tf.memory().numTensors, before, "tensors left behind");
}

/** Fails if the device reports an error during `test`. */
async function withErrorScopes(
  device: GPUDevice,
  test: () => Promise<void>,
): Promise<void> {
  device.pushErrorScope("validation");
  device.pushErrorScope("out-of-memory");
  let errors: (GPUError | null)[] = [];
  try {
    await test();
  } finally {
    errors = [await device.popErrorScope(), await device.popErrorScope()];
    for (const error of errors) if (error) console.error(error.message);
  }
  assert.deepEqual(errors, [null, null]);
}

/**
 * Replaces a kernel of ours by one that leaves zeros, as a failed shader does.
 */
export async function withZeros(
  kernelName: string,
  backend: string,
  test: () => Promise<void>,
): Promise<void> {
  const kernel = tf.getKernel(kernelName, backend);
  tf.unregisterKernel(kernelName, backend);
  tf.registerKernel({
    kernelName,
    backendName: backend,
    kernelFunc: ({ inputs }) =>
      tf.zeros(Object.values(inputs as tf.NamedTensorInfoMap)[0]!.shape),
  });
  try {
    await test();
  } finally {
    tf.unregisterKernel(kernelName, backend);
    tf.registerKernel(kernel);
  }
}
