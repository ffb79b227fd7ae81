import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import { randomKey } from "../../../../kernels/random.ts";
import { ImageError } from "../../../../lib/errors.ts";
import { Foreground } from "../../../../lib/image/foreground/foreground.ts";
import {
  centredRegion,
  locationAt,
  type Region,
  rescaledRegion,
  type Size,
  subTileCell,
  tileCentre,
  tileMapSize,
  viewSize,
} from "../../../../lib/image/geometry.ts";
import { lookInBlocks } from "../../../../lib/model/look/blocks.ts";
import { localContrast } from "../../../../lib/model/look/support/contrast.ts";
import { Views } from "../../../../lib/image/views.ts";
import { Memory } from "../../../../lib/memory.ts";
import { Support } from "../../../../lib/model/look/support/support.ts";
import {
  type LookOptions,
  subTileMap,
} from "../../../../lib/model/look/draws.ts";
import { supportInBlocks } from "../../../../lib/model/look/support/in_blocks.ts";
import { lookWhole } from "../../../../lib/model/look/whole.ts";
import { disposeParameters } from "../../../../lib/model/parameters.ts";
import type { Model } from "../../../../lib/model/model.ts";
import { testOnEngines, testOnWasm } from "../../../engines.ts";
import {
  drawnImage,
  noiseImage,
  toyModel,
  type ToyOptions,
} from "../../toy.ts";

// Holds no image as a whole.
const SMALL = new Memory(2 ** 18);
const OPTIONS: LookOptions = {
  samples: 3,
  draws: "seeded",
  memory: new Memory(),
};

/** Cuts a view into blocks of `pixels` px, halo included. */
class BlockMemory extends Memory {
  constructor(readonly pixels: number) {
    super(SMALL.bytes);
  }

  override get blockPixels(): number {
    return this.pixels;
  }
}

/** Views whose maps and px divide each other in different ways. */
const VIEWS: Record<string, NonNullable<ToyOptions["view"]>> = {
  "paper's map": {},
  "paper's map, other scales": { scale1: 0.1, scale2: 0.3, tileStride: 10 },
  "coarse tile views": { scale1: 0.125, scale2: 0.125 },
  "grid of tiles": { tileStride: 32, tileSize: 32 },
  "grid of overlapping tiles": { tileStride: 19, tileSize: 32 },
  "grid with gaps": { tileStride: 50, tileSize: 32 },
  "cells": { tileStride: 32, tileSize: 32, subTileStride: 7 },
  "one cell": { tileStride: 24, tileSize: 24, subTileStride: 24 },
};
const SIZES: Size[] = [
  { width: 96, height: 64 },
  { width: 101, height: 47 },
  { width: 30, height: 143 },
];

/** Two regions share more than rounding. */
function overlap(a: Region, b: Region): boolean {
  const along = (from: number, to: number, start: number, end: number) =>
    Math.min(to, end) - Math.max(from, start) > 1e-5;
  return along(a.x, a.x + a.width, b.x, b.x + b.width) &&
    along(a.y, a.y + a.height, b.y, b.y + b.height);
}

/** Locations that hold one of the px, tile by tile: by trying all of them. */
function locationsHolding(
  pixels: readonly number[],
  { config }: Model,
  image: Size,
  foreground?: Foreground,
): Map<number, Uint8Array> {
  const { scale1: scale, tileStride: stride, tileSize } = config.view;
  const view = viewSize(image, scale);
  const marked = pixels.map((pixel) => {
    const { row, column } = locationAt(pixel, view.width);
    return { x: column, y: row, width: 1, height: 1 };
  });
  const map = tileMapSize(image, { scale, stride });
  const cells = subTileMap({ config });
  const allowed = foreground?.locations(map, { scale, stride });
  const found = new Map<number, Uint8Array>();
  for (let tile = 0; tile < map.rows * map.columns; tile++) {
    if (allowed?.[tile] === 0) continue;
    const region = centredRegion(
      tileCentre(locationAt(tile, map.columns), map, image, { scale, stride }),
      { width: tileSize, height: tileSize },
    );
    const held = Uint8Array.from(
      { length: cells.rows * cells.columns },
      (_, index) => {
        const cell = subTileCell(
          locationAt(index, cells.columns),
          cells,
          region,
        );
        const inView = rescaledRegion(cell, image, view);
        return marked.some((pixel) => overlap(pixel, inView)) ? 1 : 0;
      },
    );
    if (held.includes(1)) found.set(tile, held);
  }
  return found;
}

/** Every seventh px or so, and the corners. */
function somePixels({ width, height }: Size): number[] {
  const all = width * height;
  const pixels = [0, width - 1, all - width, all - 1];
  for (let at = 3; at < all; at += 5 + at % 9) pixels.push(at);
  return [...new Set(pixels)];
}

testOnWasm("a support counts the locations that hold its px", () => {
  for (const [name, view] of Object.entries(VIEWS)) {
    const model = toyModel({ view: { ...view, support: 9 } });
    for (const size of SIZES) {
      const cells = Uint8Array.of(1, 0, 1, 1, 0, 1);
      const half = new Foreground({ cells, rows: 2, columns: 3 }, size);
      const pyramid = noiseImage(size, 1);
      const pixels = somePixels(viewSize(size, model.config.view.scale1));
      for (const foreground of [undefined, half]) {
        const what = `${name}, ${size.width} x ${size.height}`;
        const expected = locationsHolding(pixels, model, size, foreground);
        const image = { pyramid, foreground };
        const made = () => new Support(pixels, image, model.config.view);
        if (expected.size === 0) {
          assert.throws(made, ImageError);
          continue;
        }
        const support = made();
        const counts = [...expected].map(([tile, held]) =>
          [tile, held.reduce((sum, one) => sum + one, 0)] as const
        );
        assert.deepEqual(
          [...support.ofTiles].sort(([a], [b]) => a - b),
          counts,
          what,
        );
        const total = counts.reduce((sum, [, count]) => sum + count, 0);
        assert.equal(support.total, total, what);
        assertCells(model, size, { support, expected });
      }
    }
    disposeParameters(model.parameters);
  }
});

/** Fails if a support marks other cells of its tiles than expected. */
function assertCells(
  { config }: Model,
  size: Size,
  { support, expected }: {
    support: Support;
    expected: ReadonlyMap<number, Uint8Array>;
  },
) {
  const { scale1: scale, tileStride: stride, tileSize } = config.view;
  const map = tileMapSize(size, { scale, stride });
  for (const [tile, held] of expected) {
    const region = centredRegion(
      tileCentre(locationAt(tile, map.columns), map, size, { scale, stride }),
      { width: tileSize, height: tileSize },
    );
    assert.deepEqual(support.cells(region), held);
  }
}

/** Images whose views have ties: flat ones, stripes, squares; and noise. */
function tiedImages(size: Size) {
  const grey = (shade: number) => [shade, shade, shade / 2] as const;
  return {
    flat: drawnImage(size, () => grey(77)),
    stripes: drawnImage(size, (x) => grey(x % 24 < 12 ? 60 : 210)),
    squares: drawnImage(
      size,
      (x, y) => grey(x % 40 < 9 && y % 40 < 9 ? 240 : 33),
    ),
    noise: noiseImage(size, 4),
  };
}

testOnEngines("a support in blocks is that of the whole view", async () => {
  const size = { width: 403, height: 311 };
  const cells = Uint8Array.of(0, 1, 1, 0, 0, 1);
  const foreground = new Foreground({ cells, rows: 2, columns: 3 }, size);
  for (const scale1 of [0.125, 0.1]) {
    const model = toyModel({ view: { scale1, support: 90 } });
    for (const [name, pyramid] of Object.entries(tiedImages(size))) {
      const image = { pyramid, foreground, key: randomKey(1) };
      const whole = await lookWhole(model, [image], OPTIONS);
      const { ofTiles, total } = whole.groups[0]!.supports![0]!;
      whole.dispose();
      for (const pixels of [17 ** 2, 20 ** 2, 31 ** 2]) {
        const memory = new BlockMemory(pixels);
        const views = await Views.open(pyramid, { memory: SMALL });
        const found = await supportInBlocks(model, image, views, { memory });
        views.dispose();
        const what = `${name}, scale ${scale1}, blocks of ${pixels} px`;
        assert.deepEqual([...found!.ofTiles].sort(), [...ofTiles].sort(), what);
        assert.equal(found!.total, total, what);
      }
    }
    disposeParameters(model.parameters);
  }
});

testOnWasm("a support is sought in the foreground", async () => {
  const size = { width: 160, height: 96 };
  const cells = Uint8Array.of(1, 0);
  const foreground = new Foreground({ cells, rows: 1, columns: 2 }, size);
  // Writing on the glass has more contrast than all tissue.
  const pyramid = drawnImage(size, (x, y) => {
    const shade = x >= 80 ? 255 * ((x >> 3 ^ y >> 3) & 1) : 100 + (x >> 3) % 3;
    return [shade, shade, shade];
  });
  const model = toyModel({ view: { support: 6 } });
  const image = { pyramid, foreground, key: randomKey(1) };
  const look = await lookWhole(model, [image], OPTIONS);
  const columns = look.groups[0]!.map.columns;
  for (const tile of look.groups[0]!.supports![0]!.ofTiles.keys()) {
    assert.ok(tile % columns < columns / 2);
  }
  look.dispose();
  disposeParameters(model.parameters);
});

/** Px of highest contrast, by sorting; of equal ones the first. */
async function highestContrast(
  { config }: Model,
  view: tf.Tensor4D,
): Promise<number[]> {
  const [, height, width] = view.shape;
  const contrast = localContrast(await view.data(), { width, height });
  return [...contrast.keys()]
    .sort((a, b) => contrast[b]! - contrast[a]! || a - b)
    .slice(0, config.view.support!);
}

testOnEngines("only what holds px of the support is drawn", async () => {
  const size = { width: 203, height: 151 };
  for (const head of ["mean", "evidence"] as const) {
    for (const [name, view] of Object.entries(VIEWS)) {
      const model = toyModel({
        view: { ...view, support: 11 },
        network: { head },
      });
      const images = Array.from({ length: 2 }, (_, i) => ({
        pyramid: noiseImage(size, i),
        key: randomKey(2, i),
      }));
      const look = await lookWhole(model, images, { ...OPTIONS, samples: 60 });
      const values = await look.groups[0]!.views.array();
      let tile = 0, subTile = 0;
      for (const { image, tiles } of look.glimpses) {
        const own = tf.tensor4d([values[image]!]);
        const pixels = await highestContrast(model, own);
        own.dispose();
        const allowed = locationsHolding(pixels, model, size);
        const total = [...allowed.values()].reduce(
          (sum, held) => sum + held.reduce((sum, one) => sum + one, 0),
          0,
        );
        if (head === "evidence") {
          assert.equal(look.proposed!.locations[image], total, name);
        }
        for (const index of tiles) {
          const held = allowed.get(index)!;
          for (let k = 0; k < look.draws.drawn[tile]!; k++) {
            assert.equal(held[look.locations[subTile++]!], 1, name);
          }
          tile++;
        }
      }
      look.dispose();
      disposeParameters(model.parameters);
    }
  }
});

testOnEngines("a support of all px is everywhere", async () => {
  const image = { pyramid: noiseImage({ width: 96, height: 64 }, 3) };
  const drawn = async (support: number | null, memory?: Memory) => {
    const model = toyModel({ view: { support, tileStride: 24, tileSize: 24 } });
    const own = { ...image, key: randomKey(8) };
    const look = memory
      ? await lookInBlocks(model, own, { ...OPTIONS, samples: 20, memory })
      : await lookWhole(model, [own], { ...OPTIONS, samples: 20 });
    const { glimpses, draws, locations } = look;
    look.dispose();
    disposeParameters(model.parameters);
    return { glimpses, draws, locations };
  };
  const everywhere = await drawn(null);
  for (const memory of [undefined, SMALL]) {
    assert.deepEqual(await drawn(12 * 8, memory), everywhere);
    assert.deepEqual(await drawn(1e9, memory), everywhere);
  }
});
