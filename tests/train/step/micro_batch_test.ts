import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import { randomKey } from "../../../kernels/random.ts";
import type { ReportFigures } from "../../../kernels/step_report/step_report.ts";
import { startEngine } from "../../../lib/engine/select.ts";
import { ConfigError } from "../../../lib/errors.ts";
import { predict } from "../../../lib/eval/predict.ts";
import type { Pyramid } from "../../../lib/image/pyramid.ts";
import { Memory } from "../../../lib/memory.ts";
import type { Model } from "../../../lib/model/model.ts";
import { disposeParameters } from "../../../lib/model/parameters.ts";
import { lookWhole } from "../../../lib/model/look/whole.ts";
import { score } from "../../../lib/model/zoom_in.ts";
import type { StepOptions } from "../../../lib/train/step/micro_batch.ts";
import {
  type BackwardPass,
  disposeBackward,
} from "../../../lib/train/step/backward.ts";
import { maxError, testOnEngines } from "../../engines.ts";
import { networkScales } from "../../finite_differences.ts";
import { SyntheticPyramid } from "../../image/synthetic_pyramid.ts";
import { noiseImage, toyModel } from "../../model/toy.ts";
import {
  backwardInBlocks,
  backwardTogether,
  figuresOfPass,
  type MicroBatchImages,
} from "../passes.ts";

const SIZE = { width: 123, height: 91 };
const OPTIONS: StepOptions = {
  rate: 1,
  contrastive: true,
  freezeAttention: false,
  exploration: 1,
  classWeights: [1, 1],
  memory: new Memory(),
};

/** Takes two sub-tiles of 7 x 7 px at a time. */
class TwoAtATime extends Memory {
  override featurePixels(): number {
    return 2 * 7 * 7;
  }
}

const PASSES = {
  together: { pass: backwardTogether, memory: new TwoAtATime() },
  // Blocks of 15 px of the view, halo included, and one tile at a time.
  "in blocks": { pass: backwardInBlocks, memory: new TwoAtATime(2 ** 18) },
};

function imagesOf(pyramids: readonly Pyramid[]): MicroBatchImages {
  return {
    images: pyramids.map((pyramid, i) => ({
      pyramid,
      key: randomKey(2, i),
      gain: 0.9,
      contrastive: i === 0,
    })),
    goals: pyramids.map(() => [1]),
    of: pyramids.length,
  };
}

/** Both passes agree: gradients, moving statistics and the log's figures. */
async function assertSame(
  found: BackwardPass,
  expected: BackwardPass,
  what: string,
) {
  const tensors = ({ gradients, updates, report }: BackwardPass) =>
    new Map([...gradients, ...updates, ["report", report as tf.Tensor]]);
  const all = tensors(found);
  assert.deepEqual(
    [...all.keys()].sort(),
    [...tensors(expected).keys()].sort(),
    what,
  );
  const scaleOf = await networkScales(tensors(expected));
  for (const [name, tensor] of tensors(expected)) {
    const values = await tensor.data() as Float32Array;
    const largest = values.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
    const error = maxError(
      await all.get(name)!.data() as Float32Array,
      values,
    );
    assert.ok(largest > 0, `${what}: ${name} is zero`);
    assert.ok(
      error <= 5e-5 * scaleOf(name),
      `${what}, ${name}: off by ${error} of ${largest}`,
    );
  }
}

testOnEngines(
  "gradients of sub-tiles some at a time are those of all together",
  async () => {
    const cases = [
      { ...PASSES.together, features: "lenet", subTileSize: 7, images: 2 },
      { ...PASSES["in blocks"], features: "ats", subTileSize: 14, images: 1 },
    ] as const;
    for (const { pass, memory, features, subTileSize, images } of cases) {
      const model = toyModel({
        view: { subTileSize },
        network: { features, centreFeatures: true },
        training: { entropyWeight: 0.3 },
        peak: 3,
      });
      const part = imagesOf(
        Array.from({ length: images }, (_, i) => noiseImage(SIZE, i)),
      );
      const expected = await backwardTogether(model, part, OPTIONS);
      const found = await pass(model, part, { ...OPTIONS, memory });
      await assertSame(found, expected, `${pass.name}, ${features}`);
      disposeBackward(found);
      disposeBackward(expected);
      disposeParameters(model.parameters);
    }
  },
);

/** What the report of a backward pass tells. */
async function reportOf(
  way: keyof typeof PASSES,
  part: MicroBatchImages,
  { entropyWeight = 0, ...options }: Partial<StepOptions> & {
    entropyWeight?: number;
  } = {},
): Promise<ReportFigures> {
  const model = toyModel({ training: { entropyWeight }, peak: 3 });
  const { pass } = PASSES[way];
  const done = await pass(model, part, { ...OPTIONS, ...options });
  const report = await figuresOfPass(model, done);
  disposeBackward(done);
  disposeParameters(model.parameters);
  return report;
}

for (const way of Object.keys(PASSES) as (keyof typeof PASSES)[]) {
  testOnEngines(
    `the regulariser is the mean entropy of both stages, ${way}`,
    async () => {
      const part = imagesOf([noiseImage(SIZE, 3)]);
      const [plain] = part.images;
      const weight = 10;
      const regulariser = async (contrastive: boolean) => {
        const own = { ...part, images: [{ ...plain!, contrastive }] };
        const on = await reportOf(way, own, { entropyWeight: weight });
        const off = await reportOf(way, own);
        return { value: on.loss - off.loss, report: on };
      };
      const { value, report } = await regulariser(false);
      // The constant inside the logarithm is a thousandth of it.
      const expected = -weight * (report.tileEntropy + report.subTileEntropy);
      assert.ok(
        Math.abs(value - expected) < 1e-3 * Math.abs(expected),
        `${value}, not ${expected}`,
      );
      // Tiles of a contrastive draw have no share in it.
      const turned = await regulariser(true);
      assert.ok(
        Math.abs(turned.value - value) < 1e-4 * Math.abs(value),
        `${turned.value}, not ${value}`,
      );
    },
  );
}

testOnEngines("a batch's regulariser is the mean of its images'", async () => {
  const [one] = imagesOf([noiseImage(SIZE, 3)]).images;
  const same = { images: [one!, one!], goals: [[1], [1]], of: 2 };
  const alone = { images: [one!], goals: [[1]], of: 1 };
  const options = { entropyWeight: 10, contrastive: false };
  const two = await reportOf("together", same, options);
  const single = await reportOf("together", alone, options);
  assert.ok(Math.abs(two.loss - single.loss) < 1e-4 * Math.abs(single.loss));
});

testOnEngines(
  "the loss is the weighted mean of its cross-entropies",
  async () => {
    const model = toyModel({ training: { entropyWeight: 0 }, peak: 3 });
    const part: MicroBatchImages = {
      ...imagesOf([noiseImage(SIZE, 1), noiseImage(SIZE, 2)]),
      goals: [[1], [0]],
      of: 5, // with three more in other passes
    };
    const planned = await lookWhole(model, part.images, {
      samples: model.config.view.samples,
      draws: "seeded",
      memory: OPTIONS.memory,
    });
    const scores = tf.tidy(() => ({ ...score(model, planned) }));
    const logits = await scores.logits.array(),
      features = await scores.features
        .array();
    const costs = [1, 0, 0].map((target, row) => { // the last is contrastive
      const sum = logits[row]!.reduce((sum, x) => sum + Math.exp(x), 0);
      return Math.log(sum) - logits[row]![target]!;
    });
    assert.equal(costs.length, logits.length);
    const pass = await backwardTogether(model, part, {
      ...OPTIONS,
      classWeights: [5, 3],
    });
    const report = await figuresOfPass(model, pass);
    // Each image has its class's weight, a contrastive draw 1.
    const expected = (3 * costs[0]! + 5 * costs[1]! + costs[2]!) / 5;
    assert.ok(Math.abs(report.loss - expected) < 1e-5);

    let cosines = 0, pairs = 0;
    features.forEach((a, i) =>
      features.forEach((b, j) => {
        if (i === j) return;
        cosines += a.reduce((sum, x, c) => sum + x * b[c]!, 0);
        pairs++;
      })
    );
    assert.ok(Math.abs(report.cosine - cosines / pairs) < 1e-5);
    disposeBackward(pass);
    planned.dispose();
    tf.dispose(Object.values(scores).flat());
    disposeParameters(model.parameters);
  },
);

testOnEngines("predictions do not depend on the bound", async () => {
  const model = toyModel({ network: { features: "resnet" }, peak: 4 });
  const options = { seed: 2, samples: 9, memory: new Memory() };
  const images = [noiseImage(SIZE, 7)];
  const [whole] = (await predict(model, images, options)).predictions;
  for (const { memory } of Object.values(PASSES)) {
    const [found] =
      (await predict(model, images, { ...options, memory })).predictions;
    assert.deepEqual(found!.tiles, whole!.tiles);
    assert.ok(maxError(found!.probabilities, whole!.probabilities) < 1e-5);
  }
  disposeParameters(model.parameters);
});

testOnEngines("batch statistics over the bound are refused", async () => {
  const model = toyModel({ network: { features: "resnet" } });
  const memory = new TwoAtATime();
  await assert.rejects(
    backwardTogether(model, imagesOf([noiseImage(SIZE, 8)]), {
      ...OPTIONS,
      memory,
    }),
    (error) => {
      assert.ok(error instanceof ConfigError);
      assert.match(
        error.message,
        /^Cannot train network.features=resnet: its batch statistics need all \d+ sub-tiles of a micro-batch at once, more than the memory bound holds; set --memory to \d+MB or more a worker/,
      );
      return true;
    },
  );
  disposeParameters(model.parameters);
});

/** `pyramid`, whose reads fail from the one numbered `last` on. */
function failingAfter(pyramid: Pyramid, last: number) {
  let reads = 0;
  return new Proxy(pyramid, {
    get(target, name) {
      if (name !== "read") return Reflect.get(target, name, target);
      return (...args: Parameters<Pyramid["read"]>) => {
        if (++reads > last) throw new DOMException("Stopped", "AbortError");
        return target.read(...args);
      };
    },
  });
}

testOnEngines("a pass that is stopped leaves nothing behind", async () => {
  const model = toyModel({ view: { samples: 3 } });
  // Two levels: regions are read one by one.
  const image = new SyntheticPyramid(
    SIZE,
    [1, 4],
    (x, y) => [x % 256, y % 256, (x * y) % 256],
  );
  for (const { pass, memory } of Object.values(PASSES)) {
    const tensors = tf.memory().numTensors;
    const tried = async (last: number) => {
      const part = imagesOf([failingAfter(image, last)]);
      disposeBackward(await pass(model, part, { ...OPTIONS, memory }));
    };
    let last = 0;
    for (let done = false; !done; last++) {
      await tried(last).then(
        () => done = true,
        (error) => assert.equal((error as Error).name, "AbortError"),
      );
      assert.equal(
        tf.memory().numTensors,
        tensors,
        `after ${last} reads of ${pass.name}`,
      );
    }
    assert.ok(last > 10, `${pass.name} reads ${last} times`);
  }
  disposeParameters(model.parameters);
});

/** Peak bytes of tensors during a backward pass of `samples` sub-tiles. */
async function peakOf(
  model: Model,
  { samples, memory }: { samples: number; memory: Memory },
): Promise<number> {
  model.config.view.samples = samples;
  const image = new SyntheticPyramid(
    { width: 1500, height: 1500 },
    [1, 8],
    (x, y) => [x % 256, y % 256, (x + y) % 256],
  );
  const { peakBytes } = await tf.profile(async () => {
    const part = imagesOf([image]);
    disposeBackward(
      await backwardInBlocks(model, part, { ...OPTIONS, memory }),
    );
    return tf.scalar(0);
  });
  return peakBytes;
}

Deno.test("memory follows the bound, not the number of sub-tiles", async () => {
  await startEngine("wasm");
  const model = toyModel({
    view: {
      scale1: 1 / 32,
      scale2: 1 / 8,
      tileStride: 100,
      tileSize: 100,
      subTileSize: 25,
    },
  });
  const bound = 16e6;
  const memory = new Memory(bound);
  const few = await peakOf(model, { samples: 50, memory });
  const many = await peakOf(model, { samples: 500, memory });
  assert.ok(many < bound / 2, `${many} bytes`);
  // Features stay, of a plain and a contrastive draw; activations do not: f
  // makes 560 KB of a sub-tile.
  const ofEach = (many - few) / (2 * 450);
  assert.ok(ofEach < 4000, `${ofEach} bytes more for each sub-tile`);
  disposeParameters(model.parameters);
});
