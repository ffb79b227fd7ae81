/**
 * Whole networks and training steps as a GPU computes them: with its cut of the
 * convolutions, on any adapter, beside the wasm engine. And what they ask of the
 * host, which is what a GPU waits for.
 *
 * @module
 */
import assert from "node:assert/strict";
import { HARDWARE } from "../../../kernels/conv/webgpu/plan.ts";
import { randomKey } from "../../../kernels/random.ts";
import { startEngine } from "../../../lib/engine/select.ts";
import { restaining } from "../../../lib/image/stains/stains.ts";
import type { Pyramid } from "../../../lib/image/pyramid.ts";
import { Memory } from "../../../lib/memory.ts";
import type { Config } from "../../../lib/model/config.ts";
import type { Model } from "../../../lib/model/model.ts";
import { modelSpecs } from "../../../lib/model/networks.ts";
import {
  disposeParameters,
  initialParameters,
} from "../../../lib/model/parameters.ts";
import { preset } from "../../../lib/model/presets.ts";
import { AdamW } from "../../../lib/train/optimizer.ts";
import { type StepReport, takeStep } from "../../../lib/train/step/step.ts";
import { gpuCounts } from "../../bench/gpu_counts.ts";
import { maxError, testOnWebGpu } from "../../engines.ts";
import { withBudget } from "../../kernels/conv/webgpu/budget.ts";
import { noiseImage, toyModel } from "../../model/toy.ts";

/** A model, a batch of images, and how they are trained on. */
interface Case {
  model: () => Model;
  images: Pyramid[];
  memory?: Memory;
}

/** A model of the colon preset, and a batch of its size of image. */
function colon(): Case {
  const config = preset("colon");
  config.view.foreground = "none"; // noise is no tissue
  const classes = [config.referenceClass!, "other"];
  const images = Array.from(
    { length: config.training.batchSize },
    (_, i) => noiseImage({ width: 500, height: 500 }, i),
  );
  const model = (): Model => ({
    config,
    classes,
    normalisation: { mean: [0.5, 0.5, 0.5], deviation: [0.3, 0.3, 0.3] },
    calibration: null,
    parameters: initialParameters(
      modelSpecs(config, classes),
      { initialisation: config.network.initialisation, seed: 1 },
    ),
  });
  return { model, images };
}

/** Small images for a small model. */
function toy(network: Partial<Config["network"]>): Case {
  return {
    model: () => toyModel({ peak: 3, view: { subTileSize: 15 }, network }),
    images: [0, 1, 2].map((i) =>
      noiseImage({ width: 72 + 8 * (i % 2), height: 64 }, i)
    ),
  };
}

/** A step, whose report is read later. */
function stepOf(
  { images, memory = new Memory() }: Case,
  model: Model,
  optimizer: AdamW,
) {
  const stains = model.config.network.normaliseStains
    ? restaining({ haematoxylin: 1.1, eosin: 0.9 })
    : null;
  return takeStep(
    model,
    optimizer,
    images.map((pyramid, i) => ({
      pyramid,
      goal: [i % 2],
      stains,
      augmentation: {
        orientation: 1,
        gain: 1.05,
        densities: null,
        placement: null,
      },
      key: randomKey(1, i),
    })),
    {
      rate: 1,
      contrastive: model.config.network.head === "mean",
      freezeAttention: false,
      exploration: 1,
      classWeights: [1, 1],
      memory,
    },
  );
}

/** The last step's report, and the moments of each parameter. */
async function outcomeOf(own: Case, steps = 1) {
  const model = own.model();
  const optimizer = new AdamW();
  let report!: StepReport;
  for (let step = 0; step < steps; step++) {
    report = await (await stepOf(own, model, optimizer))();
  }
  const { moments } = await optimizer.save(); // the first ones are 0.1 g
  optimizer.dispose();
  disposeParameters(model.parameters);
  return { report, moments };
}

function assertAlike(actual: StepReport, expected: StepReport): void {
  const { gradientNorms, liveChannels, ...figures } = expected;
  assert.deepEqual(actual.liveChannels, liveChannels);
  for (const [name, value] of Object.entries(figures)) {
    const own = actual[name as keyof typeof figures];
    assert.ok(Math.abs(own! - value!) < 1e-4, `${name}: ${own}, not ${value}`);
  }
  for (const [net, norm] of Object.entries(gradientNorms)) {
    const own = actual.gradientNorms[net as keyof typeof gradientNorms];
    assert.ok(
      Math.abs(own - norm) < 1e-3 * norm,
      `${net}: ${own}, not ${norm}`,
    );
  }
}

const CASES: Record<string, () => Case> = {
  "colon": colon,
  "lenet": () => toy({ features: "lenet" }),
  "resnet": () => toy({ features: "resnet" }),
  "ats": () => toy({ features: "ats" }),
  "evidence": () => toy({ head: "evidence" }),
  "in blocks": () => ({ ...toy({}), memory: new Memory(2 ** 18) }),
};

for (const [name, make] of Object.entries(CASES)) {
  testOnWebGpu(`a GPU's step is that of wasm: ${name}`, async () => {
    const own = make();
    await startEngine("wasm");
    const expected = await outcomeOf(own);
    await startEngine("webgpu");
    let actual: Awaited<ReturnType<typeof outcomeOf>> | undefined;
    await withBudget(HARDWARE, async () => actual = await outcomeOf(own));
    assertAlike(actual!.report, expected.report);
    for (const [moment, values] of expected.moments) {
      if (!moment.endsWith("/first")) continue;
      const largest = values.reduce(
        (most, x) => Math.max(most, Math.abs(x)),
        0,
      );
      const scaled = (all: Float32Array) => all.map((x) => x / largest);
      const error = maxError(
        scaled(actual!.moments.get(moment)!),
        scaled(values),
      );
      // The bias before a softmax has nothing but rounding.
      if (largest > 1e-7) assert.ok(error < 5e-3, `${moment}: ${error}`);
    }
  });
}

testOnWebGpu("a GPU's training comes to the loss of wasm's", async () => {
  const own = toy({});
  const lossOf = async (steps: number) =>
    (await outcomeOf(own, steps)).report.loss;
  await startEngine("wasm");
  const [first, last] = [await lossOf(1), await lossOf(6)];
  await startEngine("webgpu");
  let loss = NaN;
  await withBudget(HARDWARE, async () => loss = await lossOf(6));
  // AdamW takes a gradient of nothing but rounding for a direction.
  const moved = Math.abs(last - first);
  assert.ok(Math.abs(loss - last) < moved / 10, `${first}: ${last}, ${loss}`);
});

testOnWebGpu("a colon step asks little of the host", async () => {
  const own = colon();
  const model = own.model();
  const optimizer = new AdamW();
  await withBudget(HARDWARE, async () => {
    const before = await stepOf(own, model, optimizer);
    const counts = await gpuCounts(async () => {
      const report = await stepOf(own, model, optimizer);
      await before();
      return report;
    });
    assert.ok(counts.dispatches <= 170, `${counts.dispatches} dispatches`);
    assert.ok(counts.submits <= 4, `${counts.submits} submits`);
    assert.equal(counts.stagingBuffers, 0);
    assert.ok(counts.readBacks <= 2, `${counts.readBacks} read-backs`);
  });
  optimizer.dispose();
  disposeParameters(model.parameters);
});
