/**
 * The whole forward pass against fixtures/golden/forward_*.json: NumPy,
 * float64, pixels and weights by formula, the draws fixed.
 */
import { parameterSpecs } from "./specs.ts";
import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import {
  centredRegion,
  locationAt,
  subTileCentre,
  tileCentre,
  tileMapSize,
  viewSize,
} from "../../lib/image/geometry.ts";
import { RasterPyramid } from "../../lib/image/pyramids/raster.ts";
import { Views } from "../../lib/image/views.ts";
import { Memory } from "../../lib/memory.ts";
import {
  createParameters,
  disposeParameters,
} from "../../lib/model/parameters.ts";
import { wholeLook } from "../../lib/model/look/whole_look.ts";
import { held } from "../../lib/model/look/sub_tiles.ts";
import { preset } from "../../lib/model/presets.ts";
import type { Model } from "../../lib/model/model.ts";
import { score } from "../../lib/model/zoom_in.ts";
import { testOnEngines } from "../engines.ts";
import { relativeError } from "../finite_differences.ts";

interface Golden {
  height: number;
  width: number;
  scale1: number;
  scale2: number;
  tile: number;
  subTile: number;
  samples: number;
  classes: number;
  alpha: number[][];
  tiles: {
    location: [number, number];
    centre: [number, number];
    count: number;
    draw: number[];
    beta: number[];
    phi: number[];
  }[];
  F: number[];
  logits: number[];
}

for (const n of [1, 2, 3]) {
  const file = new URL(
    `../../fixtures/golden/forward_${n}.json`,
    import.meta.url,
  );
  const golden: Golden = JSON.parse(await Deno.readTextFile(file));
  testOnEngines(`golden forward ${n}`, async () => {
    const model = goldenModel(golden);
    const { look, geometry } = await goldenLook(model, golden);
    for (const [i, { centre }] of golden.tiles.entries()) {
      const { x, y, width, height } = look.glimpses[0]!.tileRegions[i]!;
      assert.deepEqual(
        [x + Math.floor(width / 2), y + Math.floor(height / 2)],
        centre,
      );
    }
    const scores = tf.tidy(() => {
      const { attention: { maps }, ...rest } = score(model, look);
      return { ...rest, alpha: maps!.tiles[0]!, beta: maps!.subTiles };
    });
    assertClose(await scores.alpha.data(), golden.alpha.flat(), 1e-5);
    const beta = await scores.beta.data();
    const locations = geometry.rows * geometry.columns;
    golden.tiles.forEach(({ draw, beta: expected }, tile) =>
      assertClose(
        draw.map((at) => beta[tile * locations + at]!),
        expected,
        1e-5,
      )
    );
    const weights = await scores.weights.data();
    const features = await scores.features.data();
    let at = 0;
    const representation = new Array<number>(48).fill(0);
    for (const { count, draw, phi } of golden.tiles) {
      const mine = new Array<number>(48).fill(0);
      for (let k = 0; k < draw.length; k++, at++) {
        for (let c = 0; c < 48; c++) {
          const part = weights[at]! * features[at * 48 + c]!;
          mine[c]! += part * golden.samples / count;
          representation[c]! += part;
        }
      }
      assertClose(mine, phi, 1e-5);
    }
    assertClose(representation, golden.F, 1e-5);
    assertClose(await scores.logits.data(), golden.logits, 1e-4);
    tf.dispose(Object.values(scores));
    look.dispose();
    disposeParameters(model.parameters);
  });
}

/** sin(i + 1 + 100 k) * sqrt(2 / fanIn), biases 0.05 sin(i + 1 + 100 k). */
function goldenModel(golden: Golden): Model {
  const config = preset("colon-paper");
  Object.assign(config.view, {
    scale1: golden.scale1,
    scale2: golden.scale2,
    tileSize: golden.tile,
    tileStride: 1 / golden.scale1,
    subTileSize: golden.subTile,
    samples: golden.samples,
  });
  const parameters = createParameters(
    parameterSpecs("lenet", golden.classes),
    (spec, k) => {
      const gain = spec.kind === "weight" ? Math.sqrt(2 / spec.fanIn) : 0.05;
      return Float32Array.from(
        { length: tf.util.sizeFromShape(spec.shape) },
        (_, i) => Math.sin(i + 1 + 100 * k) * gain,
      );
    },
  );
  return {
    config,
    classes: Array.from({ length: golden.classes }, (_, i) => `${i}`),
    normalisation: null,
    calibration: null,
    parameters,
  };
}

/** (7x + 13y + 29c + (x y mod 31)) mod 256. */
function goldenImage({ width, height }: Golden): RasterPyramid {
  const data = new Uint8Array(width * height * 4);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at += 4) {
      for (let c = 0; c < 3; c++) {
        data[at + c] = (7 * x + 13 * y + 29 * c + (x * y) % 31) % 256;
      }
      data[at + 3] = 255;
    }
  }
  return new RasterPyramid("golden", {
    pixels: { data, width, height },
    warnings: [],
  });
}

/** A look with the draws of the golden file. */
async function goldenLook(model: Model, golden: Golden) {
  const image = goldenImage(golden);
  const stage1 = { scale: golden.scale1, stride: 1 / golden.scale1 };
  const map = tileMapSize(image, stage1);
  const tileSize = { width: golden.tile, height: golden.tile };
  const subTileSize = { width: golden.subTile, height: golden.subTile };
  const view = viewSize(tileSize, golden.scale2);
  const geometry = { rows: view.height, columns: view.width };
  const tileRegions = golden.tiles.map(({ location: [row, column] }) =>
    centredRegion(tileCentre({ row, column }, map, image, stage1), tileSize)
  );
  const subTileRegions = golden.tiles.flatMap(({ draw }, tile) =>
    draw.map((index) =>
      centredRegion(
        subTileCentre(
          locationAt(index, geometry.columns),
          geometry,
          tileRegions[tile]!,
        ),
        subTileSize,
      )
    )
  );
  const views = await Views.open(image, { memory: new Memory() });
  const whole = await views.whole(golden.scale1);
  const tileViews = await views.regions(tileRegions, view);
  const subTiles = await views.regions(subTileRegions, subTileSize);
  views.dispose();
  const look = wholeLook(model, [{}], {
    groups: [{
      images: [0],
      views: whole,
      map,
      mask: undefined,
      locations: [map.rows * map.columns],
      supports: undefined,
    }],
    proposed: undefined,
    subTileMask: undefined,
    glimpses: [{
      image: 0,
      contrastive: false,
      map,
      locations: map.rows * map.columns,
      tiles: golden.tiles.map(({ location: [row, column] }) =>
        row * map.columns + column
      ),
      tileRegions,
      subTileRegions,
    }],
    draws: {
      samples: golden.samples,
      rowOf: new Int32Array(golden.tiles.length),
      counts: Int32Array.from(golden.tiles, ({ count }) => count),
      drawn: Int32Array.from(golden.tiles, ({ draw }) => draw.length),
    },
    locations: Int32Array.from(golden.tiles.flatMap(({ draw }) => draw)),
    subTileMap: geometry,
    tileViews,
    ...held(subTiles),
    timings: { readMs: 0, stage1Ms: 0, stage2Ms: 0 },
    dispose: () => tf.dispose([whole, tileViews, subTiles]),
  });
  return { look, geometry };
}

/** By `tolerance`, relative to the largest of what is expected. */
function assertClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number,
): void {
  const error = relativeError(actual, expected);
  assert.ok(error <= tolerance, `off by ${error} of the largest`);
}
