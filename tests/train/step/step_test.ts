import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import { randomKey } from "../../../kernels/random.ts";
import { composed } from "../../../lib/image/stains/stains.ts";
import { disposeParameters } from "../../../lib/model/parameters.ts";
import type { Config } from "../../../lib/model/config.ts";
import { Memory } from "../../../lib/memory.ts";
import { microBatches } from "../../../lib/model/look/micro_batches.ts";
import type { Model } from "../../../lib/model/model.ts";
import { AdamW, type ParameterStep } from "../../../lib/train/optimizer.ts";
import {
  lookImages,
  type StepOptions,
  type TrainingImage,
} from "../../../lib/train/step/micro_batch.ts";
import {
  NETS,
  type StepReport,
  trainStep,
} from "../../../lib/train/step/step.ts";
import { maxError, testOnEngines } from "../../engines.ts";
import {
  drawnImage,
  JointMemory,
  noiseImage,
  toyModel,
} from "../../model/toy.ts";

const OPTIONS: StepOptions = {
  rate: 1,
  contrastive: true,
  freezeAttention: false,
  exploration: 1,
  classWeights: [1, 1],
  memory: new Memory(),
};

/** One parameter's part of a step, copied out of the engine. */
interface Step extends Omit<ParameterStep, "gradient" | "variable"> {
  gradient: Float32Array;
}

/** An optimizer that also records its steps. */
class Noting extends AdamW {
  readonly #noted = new Map<string, ParameterStep>();

  override clippedStep(
    steps: ReadonlyMap<string, ParameterStep>,
    clipNorm: number,
  ): tf.Tensor1D {
    for (const [name, step] of steps) this.#noted.set(name, step);
    return super.clippedStep(steps, clipNorm);
  }

  /** The steps that it took, with the clipped gradients. */
  async noted(): Promise<Map<string, Step>> {
    const { moments } = await this.save();
    return new Map(
      [...this.#noted].map(([name, { learningRate, weightDecay }]) => {
        // After one step m is (1 - beta1) g.
        const first = moments.get(`${name}/first`)!;
        const gradient = first.map((value) => value / (1 - 0.9));
        return [name, { learningRate, weightDecay, gradient }];
      }),
    );
  }
}

const AS_IT_IS = {
  orientation: 1,
  gain: 1,
  densities: null,
  placement: null,
} as const;

function trainingImages(count = 3): TrainingImage[] {
  return Array.from({ length: count }, (_, i) => ({
    pyramid: noiseImage({ width: 72 + 8 * i, height: 64 }, i),
    goal: [i % 2],
    stains: null,
    augmentation: AS_IT_IS,
    key: randomKey(3, i),
  }));
}

/** A step of a toy model: its report, and the steps of the optimizer. */
async function stepOf(
  training: Partial<Config["training"]> = {},
  options: Partial<StepOptions> = {},
  prepare: (model: Model) => void = () => {},
): Promise<{ report: StepReport; steps: Map<string, Step> }> {
  const model = toyModel({
    peak: 3,
    training: { clipNorm: 1e6, entropyWeight: 0.1, ...training },
  });
  prepare(model);
  const optimizer = new Noting();
  try {
    const report = await trainStep(model, optimizer, trainingImages(), {
      ...OPTIONS,
      ...options,
    });
    return { report, steps: await optimizer.noted() };
  } finally {
    optimizer.dispose();
    disposeParameters(model.parameters);
  }
}

/** Images of each micro-batch of a step. */
async function sizesOfMicroBatches(memory: Memory): Promise<number[]> {
  const model = toyModel();
  const images = await lookImages(model, trainingImages(), OPTIONS);
  const { samples } = model.config.view;
  const options = { samples, memory, training: true };
  disposeParameters(model.parameters);
  return microBatches(images, model.config, options)
    .map(({ images }) => images.length);
}

function normOf(steps: ReadonlyMap<string, Step>, net = ""): number {
  let squares = 0;
  for (const [name, { gradient }] of steps) {
    if (name.startsWith(net)) { for (const g of gradient) squares += g * g; }
  }
  return Math.sqrt(squares);
}

/**
 * All gradients are `factor` times the others, but for rounding relative to the
 * largest of their network: the bias before a softmax has nothing else.
 */
function assertScaled(
  actual: ReadonlyMap<string, Step>,
  expected: ReadonlyMap<string, Step>,
  factor: number,
): void {
  assert.deepEqual([...actual.keys()], [...expected.keys()]);
  for (const net of NETS) {
    const own = [...expected].filter(([name]) => name.startsWith(`${net}/`));
    const largest = Math.max(
      ...own.flatMap(([, { gradient }]) => [...gradient]).map(Math.abs),
    );
    for (const [name, { gradient }] of own) {
      const error = maxError(
        actual.get(name)!.gradient,
        gradient.map((g) => factor * g),
      );
      assert.ok(error < 1e-5 * factor * largest, `${name}: ${error}`);
    }
  }
}

testOnEngines(
  "gradients longer than the bound are cut to it, shorter ones stay",
  async () => {
    const { report, steps } = await stepOf();
    const norm = normOf(steps);
    for (const net of NETS) {
      const own = normOf(steps, `${net}/`);
      assert.ok(own > 0, net);
      assert.ok(Math.abs(report.gradientNorms[net] - own) < 1e-4 * own, net);
    }
    const loose = await stepOf({ clipNorm: 1.01 * norm });
    assertScaled(loose.steps, steps, 1);
    const tight = await stepOf({ clipNorm: 0.25 * norm });
    assertScaled(tight.steps, steps, 0.25);
    assert.ok(
      Math.abs(tight.report.gradientNorms.f - report.gradientNorms.f) <
        1e-4 * report.gradientNorms.f,
      "the log has them before the cut",
    );
  },
);

testOnEngines(
  "weights alone decay, and attention has its own rate",
  async () => {
    const training = {
      learningRate: 0.01,
      attentionLearningRate: 0.003,
      weightDecay: 0.2,
    };
    const { steps } = await stepOf(training, { rate: 0.5 });
    assert.ok(steps.has("f/conv1/bias") && steps.has("f/conv1/weight"));
    for (const [name, { learningRate, weightDecay }] of steps) {
      assert.equal(weightDecay, /\/weight$/.test(name) ? 0.2 : 0, name);
      assert.equal(learningRate, /^[ab]\//.test(name) ? 0.0015 : 0.005, name);
    }
  },
);

testOnEngines(
  "the micro-batches of a step add up, however it is cut",
  async () => {
    const together = await stepOf();
    // a and b see at most 80 px of a view, and ten tiles of 4 x 4 px.
    for (const [pixels, sizes] of [[240, [1, 1, 1]], [480, [2, 1]]] as const) {
      const memory = new JointMemory(pixels);
      assert.deepEqual(await sizesOfMicroBatches(memory), sizes);
      const apart = await stepOf({}, { memory });
      assertScaled(apart.steps, together.steps, 1);
      assert.ok(Math.abs(apart.report.loss - together.report.loss) < 1e-5);
      for (const name of ["tileEntropy", "subTileEntropy"] as const) {
        const difference = apart.report[name] - together.report[name];
        // Of sub-tiles it is the mean over a micro-batch's tiles, of which each has some.
        assert.ok(Math.abs(difference) < (name === "tileEntropy" ? 1e-5 : 0.1));
      }
    }
  },
);

testOnEngines("frozen attention is given no step", async () => {
  const { steps } = await stepOf({}, { freezeAttention: true });
  assert.deepEqual(
    new Set([...steps.keys()].map((name) => name.split("/")[0])),
    new Set(["f", "g"]),
  );
});

testOnEngines("the images whose class was guessed are counted", async () => {
  for (const guess of [0, 1]) {
    const { report } = await stepOf({ learningRate: 1e-3 }, {}, (model) => {
      const bias = model.parameters.get("g/bias")!;
      tf.tidy(() =>
        bias.assign(tf.tensor1d([0, 1].map((c) => c === guess ? 50 : -50)))
      );
    });
    // Of three images two are of class 0.
    assert.deepEqual([report.images, report.correct], [3, guess === 0 ? 2 : 1]);
  }
});

testOnEngines("stains are made alike first, and then augmented", async () => {
  const model = toyModel();
  const stains = [1, 2, 0, 0, 1, 0, 0, 0, 1];
  const densities = [1, 0, 0, 3, 1, 0, 0, 0, 1];
  const [image] = trainingImages(1);
  const planned = async (own: Partial<TrainingImage>) =>
    (await lookImages(model, [{ ...image!, ...own }], OPTIONS))[0]!;
  const augmented = { ...AS_IT_IS, densities };
  const both = await planned({ stains, augmentation: augmented });
  assert.deepEqual(both.densities, composed(stains, densities));
  assert.notDeepEqual(both.densities, composed(densities, stains));
  const one = await planned({ augmentation: augmented });
  assert.deepEqual(one.densities, densities);
  assert.deepEqual((await planned({ stains })).densities, stains);
  assert.equal((await planned({})).densities, null);
  disposeParameters(model.parameters);
});

testOnEngines("images of the reference class are not contrasted", async () => {
  const model = toyModel(); // "negative" is the reference
  assert.equal(model.config.referenceClass, "negative");
  const contrasted = async (options: Partial<StepOptions> = {}) =>
    (await lookImages(model, trainingImages(), { ...OPTIONS, ...options }))
      .map(({ contrastive }) => contrastive);
  assert.deepEqual(await contrasted(), [false, true, false]);
  assert.deepEqual(await contrasted({ contrastive: false }), [
    ...[false, false, false],
  ]);
  model.config.referenceClass = null;
  assert.deepEqual(await contrasted(), [false, false, false]);
  disposeParameters(model.parameters);
});

testOnEngines(
  "a placed, turned image's foreground lies on its pixels",
  async () => {
    // Coloured where x < 400 and y < 300 of 640 x 512 px, else grey.
    const pyramid = drawnImage(
      { width: 640, height: 512 },
      (x, y) => x < 400 && y < 300 ? [200, 40, 90] : [230, 230, 230],
    );
    const model = toyModel({ view: { tileStride: 32, tileSize: 32 } });
    for (const orientation of [1, 3, 6] as const) {
      const [image] = await lookImages(model, [{
        ...trainingImages(1)[0]!,
        pyramid,
        augmentation: {
          ...AS_IT_IS,
          orientation,
          placement: { x: 0.99, y: 0.99 },
        },
      }], { ...OPTIONS, foreground: { kind: "tissue" } });
      const { width, height } = image!.pyramid;
      let inside = 0;
      for (let y = 4; y < height; y += 8) {
        for (let x = 4; x < width; x += 8) {
          const one = { x, y, width: 1, height: 1 };
          const { data } = await image!.pyramid.read(one, 0);
          const isColoured = data[0] !== data[1];
          assert.equal(
            image!.foreground!.at({ x, y }),
            isColoured,
            `${x}, ${y}`,
          );
          if (isColoured) inside++;
        }
      }
      assert.ok(inside > 100);
    }
    disposeParameters(model.parameters);
  },
);
