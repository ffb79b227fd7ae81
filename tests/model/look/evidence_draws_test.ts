/** Draws of the head `evidence` as estimators, through both stages. */
import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import { randomKey } from "../../../kernels/random.ts";
import { Foreground } from "../../../lib/image/foreground/foreground.ts";
import { tileMapSize } from "../../../lib/image/geometry.ts";
import type { Pyramid } from "../../../lib/image/pyramid.ts";
import { Memory } from "../../../lib/memory.ts";
import { classify, hiddenFeatures } from "../../../lib/model/head.ts";
import {
  subTileLogits,
  tileLogits,
} from "../../../lib/model/look/attention.ts";
import { supportsOf } from "../../../lib/model/look/support/support.ts";
import { subTileMap } from "../../../lib/model/look/draws.ts";
import { lookWhole } from "../../../lib/model/look/whole.ts";
import type { WholeLook } from "../../../lib/model/look/whole_look.ts";
import type { Model } from "../../../lib/model/model.ts";
import { features } from "../../../lib/model/networks.ts";
import { disposeParameters } from "../../../lib/model/parameters.ts";
import { score } from "../../../lib/model/zoom_in.ts";
import { evidenceOffsets, rowsOf } from "../../../lib/sampling/evidence.ts";
import { testOnEngines } from "../../engines.ts";
import {
  lookEverywhere,
  noiseImage,
  toyModel,
  type ToyOptions,
} from "../toy.ts";

const IMAGE = { width: 48, height: 40 };
const SAMPLES = 5, EXPLORATION = 0.3, SHARPNESS = 1.5;

/** The left two thirds of the image. */
function foreground(): Foreground {
  return new Foreground(
    { cells: Uint8Array.of(1, 1, 0), rows: 1, columns: 3 },
    IMAGE,
  );
}

/** Places that may be drawn, in several ways. */
const WAYS: Record<
  string,
  { view: NonNullable<ToyOptions["view"]>; foreground?: Foreground }
> = {
  "everywhere": { view: { tileStride: 16 } },
  "overlapping tiles": { view: {}, foreground: foreground() },
  "support": { view: { support: 7 } },
  "support, foreground, cells": {
    view: { tileStride: 16, subTileStride: 5, support: 9 },
    foreground: foreground(),
  },
};

function modelOf(view: NonNullable<ToyOptions["view"]>): Model {
  return toyModel({
    view,
    network: {
      head: "evidence",
      evidence: { sharpness: SHARPNESS, objects: null },
    },
    classes: ["nothing", "one", "other"],
    referenceClass: "nothing",
    peak: 4,
  });
}

/** What may be drawn of an image, by plain loops over all locations. */
interface Exact {
  /** q of each tile, and of each location given its tile. */
  tiles: number[];
  subTiles: number[][];
  /** G. */
  locations: number;
  /** Mean over all locations of exp(r z) of each class. */
  means: number[];
}

function softmax(logits: number[], allowed: boolean[]): number[] {
  const weights = logits.map((logit, i) => allowed[i] ? Math.exp(logit) : 0);
  const sum = weights.reduce((a, b) => a + b);
  return weights.map((weight) => weight / sum);
}

async function exactOf(
  model: Model,
  pyramid: Pyramid,
  foreground: Foreground | undefined,
): Promise<Exact> {
  const { parameters, config } = model;
  const { scale1: scale, tileStride: stride } = config.view;
  const map = tileMapSize(pyramid, { scale, stride });
  const everywhere = await lookEverywhere(model, pyramid);
  const { tensors, regions } = everywhere;
  const supports = await supportsOf(
    tensors.view,
    [{ pyramid, foreground }],
    config.view,
  );
  const cells = everywhere.subTiles;
  const allowedTiles = foreground?.locations(map, { scale, stride });
  const allowed = regions.tiles.map((region, tile) => {
    const own = supports?.[0]?.cells(region) ?? new Uint8Array(cells).fill(1);
    return [...own].map((one) => one === 1 && allowedTiles?.[tile] !== 0);
  });
  const [ofTiles, ofSubTiles, z] = tf.tidy(() => [
    tileLogits(parameters, tensors.view, map),
    subTileLogits(parameters, tensors.tileViews, subTileMap(model)),
    classify(
      parameters,
      hiddenFeatures(
        parameters,
        features(parameters, config.network, tensors.subTiles),
      ),
    ),
  ]) as [tf.Tensor2D, tf.Tensor2D, tf.Tensor2D];
  const alpha = softmax(
    (await ofTiles.array())[0]!,
    allowed.map((own) => own.includes(true)),
  );
  const betas = (await ofSubTiles.array()).map((logits, tile) =>
    allowed[tile]!.includes(true) ? softmax(logits, allowed[tile]!) : logits
  );
  const logits = await z.array();
  tf.dispose([ofTiles, ofSubTiles, z, ...Object.values(tensors)]);

  const counts = allowed.map((own) => own.filter(Boolean).length);
  const locations = counts.reduce((a, b) => a + b);
  const q = alpha.map((alpha, tile) =>
    (1 - EXPLORATION) * alpha + EXPLORATION * counts[tile]! / locations
  );
  const means = logits[0]!.map((_, k) =>
    logits.reduce(
      (sum, row, i) =>
        allowed[Math.floor(i / cells)]![i % cells]
          ? sum + Math.exp(SHARPNESS * row[k]!) / locations
          : sum,
      0,
    )
  );
  return {
    tiles: q,
    subTiles: betas.map((beta, tile) =>
      beta.map((b, cell) =>
        allowed[tile]![cell]
          ? ((1 - EXPLORATION) * alpha[tile]! * b + EXPLORATION / locations) /
            q[tile]!
          : 0
      )
    ),
    locations,
    means,
  };
}

/** Mean and variance of a number that is drawn. */
class Mean {
  #count = 0;
  #sum = 0;
  #squares = 0;

  add(value: number): void {
    this.#count++;
    this.#sum += value;
    this.#squares += value ** 2;
  }

  /** Distance from `expected`, in standard errors. */
  deviation(expected: number): number {
    const mean = this.#sum / this.#count;
    const variance = this.#squares / this.#count - mean ** 2;
    return Math.abs(mean - expected) / Math.sqrt(variance / this.#count);
  }
}

/** Looks at one image under as many keys. */
async function* looks(
  model: Model,
  image: { pyramid: Pyramid; foreground: Foreground | undefined },
  { batches, size }: { batches: number; size: number },
): AsyncGenerator<WholeLook> {
  for (let batch = 0; batch < batches; batch++) {
    const images = Array.from({ length: size }, (_, i) => ({
      ...image,
      key: randomKey(6, batch, i),
    }));
    const look = await lookWhole(model, images, {
      samples: SAMPLES,
      draws: "seeded",
      exploration: EXPLORATION,
      memory: new Memory(),
    });
    try {
      yield look;
    } finally {
      look.dispose();
    }
  }
}

/** Compares draws with q: numbers of them, and q that came with them. */
class DrawCounts {
  readonly ofTiles: number[];
  readonly ofSubTiles: number[][];
  readonly #exact: Exact;

  constructor(exact: Exact) {
    this.#exact = exact;
    this.ofTiles = exact.tiles.map(() => 0);
    this.ofSubTiles = exact.subTiles.map((cells) => cells.map(() => 0));
  }

  add({ glimpses, draws, locations, proposed }: WholeLook): void {
    const { counts, drawn } = draws;
    let subTile = 0, firstTile = 0;
    for (const { tiles } of glimpses) {
      this.#assertNoneMissed(tiles, counts.subarray(firstTile));
      firstTile += tiles.length;
    }
    glimpses.flatMap(({ tiles }) => tiles).forEach((tile, t) => {
      this.ofTiles[tile]! += counts[t]!;
      assertClose(proposed!.tiles[t]!, this.#exact.tiles[tile]!);
      let draws = 0;
      for (let k = 0; k < drawn[t]!; k++, subTile++) {
        const count = proposed!.counts[subTile]!;
        this.ofSubTiles[tile]![locations[subTile]!]! += count;
        draws += count;
        const q = this.#exact.subTiles[tile]![locations[subTile]!]!;
        assertClose(proposed!.subTiles[subTile]!, q);
      }
      assert.equal(draws, counts[t]);
    });
    for (const own of proposed!.locations) {
      assert.equal(own, this.#exact.locations);
    }
  }

  /** A tile that N draws are expected to hit n times has n at least. */
  #assertNoneMissed(tiles: readonly number[], counts: Int32Array): void {
    const sure = this.#exact.tiles.map((q) => Math.floor(SAMPLES * q - 1e-3));
    sure.forEach((least, tile) => {
      const at = tiles.indexOf(tile);
      assert.ok(least <= 0 || at >= 0 && counts[at]! >= least, `tile ${tile}`);
    });
  }
}

function assertClose(actual: number, expected: number): void {
  assert.ok(
    Math.abs(actual - expected) < 1e-4 * expected,
    `${actual}, not ${expected}`,
  );
}

/** Fails if counts are not those of draws under `p`. */
function assertFrequencies(counts: number[], p: number[], what: string) {
  const draws = counts.reduce((a, b) => a + b, 0);
  counts.forEach((count, i) => {
    if (p[i] === 0) assert.equal(count, 0, what);
    const error = Math.sqrt(draws * p[i]! * (1 - p[i]!));
    const distance = Math.abs(count - draws * p[i]!);
    // half a draw beside: rare ones are Poisson's
    assert.ok(
      distance < 4.5 * error + 1.5,
      `${what}: ${i} drawn ${count} times`,
    );
  });
}

for (const [name, { view, foreground }] of Object.entries(WAYS)) {
  testOnEngines(`evidence is unbiased: ${name}`, async ({ backend }) => {
    const model = modelOf(view);
    const pyramid = noiseImage(IMAGE, 2);
    const exact = await exactOf(model, pyramid, foreground);
    // Or else nothing says that no tile is missed.
    if (name === "everywhere") {
      assert.ok(Math.max(...exact.tiles) > 1 / SAMPLES);
    }
    const counts = new DrawCounts(exact);
    const ones = new Mean(), means = exact.means.map(() => new Mean());
    const batches = backend === "wasm" ? 30 : 4;
    for await (
      const look of looks(model, { pyramid, foreground }, { batches, size: 50 })
    ) {
      counts.add(look);
      const { draws, proposed } = look;
      const rows = rowsOf(draws), sums = look.glimpses.map(() => 0);
      evidenceOffsets({ draws, ...proposed! })
        .forEach((offset, s) => sums[rows[s]!]! += Math.exp(offset));
      sums.forEach((sum) => ones.add(sum));
      const logits = tf.tidy(() => score(model, look).logits);
      for (const [background, ...evidence] of await logits.array()) {
        assert.equal(background, 0);
        evidence.forEach((E, k) => means[k]!.add(Math.exp(SHARPNESS * E)));
      }
      logits.dispose();
    }
    assertFrequencies(counts.ofTiles, exact.tiles, "tiles");
    counts.ofSubTiles.forEach((own, tile) =>
      assertFrequencies(own, exact.subTiles[tile]!, `tile ${tile}`)
    );
    const one = ones.deviation(1);
    assert.ok(one < 4, `the sum of weights is ${one} standard errors off 1`);
    means.forEach((mean, k) => {
      const deviation = mean.deviation(exact.means[k]!);
      assert.ok(deviation < 4, `class ${k}: ${deviation} standard errors`);
    });
    disposeParameters(model.parameters);
  });
}
