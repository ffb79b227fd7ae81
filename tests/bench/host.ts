/**
 * What a training step and a classification of the colon preset cost the host
 * on webgpu: its own CPU time, and the calls that it makes. Convolutions are cut
 * as for a GPU, so that the counts are those of one on any adapter.
 *
 * @module
 */
import { HARDWARE } from "../../kernels/conv/webgpu/plan.ts";
import type { Engine } from "../../lib/engine/select.ts";
import { withBudget } from "../kernels/conv/webgpu/budget.ts";
import { countsText, type GpuCounts, gpuCounts } from "./gpu_counts.ts";
import type { Bench, Benchmark, timed } from "./measure.ts";
import { classification, step } from "./presets.ts";

const PRESET = "colon";
const BATCH = 8;
// Of one round: threads are timed in units of 10 ms.
const STEPS = 12, CLASSIFICATIONS = 36;

export const hostBenchmarks: Record<string, Benchmark> = {
  "host-step": (engine) =>
    hostCost(engine, (measure) => step(PRESET, engine, measure), {
      times: STEPS,
    }),
  "host-classify": (engine) =>
    hostCost(
      engine,
      (measure) => classification(PRESET, engine, { measure }),
      { times: CLASSIFICATIONS },
    ),
  "host-classify-batch": (engine) =>
    hostCost(
      engine,
      (measure) => classification(PRESET, engine, { count: BATCH, measure }),
      { times: CLASSIFICATIONS / 2, images: BATCH },
    ),
};

type Measure = typeof timed;

/** Host time of one of `times` runs, or of each of the `images` in it. */
async function hostCost(
  { backend }: Engine,
  prepare: (measure: Measure) => Bench,
  { times, images = 1 }: { times: number; images?: number },
): Promise<Bench> {
  if (backend !== "webgpu") return { subjects: [], dispose() {} };
  let counts: GpuCounts | undefined;
  const { subjects: [subject], dispose } = prepare(async (work) => {
    counts = await gpuCounts(work);
    return counts.hostMs;
  });
  const once = async () => {
    let ms = 0;
    await withBudget(HARDWARE, async () => ms = await subject!.ours());
    return ms;
  };
  await once(); // shaders are compiled, buffers are made
  await once();
  const [what] = subject!.note.split(";");
  return {
    subjects: [{
      ours: async () => {
        let ms = 0;
        for (let i = 0; i < times; i++) ms += await once();
        return ms / times / images;
      },
      note: `host CPU${images > 1 ? ", an image" : ""}; ${what}: ${
        countsText(counts!)
      }`,
    }],
    dispose,
  };
}
