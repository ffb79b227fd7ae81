import type { MapSize } from "../../lib/image/geometry.ts";
import assert from "node:assert/strict";
import { setImmediate } from "node:timers";
import * as tf from "@tensorflow/tfjs-core";
import { randomKey } from "../../kernels/random.ts";
import { startEngine } from "../../lib/engine/select.ts";
import type { Pyramid } from "../../lib/image/pyramid.ts";
import { Memory } from "../../lib/memory.ts";
import { attentionLogits, features } from "../../lib/model/networks.ts";
import { disposeParameters } from "../../lib/model/parameters.ts";
import type { LookImage, LookOptions } from "../../lib/model/look/draws.ts";
import { lookWhole } from "../../lib/model/look/whole.ts";
import { type WholeLook, wholeLook } from "../../lib/model/look/whole_look.ts";
import { supportsOf } from "../../lib/model/look/support/support.ts";
import { held } from "../../lib/model/look/sub_tiles.ts";
import type { Model } from "../../lib/model/model.ts";
import { tileLogits } from "../../lib/model/look/attention.ts";
import { readFeatures, score } from "../../lib/model/zoom_in.ts";
import { predict } from "../../lib/eval/predict.ts";
import { crossEntropy } from "../../lib/model/targets/classes.ts";
import { ignoreGpu, maxError, testOnEngines, testOnWasm } from "../engines.ts";
import { normalTensor, relativeError } from "../finite_differences.ts";
import {
  drawnImage,
  exactExpectation,
  lookEverywhere,
  type Masks,
  noiseImage,
  toyModel,
  trainedParameters,
  type WholeLook as Everywhere,
} from "./toy.ts";

const SEEDED: LookOptions = {
  samples: 6,
  draws: "seeded",
  memory: new Memory(),
};

const IMAGE = { width: 48, height: 40 };

/** Plans of `batches` times `size` looks at one image, each its own key. */
async function* manyPlans(
  model: Model,
  image: Pyramid,
  { batches, size, samples }: Record<"batches" | "size" | "samples", number>,
): AsyncGenerator<WholeLook> {
  for (let batch = 0; batch < batches; batch++) {
    const planned = await lookWhole(
      model,
      Array.from({ length: size }, (_, i) => ({
        pyramid: image,
        key: randomKey(4, batch, i),
      })),
      { ...SEEDED, samples },
    );
    try {
      yield planned;
    } finally {
      planned.dispose();
    }
  }
}

/** Mean and squared standard error of each number, from equal batches. */
class Means {
  readonly #sums: Float64Array;
  readonly #squares: Float64Array;
  #count = 0;

  constructor(readonly length: number) {
    this.#sums = new Float64Array(length);
    this.#squares = new Float64Array(length);
  }

  add(values: ArrayLike<number>): void {
    assert.equal(values.length, this.length);
    this.#count++;
    for (let i = 0; i < this.length; i++) {
      this.#sums[i]! += values[i]!;
      this.#squares[i]! += values[i]! ** 2;
    }
  }

  /** Largest distance from `expected`, in standard errors. */
  deviation(expected: ArrayLike<number>): number {
    const n = this.#count;
    let largest = 0;
    for (let i = 0; i < this.length; i++) {
      const mean = this.#sums[i]! / n;
      const variance = (this.#squares[i]! / n - mean ** 2) / (n - 1);
      const distance = Math.abs(mean - expected[i]!);
      // a channel that is always 0, and float32 beside it
      if (distance < 1e-7) continue;
      largest = Math.max(largest, distance / Math.sqrt(Math.max(variance, 0)));
    }
    return largest;
  }
}

/** F of each row: weights times features, row by row. */
async function representations(planned: WholeLook, model: Model) {
  const { weights, features } = tf.tidy(() => {
    const { weights, features } = score(model, planned);
    return { weights, features };
  });
  const w = await weights.data(), f = await features.data();
  const channels = features.shape[1];
  tf.dispose([weights, features]);
  const rows = planned.glimpses.map(() => new Float64Array(channels));
  let at = 0;
  planned.draws.drawn.forEach((drawn, tile) => {
    const row = rows[planned.draws.rowOf[tile]!]!;
    for (let k = 0; k < drawn; k++, at++) {
      for (let c = 0; c < channels; c++) {
        row[c]! += w[at]! * f[at * channels + c]!;
      }
    }
  });
  return rows;
}

/** The masks of a support, by its counts; a tile without px has beta anyway. */
async function masksOf(
  model: Model,
  pyramid: Pyramid,
  { tensors, regions, tiles, subTiles }: Everywhere,
): Promise<Masks | undefined> {
  const supports = await supportsOf(
    tensors.view,
    [{ pyramid }],
    model.config.view,
  );
  if (!supports) return undefined;
  const [support] = supports;
  const ofTiles = regions.tiles.map((_, tile) =>
    support!.ofTiles.has(tile) ? 0 : -Infinity
  );
  const ofSubTiles = regions.tiles.map((region, tile) =>
    support!.ofTiles.has(tile)
      ? [...support!.mask(region)]
      : new Array<number>(subTiles).fill(0)
  );
  return {
    tiles: tf.tensor2d(ofTiles, [1, tiles]),
    subTiles: tf.tensor2d(ofSubTiles),
  };
}

for (const support of [null, 6]) {
  const where = support === null ? "everywhere" : "in a support";
  testOnEngines(
    `the mean F of many draws is the exact sum, ${where}`,
    async ({ backend }) => {
      const model = toyModel({ view: { support }, peak: 3 });
      const image = noiseImage(IMAGE, 2);
      const look = await lookEverywhere(model, image);
      const masks = await masksOf(model, image, look);
      const exact = tf.tidy(() => exactExpectation(model, look, masks).F);
      const means = new Means(48);
      const batches = backend === "wasm" ? 30 : 4;
      for await (
        const planned of manyPlans(model, image, {
          batches,
          size: 50,
          samples: 4,
        })
      ) {
        for (const row of await representations(planned, model)) means.add(row);
      }
      const deviation = means.deviation(await exact.data());
      assert.ok(deviation < 4, `${deviation} standard errors`);
      tf.dispose([exact, ...Object.values(look.tensors)]);
      tf.dispose(masks ? [masks.tiles, masks.subTiles] : []);
      disposeParameters(model.parameters);
    },
  );
}

/** Parameters whose gradients determine those of the attention logits. */
const LAST_LAYERS = ["a/conv3/weight", "b/conv3/weight"];

testOnEngines(
  "the mean attention gradient of many draws is the exact one",
  async ({ backend }) => {
    const model = toyModel({ peak: 6 });
    const ats: Model = {
      ...model,
      config: {
        ...model.config,
        training: { ...model.config.training, gradient: "ats" },
      },
    };
    const image = noiseImage(IMAGE, 2);
    const look = await lookEverywhere(model, image);
    const variables = LAST_LAYERS.map((name) => model.parameters.get(name)!);
    // A linear loss: the difference of the logits.
    const linear = (logits: tf.Tensor2D) =>
      tf.sum(tf.mul(logits, tf.tensor1d([-1, 1]))) as tf.Scalar;
    const gradients = async (loss: () => tf.Scalar) => {
      const { value, grads } = tf.variableGrads(loss, variables);
      const tensors = variables.map(({ name }) => grads[name]!);
      const values = await Promise.all(tensors.map((tensor) => tensor.data()));
      tf.dispose([value, ...tensors]);
      return values;
    };
    const exact = await gradients(() =>
      linear(exactExpectation(model, look).logits)
    );
    const [size, batches] = backend === "wasm" ? [25, 40] : [8, 8];
    const means = variables.map(() => new Means(72));
    const biased = new Means(72);
    for await (
      const planned of manyPlans(model, image, { batches, size, samples: 16 })
    ) {
      const [a, b] = await gradients(() =>
        linear(score(model, planned).logits)
      );
      means[0]!.add(a!.map((value) => value / size));
      means[1]!.add(b!.map((value) => value / size));
      if (backend !== "wasm") continue;
      const [, other] = await gradients(() =>
        linear(score(ats, planned).logits)
      );
      biased.add(other!.map((value) => value / size));
    }
    // The errors of 8 batches are themselves uncertain: Student's t.
    const bound = backend === "wasm" ? 4 : 6;
    means.forEach((mean, i) => {
      const deviation = mean.deviation(exact[i]!);
      assert.ok(
        deviation < bound,
        `${LAST_LAYERS[i]}: ${deviation} standard errors`,
      );
    });
    if (backend === "wasm") {
      const deviation = biased.deviation(exact[1]!);
      assert.ok(deviation > 8, `the biased rule: only ${deviation}`);
    }
    tf.dispose(Object.values(look.tensors));
    disposeParameters(model.parameters);
  },
);

testOnEngines("F converges to the exact sum as N grows", async () => {
  const model = toyModel({ view: { scale2: 0.5 }, peak: 2 });
  const image = noiseImage(IMAGE, 2);
  const look = await lookEverywhere(model, image);
  const exact = tf.tidy(() => exactExpectation(model, look).F);
  const expected = await exact.data();
  const errors: number[] = [];
  for (const samples of [4, 36, 324]) {
    let squares = 0;
    for await (
      const planned of manyPlans(model, image, { batches: 1, size: 6, samples })
    ) {
      for (const row of await representations(planned, model)) {
        row.forEach((value, c) => squares += (value - expected[c]!) ** 2);
      }
    }
    errors.push(Math.sqrt(squares / 6));
  }
  // 9 times the samples, a third of the error; half leaves room for chance
  assert.ok(errors[1]! < errors[0]! / 2, `${errors}`);
  assert.ok(errors[2]! < errors[1]! / 2, `${errors}`);
  tf.dispose([exact, ...Object.values(look.tensors)]);
  disposeParameters(model.parameters);
});

/** Three images of different size, turn and content. */
function differentImages() {
  return [
    noiseImage(IMAGE, 1),
    noiseImage({ width: 33, height: 71 }, 2),
    noiseImage(IMAGE, 3),
  ].map((pyramid, i) => ({ pyramid, key: randomKey(9, i) }));
}

/** Places that were drawn in each image, and its logits. */
async function looks(
  model: Model,
  images: LookImage[],
  options = SEEDED,
) {
  const planned = await lookWhole(model, images, options);
  const logits = tf.tidy(() => score(model, planned).logits);
  const values = await logits.array() as number[][];
  const found = planned.glimpses.map((glimpse, row) => ({
    image: glimpse.image,
    contrastive: glimpse.contrastive,
    tiles: glimpse.tiles,
    tileRegions: glimpse.tileRegions,
    subTileRegions: glimpse.subTileRegions,
    logits: values[row]!,
  }));
  logits.dispose();
  planned.dispose();
  return found;
}

testOnEngines("a batch equals its images alone, in any order", async () => {
  const model = toyModel({ peak: 3 });
  const images = differentImages();
  const batch = await looks(model, images);
  const order = [2, 0, 1];
  const turned = await looks(model, order.map((i) => images[i]!));
  for (const [i, image] of images.entries()) {
    const [alone] = await looks(model, [image]);
    for (const other of [batch[i]!, turned[order.indexOf(i)]!]) {
      assert.deepEqual(other.tiles, alone!.tiles);
      assert.deepEqual(other.tileRegions, alone!.tileRegions);
      assert.deepEqual(other.subTileRegions, alone!.subTileRegions);
      assert.ok(maxError(other.logits, alone!.logits) < 1e-5);
    }
  }
  disposeParameters(model.parameters);
});

testOnEngines("the gradient of a batch is the sum of its images'", async () => {
  const model = toyModel({ peak: 3 });
  const trained = trainedParameters(model);
  const images = differentImages().map((image) => ({
    ...image,
    contrastive: true,
  }));
  const gradientsOf = async (images: LookImage[]) => {
    const planned = await lookWhole(model, images, SEEDED);
    const { value, grads } = tf.variableGrads(() => {
      const { logits } = score(model, planned);
      const rows = planned.glimpses;
      return crossEntropy(logits, {
        targets: rows.map(({ contrastive }) => contrastive ? 0 : 1),
        weights: rows.map(() => 1),
      });
    }, [...trained.values()]);
    planned.dispose();
    value.dispose();
    return grads;
  };
  const batch = await gradientsOf(images);
  const alone: tf.NamedTensorMap[] = [];
  for (const image of images) alone.push(await gradientsOf([image]));
  for (const [name, variable] of trained) {
    const of = (grads: tf.NamedTensorMap) => grads[variable.name]!;
    if (/conv3.bias/.test(name)) continue; // 0 but for rounding: a shift
    const sum = tf.tidy(() => tf.sum(tf.stack(alone.map(of)), 0));
    const error = relativeError(await of(batch).data(), await sum.data());
    assert.ok(error < 1e-3, `${name}: ${error}`);
    sum.dispose();
  }
  tf.dispose([batch, ...alone].flatMap((grads) => Object.values(grads)));
  disposeParameters(model.parameters);
});

testOnEngines(
  "a contrastive glimpse leaves the others as they are",
  async () => {
    const model = toyModel({ peak: 3 });
    const images = differentImages();
    const plain = await looks(model, images);
    const all = await looks(
      model,
      images.map((image, i) => ({ ...image, contrastive: i !== 1 })),
    );
    assert.deepEqual(
      all.map(({ image, contrastive }) => [image, contrastive]),
      [[0, false], [1, false], [2, false], [0, true], [2, true]],
    );
    for (const [row, glimpse] of plain.entries()) {
      assert.deepEqual(all[row]!.subTileRegions, glimpse.subTileRegions);
      assert.ok(maxError(all[row]!.logits, glimpse.logits) < 1e-5);
    }
    disposeParameters(model.parameters);
  },
);

testOnEngines("the sub-tiles lie in their tiles' maps, N in all", async () => {
  const model = toyModel({ peak: 20 }); // so peaked that tiles are full
  const images = differentImages();
  const planned = await lookWhole(model, images, { ...SEEDED, samples: 40 });
  const { counts, drawn, rowOf, samples } = planned.draws;
  for (const row of images.keys()) {
    const ofRow = counts.filter((_, tile) => rowOf[tile] === row);
    assert.equal(ofRow.reduce((a, b) => a + b, 0), samples);
  }
  let at = 0;
  drawn.forEach((n, tile) => {
    assert.equal(n, Math.min(counts[tile]!, 16)); // 4 x 4 locations a tile
    const places = planned.locations.slice(at, at += n);
    assert.equal(new Set(places).size, n);
    assert.ok(places.every((place) => place >= 0 && place < 16));
  });
  assert.ok(drawn.includes(16) && counts.some((count) => count > 16));
  assert.equal(at, planned.subTiles!.shape[0]);
  const logits = tf.tidy(() => score(model, planned).logits);
  assert.ok((await logits.data()).every(Number.isFinite));
  logits.dispose();
  planned.dispose();
  disposeParameters(model.parameters);
});

/** Dark, with a bright object of 8 x 8 px whose first pixel is (x, y). */
function imageWithObject(x: number, y: number) {
  return drawnImage({ width: 64, height: 64 }, (px, py) => {
    const inside = px >= x && px < x + 8 && py >= y && py < y + 8;
    return inside ? [250, 120, 30] : [20 + (px * py) % 9, 25, 40];
  });
}

testOnEngines("the contrastive gradient raises a missed object", async () => {
  const model = toyModel();
  const { parameters } = model;
  const image = imageWithObject(36, 20);
  const look = await lookEverywhere(model, image);
  // The middle of a sub-tile decides its class.
  const middle = tf.tidy(() =>
    tf.slice(look.tensors.subTiles, [0, 3, 3, 0], [-1, 1, 1, 1])
  );
  const middles = await middle.data();
  middle.dispose();
  const isObject = [...middles].map((red) => red > 0.5);
  const places = [...isObject.keys()].filter((at) => isObject[at]);
  assert.ok(places.length > 10);
  const tilesWith = new Set(places.map((at) => Math.floor(at / 16)));
  const besides = [...isObject.keys()].filter((at) =>
    !isObject[at] && tilesWith.has(Math.floor(at / 16))
  );

  /** Difference between the logits at the object and elsewhere. */
  const contrasts = async () => {
    const [a, b] = tf.tidy(() => [
      tileLogits(parameters, look.tensors.view, { rows: 8, columns: 8 }),
      attentionLogits(parameters, "b", look.tensors.tileViews),
    ]) as [tf.Tensor, tf.Tensor];
    const ofTiles = await a.data(), ofSubTiles = await b.data();
    tf.dispose([a, b]);
    const others = [...ofTiles.keys()].filter((tile) => !tilesWith.has(tile));
    return {
      a: meanAt(ofTiles, [...tilesWith]) - meanAt(ofTiles, others),
      b: meanAt(ofSubTiles, places) - meanAt(ofSubTiles, besides),
    };
  };
  // Both attentions are the red of the pixel, then turned away from it.
  for (const net of ["a", "b"] as const) {
    for (const layer of [1, 2, 3]) {
      setCentreTap(parameters.get(`${net}/conv${layer}/weight`)!, 1);
    }
  }
  const start = await contrasts();
  for (const net of ["a", "b"] as const) {
    setCentreTap(parameters.get(`${net}/conv3/weight`)!, -0.5 / start[net]);
  }
  const before = await contrasts(); // half a nat below
  assert.ok(maxError(Object.values(before), [-0.5, -0.5]) < 1e-4);

  // g calls sub-tiles like the object's positive.
  tf.tidy(() => {
    const all = score(model, everywhere(model, look)).features; // [64 * 16, 48]
    const object = tf.mean(tf.gather(all, places), 0, true);
    const ground = tf.mean(all, 0, true);
    const column = tf.transpose(tf.mul(tf.sub(object, ground), 10)); // [48, 1]
    const weight = tf.concat([tf.neg(column), column], 1);
    parameters.get("g/weight")!.assign(weight);
    const middle = tf.mul(tf.add(object, ground), 0.5);
    const bias = tf.neg(tf.matMul(middle, weight));
    parameters.get("g/bias")!.assign(tf.reshape(bias, [2]));
  });

  const size = 12;
  const planned = await lookWhole(
    model,
    Array.from({ length: size }, (_, i) => ({
      pyramid: image,
      key: randomKey(5, i),
      contrastive: true,
    })),
    { ...SEEDED, samples: 40 },
  );
  const names = [...parameters.keys()].filter((name) => /^[ab]\//.test(name));
  const variables = names.map((name) => parameters.get(name)!);
  const { value, grads } = tf.variableGrads(() => {
    const { logits } = score(model, planned);
    const weights = planned.glimpses.map(({ contrastive }) =>
      contrastive ? 1 / size : 0
    );
    const targets = planned.glimpses.map(() => 0); // the reference class
    return crossEntropy(logits, { targets, weights });
  }, variables);
  for (const net of ["a", "b"]) { // a step of one length in each
    const own = names.filter((name) => name.startsWith(net))
      .map((name) => parameters.get(name)!);
    tf.tidy(() => {
      const squares = own.map(({ name }) => tf.sum(tf.square(grads[name]!)));
      const scale = tf.div(0.01, tf.sqrt(tf.sum(tf.stack(squares))));
      for (const variable of own) {
        variable.assign(tf.sub(variable, tf.mul(grads[variable.name]!, scale)));
      }
    });
  }
  const after = await contrasts();
  assert.ok(after.a > before.a + 1e-3, `a: ${before.a} to ${after.a}`);
  assert.ok(after.b > before.b + 1e-3, `b: ${before.b} to ${after.b}`);

  planned.dispose();
  tf.dispose([value, ...Object.values(grads), ...Object.values(look.tensors)]);
  disposeParameters(parameters);
});

/** A filter that passes the first channel on, times `factor`. */
function setCentreTap(weight: tf.Variable, factor: number): void {
  const values = new Float32Array(weight.size);
  values[4 * weight.size / 9] = factor;
  tf.tidy(() => weight.assign(tf.tensor(values, weight.shape)));
}

function meanAt(values: ArrayLike<number>, places: readonly number[]): number {
  return places.reduce((sum, at) => sum + values[at]!, 0) / places.length;
}

/** One location a px of a tile's view. */
function mapOf({ shape }: tf.Tensor4D): MapSize {
  return { rows: shape[1], columns: shape[2] };
}

/** A look at everything, in order. */
function everywhere(
  model: Model,
  { tensors, tiles, subTiles }: Awaited<ReturnType<typeof lookEverywhere>>,
): WholeLook {
  return wholeLook(model, [{}], {
    groups: [{
      images: [0],
      views: tensors.view,
      map: { rows: 8, columns: 8 },
      mask: undefined,
      locations: [64],
      supports: undefined,
    }],
    proposed: undefined,
    subTileMask: undefined,
    glimpses: [{
      image: 0,
      contrastive: false,
      map: { rows: 8, columns: 8 },
      locations: 64,
      tiles: Array.from({ length: tiles }, (_, i) => i),
      tileRegions: [],
      subTileRegions: [],
    }],
    draws: {
      samples: tiles * subTiles,
      rowOf: new Int32Array(tiles),
      counts: new Int32Array(tiles).fill(subTiles),
      drawn: new Int32Array(tiles).fill(subTiles),
    },
    locations: Int32Array.from(
      { length: tiles * subTiles },
      (_, i) => i % subTiles,
    ),
    subTileMap: mapOf(tensors.tileViews),
    tileViews: tensors.tileViews,
    ...held(tensors.subTiles),
    timings: { readMs: 0, stage1Ms: 0, stage2Ms: 0 },
    dispose() {},
  });
}

testOnEngines(
  "a contrastive draw weighs by (1 - beta) / (locations - 1)",
  async () => {
    const model = toyModel({ peak: 3 });
    const planned = await lookWhole(
      model,
      [{ pyramid: noiseImage(IMAGE, 2), key: randomKey(6), contrastive: true }],
      { ...SEEDED, samples: 24 },
    );
    const { weights, beta } = tf.tidy(() => {
      const { weights, attention } = score(model, planned);
      return { weights, beta: attention.maps!.subTiles };
    });
    const attention = await beta.array(), found = await weights.data();
    const { draws, locations, glimpses } = planned;
    let at = 0, severals = 0;
    draws.drawn.forEach((n, tile) => {
      const { contrastive } = glimpses[draws.rowOf[tile]!]!;
      const all = attention[tile]!;
      let left = 1;
      for (let k = 0; k < n; k++, at++) {
        const p = all[locations[at]!]!;
        const b = contrastive ? (1 - p) / (all.length - 1) : p;
        const weight = (left + (n - 1 - k) * b) / n; // eq. 9, as in expectation.ts
        const expected = weight * draws.counts[tile]! / 24;
        assert.ok(Math.abs(found[at]! - expected) < 1e-6);
        left -= b;
        if (contrastive && k > 0) severals++;
      }
    });
    assert.ok(severals > 0, "no tile was drawn twice");
    planned.dispose();
    tf.dispose([weights, beta]);
    disposeParameters(model.parameters);
  },
);

testOnEngines("contrastive glimpses look where attention is low", async () => {
  const model = toyModel({ peak: 40 });
  const image = noiseImage(IMAGE, 2);
  const planned = await lookWhole(
    model,
    Array.from({ length: 20 }, (_, i) => ({
      pyramid: image,
      key: randomKey(6, i),
      contrastive: true,
    })),
    { ...SEEDED, samples: 10 },
  );
  const attention = tf.tidy(() => {
    const { tiles, subTiles } = score(model, planned).attention.maps!;
    return { alpha: tiles[0]!, beta: subTiles };
  });
  const alpha = await attention.alpha.data();
  const beta = await attention.beta.array();
  const top = alpha.indexOf(Math.max(...alpha));
  assert.ok(alpha[top]! > 0.9, `${alpha[top]}`);
  const share = (contrastive: boolean) => {
    let hits = 0;
    planned.draws.rowOf.forEach((row, tile) => {
      const glimpse = planned.glimpses[row]!;
      if (glimpse.contrastive !== contrastive) return;
      const first = planned.draws.rowOf.indexOf(row);
      if (glimpse.tiles[tile - first] === top) {
        hits += planned.draws.counts[tile]!;
      }
    });
    return hits / 200;
  };
  assert.ok(share(false) > 0.85, `${share(false)}`);
  // (1 - alpha) / 29 is below 0.0035: of 200 draws at most a few
  assert.ok(share(true) < 0.02, `${share(true)}`);

  // The first sub-tile of each tile: its mean attention.
  const meanBeta = (contrastive: boolean) => {
    const drawn: number[] = [];
    let at = 0;
    planned.draws.rowOf.forEach((row, tile) => {
      if (planned.glimpses[row]!.contrastive === contrastive) {
        drawn.push(beta[tile]![planned.locations[at]!]!);
      }
      at += planned.draws.drawn[tile]!;
    });
    return drawn.reduce((a, b) => a + b, 0) / drawn.length;
  };
  assert.ok(meanBeta(false) > 0.4, `${meanBeta(false)}`);
  assert.ok(meanBeta(true) < 0.1, `${meanBeta(true)}`);
  tf.dispose(Object.values(attention));
  planned.dispose();
  disposeParameters(model.parameters);
});

testOnEngines(
  "one tile, one location: nothing to contrast, no NaN",
  async () => {
    const model = toyModel({
      view: { scale1: 0.1, scale2: 0.1, tileSize: 10, tileStride: 10 },
    });
    const found = await looks(
      model,
      [{
        pyramid: noiseImage({ width: 9, height: 12 }, 1),
        key: [1, 2],
        contrastive: true,
      }],
    );
    assert.equal(found.length, 2);
    for (const { tiles, subTileRegions, logits } of found) {
      assert.deepEqual(tiles, [0]);
      assert.equal(subTileRegions.length, 1);
      assert.ok(logits.every(Number.isFinite));
    }
    disposeParameters(model.parameters);
  },
);

testOnEngines(
  "features of zeros give no NaN, forward or backward",
  async () => {
    for (const network of ["lenet", "resnet", "ats"] as const) {
      const model = toyModel({
        view: { subTileSize: 14 },
        network: { features: network },
      });
      for (const [name, variable] of model.parameters) {
        if (!/^f\/.*(weight|bias|scale|shift)$/.test(name)) continue;
        tf.tidy(() => variable.assign(tf.zerosLike(variable)));
      }
      const planned = await lookWhole(
        model,
        [{ pyramid: noiseImage(IMAGE, 1), key: [1, 2], contrastive: true }],
        SEEDED,
      );
      const { value, grads } = tf.variableGrads(
        () =>
          tf.sum(
            score(model, planned, { updates: new Map() }).logits,
          ) as tf.Scalar,
        [...trainedParameters(model).values()],
      );
      for (const tensor of [value, ...Object.values(grads)]) {
        assert.ok((await tensor.data()).every(Number.isFinite), network);
      }
      tf.dispose([value, ...Object.values(grads)]);
      planned.dispose();
      disposeParameters(model.parameters);
    }
  },
);

testOnEngines("evaluation is bit-identical under a seed", async () => {
  const model = toyModel();
  const image = noiseImage(IMAGE, 4);
  const evaluate = async (seed: number) =>
    (await predict(model, [image], {
      seed,
      samples: 6,
      attention: true,
      memory: new Memory(),
    }))
      .predictions;
  const first = await evaluate(7);
  assert.deepEqual(await evaluate(7), first);
  const other = await evaluate(8);
  assert.notDeepEqual(other[0]!.subTiles, first[0]!.subTiles);
  assert.notDeepEqual(other[0]!.probabilities, first[0]!.probabilities);
  const weight = first[0]!.subTiles.reduce(
    (sum, { weight }) => sum + weight,
    0,
  );
  assert.ok(Math.abs(weight - 1) < 1e-5);
  disposeParameters(model.parameters);
});

testOnEngines("topN draws what is expected, whatever the key", async () => {
  const model = toyModel({ peak: 4 });
  const pyramid = noiseImage(IMAGE, 4);
  const options: LookOptions = { ...SEEDED, samples: 9, draws: "topN" };
  const planned = await lookWhole(model, [{ pyramid, key: [1, 2] }], options);
  const attention = tf.tidy(() => {
    const { tiles, subTiles } = score(model, planned).attention.maps!;
    return { alpha: tiles[0]!, beta: subTiles };
  });
  const alpha = [...await attention.alpha.data()];
  const beta = await attention.beta.array();

  // Largest remainder, by hand.
  const counts = alpha.map((p) => Math.floor(9 * p));
  const rest = alpha.map((p, i) => ({ i, rest: 9 * p - counts[i]! }))
    .sort((x, y) => y.rest - x.rest || x.i - y.i);
  const missing = 9 - counts.reduce((a, b) => a + b, 0);
  for (const { i } of rest.slice(0, missing)) counts[i]!++;
  const { tiles } = planned.glimpses[0]!;
  assert.deepEqual(tiles, counts.flatMap((count, i) => count > 0 ? [i] : []));
  assert.deepEqual(
    [...planned.draws.counts],
    counts.filter((count) => count > 0),
  );
  let at = 0;
  planned.draws.counts.forEach((count, tile) => {
    const largest = beta[tile]!.map((p, i) => ({ i, p }))
      .sort((x, y) => y.p - x.p).slice(0, count).map(({ i }) => i);
    assert.deepEqual([...planned.locations.slice(at, at += count)], largest);
  });

  const [again] = await looks(model, [{ pyramid, key: [77, 3] }], options);
  assert.deepEqual(again!.subTileRegions, planned.glimpses[0]!.subTileRegions);
  tf.dispose(Object.values(attention));
  planned.dispose();
  disposeParameters(model.parameters);
});

testOnEngines("a grid pools the logits of its cells", async () => {
  const model = toyModel({ peak: 3 });
  const view = normalTensor<tf.Rank.R4>([2, 6, 9, 3], 5);
  const dense = tf.tidy(() => attentionLogits(model.parameters, "a", view));
  const logits = await dense.array();
  const pooled = async (map: { rows: number; columns: number }) => {
    const cells = tf.tidy(() => tileLogits(model.parameters, view, map));
    assert.deepEqual(cells.shape, [2, map.rows * map.columns]);
    const values = await cells.data();
    cells.dispose();
    return values;
  };
  const mean = (n: number, rows: number[], columns: number[]) => {
    let sum = 0;
    for (const row of rows) {
      for (const column of columns) sum += logits[n]![row]![column]!;
    }
    return sum / (rows.length * columns.length);
  };
  // 6 x 9 locations in 2 x 3 cells of 3 x 3
  const whole = [0, 1].flatMap((n) =>
    [[0, 1, 2], [3, 4, 5]].flatMap((rows) =>
      [[0, 1, 2], [3, 4, 5], [6, 7, 8]].map((columns) => mean(n, rows, columns))
    )
  );
  assert.ok(maxError(await pooled({ rows: 2, columns: 3 }), whole) < 1e-5);
  // 6 rows in 4 cells of 1.5: the shares 1 and 1/2 of two rows
  const shares = [[[0, 1], [1, 0.5]], [[1, 0.5], [2, 1]], [[3, 1], [4, 0.5]], [[
    4,
    0.5,
  ], [5, 1]]];
  const all = Array.from({ length: 9 }, (_, i) => i);
  const split = [0, 1].flatMap((n) =>
    shares.map((parts) =>
      parts.reduce(
        (sum, [row, share]) => sum + share! * mean(n, [row!], all) / 1.5,
        0,
      )
    )
  );
  assert.ok(maxError(await pooled({ rows: 4, columns: 1 }), split) < 1e-5);
  tf.dispose([view, dense]);
  disposeParameters(model.parameters);
});

testOnEngines("the gradient flows through a grid", async () => {
  const model = toyModel({ view: { tileStride: 16 }, peak: 3 });
  const image = noiseImage(IMAGE, 2);
  const found = await looks(model, [{ pyramid: image, key: [3, 4] }]);
  assert.ok(found[0]!.tiles.every((tile) => tile < 2 * 3)); // 40 x 48 px by 16
  for (const { x, y } of found[0]!.tileRegions) {
    assert.ok([0, 16, 32].includes(x) && [2, 22].includes(y), `${x}, ${y}`);
  }
  const planned = await lookWhole(
    model,
    [{ pyramid: image, key: [3, 4] }],
    SEEDED,
  );
  const weight = model.parameters.get("a/conv3/weight")!;
  const { value, grads } = tf.variableGrads(
    () =>
      crossEntropy(score(model, planned).logits, {
        targets: [0],
        weights: [1],
      }),
    [weight],
  );
  const gradient = await grads[weight.name]!.data();
  assert.ok(gradient.every(Number.isFinite) && gradient.some((g) => g !== 0));
  tf.dispose([value, ...Object.values(grads)]);
  planned.dispose();
  disposeParameters(model.parameters);
});

testOnEngines("a tile larger than the image", async () => {
  const model = toyModel({ view: { tileSize: 100, scale2: 0.125 } });
  const [found] = await looks(model, [
    { pyramid: noiseImage({ width: 24, height: 31 }, 1), key: [1, 2] },
  ]);
  assert.ok(found!.logits.every(Number.isFinite));
  assert.ok(found!.tileRegions.every(({ x, y }) => x < 0 && y < 0));
  disposeParameters(model.parameters);
});

Deno.test({
  name: "wasm and webgpu draw the same and agree on the logits",
  ignore: ignoreGpu,
  async fn() {
    const results = [];
    for (const backend of ["wasm", "webgpu"] as const) {
      await startEngine(backend);
      const ofBackend = [];
      for (const features of ["lenet", "resnet", "ats"] as const) {
        const model = toyModel({
          network: { features },
          view: { subTileSize: 14 },
          peak: 3,
        });
        ofBackend.push(
          ...await looks(
            model,
            differentImages().map((image) => ({ ...image, contrastive: true })),
            { ...SEEDED, samples: 10 },
          ),
          ...await looks(model, differentImages(), {
            ...SEEDED,
            samples: 10,
            draws: "topN",
          }),
        );
        disposeParameters(model.parameters);
      }
      results.push(ofBackend);
    }
    const [wasm, webgpu] = results;
    assert.equal(wasm!.length, 27);
    for (const [i, { logits, ...draws }] of wasm!.entries()) {
      const { logits: others, ...otherDraws } = webgpu![i]!;
      assert.deepEqual(otherDraws, draws);
      assert.ok(maxError(others, logits) < 1e-4);
    }
  },
});

testOnWasm(
  "features are read in slices, between which it can be stopped",
  async () => {
    const model = toyModel();
    const { parameters, config } = model;
    const subTiles = tf.randomUniform([600, 28, 28, 3], 0, 1, "float32", 1);
    const read = await readFeatures(model, held(subTiles as tf.Tensor4D));
    const whole = tf.tidy(() =>
      features(parameters, config.network, subTiles as tf.Tensor4D)
    );
    assert.deepEqual(read.shape, whole.shape);
    assert.deepEqual(await read.data(), await whole.data());
    const leaving = new AbortController();
    const left = readFeatures(model, held(subTiles as tf.Tensor4D), {
      signal: leaving.signal,
    });
    setImmediate(() => leaving.abort(new Error("left")));
    await assert.rejects(left, { message: "left" });
    tf.dispose([subTiles, read, whole]);
    disposeParameters(parameters);
  },
);
