/**
 * What there is to know about a machine with a GPU, in one document of a few
 * minutes: every kernel against its reference, whole networks on both engines,
 * and the rows of the bench that concern it.
 *
 * @module
 */
import { selfTest, type SelfTestResult } from "../../lib/engine/self_test.ts";
import { startEngine } from "../../lib/engine/select.ts";
import { predict } from "../../lib/eval/predict.ts";
import { Memory } from "../../lib/memory.ts";
import { disposeParameters } from "../../lib/model/parameters.ts";
import { freshModel, noiseImages } from "./presets.ts";

/** The rows of a report. */
export const GPU_ROWS: readonly string[] = [
  ...["step-colon", "step-needle", "step-traffic-signs"],
  ...["classify-colon", "classify-needle", "classify-traffic-signs"],
  ...["host-step", "host-classify", "host-classify-batch"],
  ...["conv-colon", "softmax", "sample", "gather", "downsample"],
];

/** Kernels and networks of a machine. */
export interface GpuChecks {
  /** By engine. */
  kernels: Record<string, SelfTestResult[]>;
  /** By preset: the largest difference of a probability between the engines. */
  differences: Record<string, number>;
}

const PRESETS = ["colon", "needle"], IMAGES = 2;

/** Tests the kernels of both engines, and compares their networks. */
export async function gpuChecks(): Promise<GpuChecks> {
  const kernels: GpuChecks["kernels"] = {};
  const probabilities: Record<string, number[][]> = {};
  for (const backend of ["wasm", "webgpu"] as const) {
    const engine = await startEngine(backend);
    await engine.whileAlive(async () => {
      kernels[backend] = await selfTest();
      for (const name of PRESETS) {
        (probabilities[name] ??= []).push(await probabilitiesOf(name));
      }
    });
    console.error(`${backend}: kernels and networks done`);
  }
  const differences = Object.entries(probabilities).map(([name, [a, b]]) => [
    name,
    Math.max(...a!.map((value, i) => Math.abs(value - b![i]!))),
  ]);
  return { kernels, differences: Object.fromEntries(differences) };
}

/** Of noise, by fresh weights: the same on every engine. */
async function probabilitiesOf(name: string): Promise<number[]> {
  const model = freshModel(name);
  const { predictions } = await predict(model, noiseImages(name, IMAGES), {
    seed: 1,
    memory: new Memory(),
  });
  disposeParameters(model.parameters);
  return predictions.flatMap(({ probabilities }) => probabilities);
}
