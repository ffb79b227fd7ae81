/**
 * Whole classifications as a GPU computes them: with its cut of the convolutions,
 * on any adapter, beside the wasm engine. And what they ask of the host.
 *
 * @module
 */
import assert from "node:assert/strict";
import { HARDWARE } from "../../kernels/conv/webgpu/plan.ts";
import { startEngine } from "../../lib/engine/select.ts";
import { predict } from "../../lib/eval/predict.ts";
import type { Pyramid } from "../../lib/image/pyramid.ts";
import { Memory } from "../../lib/memory.ts";
import type { Config } from "../../lib/model/config.ts";
import type { Model } from "../../lib/model/model.ts";
import { modelSpecs } from "../../lib/model/networks.ts";
import {
  disposeParameters,
  initialParameters,
} from "../../lib/model/parameters.ts";
import { preset } from "../../lib/model/presets.ts";
import { gpuCounts } from "../bench/gpu_counts.ts";
import { maxError, testOnWebGpu } from "../engines.ts";
import { withBudget } from "../kernels/conv/webgpu/budget.ts";
import { noiseImage, toyModel } from "../model/toy.ts";

interface Case {
  model: () => Model;
  images: Pyramid[];
  memory?: Memory;
}

function colon(count: number): Case {
  const config = preset("colon");
  config.view.foreground = "none"; // noise is no tissue
  const classes = [config.referenceClass!, "other"];
  const { initialisation } = config.network;
  return {
    model: () => ({
      config,
      classes,
      normalisation: { mean: [0.5, 0.5, 0.5], deviation: [0.3, 0.3, 0.3] },
      calibration: null,
      parameters: initialParameters(
        modelSpecs(config, classes),
        { initialisation, seed: 1 },
      ),
    }),
    images: Array.from(
      { length: count },
      (_, i) => noiseImage({ width: 500, height: 500 }, i),
    ),
  };
}

function toy(network: Partial<Config["network"]>): Case {
  return {
    model: () => toyModel({ peak: 3, view: { subTileSize: 15 }, network }),
    images: [0, 1, 2].map((i) =>
      noiseImage({ width: 72 + 8 * (i % 2), height: 64 }, i)
    ),
  };
}

async function predictionsOf(
  { model: make, images, memory = new Memory() }: Case,
) {
  const model = make();
  const { predictions } = await predict(model, images, {
    seed: 1,
    attention: true,
    memory,
  });
  disposeParameters(model.parameters);
  return predictions;
}

const CASES: Record<string, () => Case> = {
  "colon": () => colon(3),
  "lenet": () => toy({ features: "lenet" }),
  "resnet": () => toy({ features: "resnet" }),
  "ats": () => toy({ features: "ats" }),
  "evidence": () => toy({ head: "evidence" }),
  "in blocks": () => ({ ...toy({}), memory: new Memory(2 ** 18) }),
};

for (const [name, make] of Object.entries(CASES)) {
  testOnWebGpu(`a GPU's classification is that of wasm: ${name}`, async () => {
    const own = make();
    await startEngine("wasm");
    const expected = await predictionsOf(own);
    await startEngine("webgpu");
    let actual: typeof expected = [];
    await withBudget(HARDWARE, async () => actual = await predictionsOf(own));
    assert.equal(actual.length, expected.length);
    for (const [i, prediction] of actual.entries()) {
      const { probabilities, tiles, subTiles } = expected[i]!;
      assert.deepEqual(prediction.tiles, tiles);
      assert.ok(
        maxError(prediction.probabilities, probabilities) < 1e-4,
      );
      assert.ok(
        maxError(
          prediction.subTiles.map(({ weight }) => weight),
          subTiles.map(({ weight }) => weight),
        ) < 1e-4,
      );
    }
  });
}

testOnWebGpu("eight classifications ask little of the host", async () => {
  const { model: make, images } = colon(8);
  const model = make();
  await withBudget(HARDWARE, async () => {
    const counts = await gpuCounts(() =>
      predict(model, images, { seed: 1, memory: new Memory() })
    );
    // Networks a and b run once each: their logits are kept.
    assert.ok(counts.dispatches <= 75, `${counts.dispatches} dispatches`);
    assert.ok(counts.submits <= 4, `${counts.submits} submits`);
    assert.equal(counts.stagingBuffers, 0);
    assert.ok(counts.readBacks <= 3, `${counts.readBacks} read-backs`);
  });
  disposeParameters(model.parameters);
});
