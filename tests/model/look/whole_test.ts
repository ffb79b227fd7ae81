import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import { randomKey } from "../../../kernels/random.ts";
import { Foreground } from "../../../lib/image/foreground/foreground.ts";
import type { Region } from "../../../lib/image/geometry.ts";
import { Memory } from "../../../lib/memory.ts";
import { prepared } from "../../../lib/model/look/input.ts";
import { disposeParameters } from "../../../lib/model/parameters.ts";
import type { Model } from "../../../lib/model/model.ts";
import { lookWhole } from "../../../lib/model/look/whole.ts";
import { score } from "../../../lib/model/zoom_in.ts";
import { maxError, testOnEngines } from "../../engines.ts";
import { drawnImage, noiseImage, toyModel } from "../toy.ts";

testOnEngines(
  "padding is zero after normalisation, pixels are normalised",
  () => checkPrepared({ densities: null, colour: [0.8, 0.4, 0.2] }),
);

testOnEngines(
  "optical densities change inside the image only",
  () =>
    checkPrepared({
      // Twice the density of red, that of blue added to green's.
      densities: [2, 0, 0, 0, 1, 0, 0, 1, 1],
      colour: [0.8 ** 2, 0.4 * 0.2, 0.2],
    }),
);

testOnEngines(
  "no colour is brighter than white, however large the gain",
  () => checkPrepared({ densities: null, gain: 2, colour: [1, 0.8, 0.4] }),
);

testOnEngines("images of one size have each their own foreground", async () => {
  const size = { width: 48, height: 40 };
  const model = toyModel();
  const half = (isLeft: boolean) => {
    const cells = Uint8Array.of(isLeft ? 1 : 0, isLeft ? 0 : 1);
    return new Foreground({ cells, rows: 1, columns: 2 }, size);
  };
  const image = (i: number, foreground?: Foreground) => ({
    pyramid: drawnImage(size, () => [204, 102, 51]),
    key: randomKey(1, i),
    foreground,
  });
  const planned = await lookWhole(
    model,
    [image(0), image(1, half(true)), image(2, half(false))],
    { samples: 9, draws: "seeded", memory: new Memory() },
  );
  const [group] = planned.groups;
  const { rows, columns } = group!.map;
  const mask = await group!.mask!.array();
  const open = mask.map((row) => row.map((value) => value === 0));
  assert.deepEqual(open[0], new Array(rows * columns).fill(true));
  open[1]!.forEach((isOpen, i) => {
    assert.equal(isOpen, i % columns < columns / 2);
    assert.equal(open[2]![i], !isOpen);
  });
  assert.deepEqual(group!.locations, [30, 15, 15]);
  for (const { image, tiles } of planned.glimpses) {
    for (const tile of tiles) assert.ok(open[image]![tile]);
  }
  planned.dispose();
  disposeParameters(model.parameters);
});

testOnEngines(
  "one region that reaches outside is padded on its side",
  async () => {
    const model: Model = {
      ...toyModel(),
      normalisation: { mean: [0.5, 0.5, 0.5], deviation: [1, 1, 1] },
    };
    const pyramid = { width: 32, height: 24 };
    const outside: [Region, (x: number, y: number) => boolean][] = [
      [{ x: 4, y: 20, width: 8, height: 8 }, (_, y) => y < 4],
      [{ x: 28, y: 4, width: 8, height: 8 }, (x) => x < 4],
      [{ x: -4, y: 4, width: 8, height: 8 }, (x) => x >= 4],
      [{ x: 20, y: 16, width: 8, height: 8 }, () => true],
    ];
    for (const [region, isInside] of outside) {
      const pixels = Float32Array.from({ length: 8 * 8 * 3 }, (_, i) => {
        const pixel = Math.floor(i / 3);
        return isInside(pixel % 8, Math.floor(pixel / 8)) ? 0.75 : 0;
      });
      const raw = tf.tensor4d(pixels, [1, 8, 8, 3]);
      const views = prepared(raw, [region], { pyramid }, model);
      const expected = pixels.map((value) => value === 0 ? 0 : 0.25);
      assert.deepEqual(await views.data(), expected);
      views.dispose();
    }
    disposeParameters(model.parameters);
  },
);

/** Plans a grey image and looks for `colour` wherever there is image. */
async function checkPrepared(
  { densities, gain = 1, colour }: {
    densities: readonly number[] | null;
    gain?: number;
    colour: readonly [number, number, number];
  },
): Promise<void> {
  const grey = drawnImage({ width: 32, height: 24 }, () => [204, 102, 51]);
  const model: Model = {
    ...toyModel(),
    normalisation: { mean: [0.5, 0.5, 0.5], deviation: [0.2, 0.1, 0.05] },
  };
  const planned = await lookWhole(model, [{
    pyramid: grey,
    key: randomKey(1),
    densities,
    gain,
  }], {
    samples: 12,
    draws: "seeded",
    memory: new Memory(),
  });
  const expected = [
    (colour[0] - 0.5) / 0.2,
    (colour[1] - 0.5) / 0.1,
    (colour[2] - 0.5) / 0.05,
  ];
  const views = [
    {
      tensor: planned.subTiles!,
      regions: planned.glimpses[0]!.subTileRegions,
    },
    { tensor: planned.tileViews, regions: planned.glimpses[0]!.tileRegions },
  ];
  let padded = 0;
  for (const { tensor, regions } of views) {
    const [, rows, columns] = tensor.shape;
    const values = await tensor.data();
    for (const [n, { x, y, width, height }] of regions.entries()) {
      const share = (
        cell: number,
        cells: number,
        from: number,
        extent: number,
        limit: number,
      ) => {
        const size = extent / cells, start = from + cell * size;
        const inside = Math.min(start + size, limit) - Math.max(start, 0);
        return Math.max(0, inside) / size;
      };
      for (let i = 0; i < rows; i++) {
        for (let j = 0; j < columns; j++) {
          const inside = share(i, rows, y, height, grey.height) *
            share(j, columns, x, width, grey.width);
          if (inside < 1) padded++;
          for (let c = 0; c < 3; c++) {
            const value = values[((n * rows + i) * columns + j) * 3 + c]!;
            assert.ok(Math.abs(value - inside * expected[c]!) < 1e-4);
          }
        }
      }
    }
  }
  assert.ok(padded > 0, "no tile reached outside");
  planned.dispose();
  disposeParameters(model.parameters);
}

testOnEngines(
  "each image's attention is painted, also of one size",
  async () => {
    const model = toyModel({ peak: 4 });
    const painted: number[][] = [];
    const images = [0, 1, 2].map((i) => ({
      // Two of one size, between which lies one of another.
      pyramid: noiseImage({ width: i === 1 ? 56 : 48, height: 40 }, i),
      key: randomKey(1, i),
      canvas: {
        addTile: (_map: unknown, _region: Region, alpha: number) => {
          painted[i] = [...painted[i] ?? [], alpha];
        },
        addBlock: (
          _block: unknown,
          _map: unknown,
          alphas: ArrayLike<number>,
        ) => {
          painted[i] = [...painted[i] ?? [], ...Array.from(alphas)];
        },
      },
    }));
    const options = {
      samples: 5,
      draws: "seeded",
      memory: new Memory(),
    } as const;
    const paint = async (some: typeof images) => {
      const look = await lookWhole(model, some, options);
      const { attention, rest } = tf.tidy(() => {
        const { attention, ...rest } = score(model, look);
        return { attention, rest };
      });
      await look.paint(attention);
      look.dispose();
      tf.dispose([attention, rest]);
    };
    await paint(images);
    const together = painted.splice(0);
    for (const image of images) await paint([image]);
    together.forEach((alphas, i) => {
      assert.ok(Math.abs(alphas.reduce((a, b) => a + b) - 1) < 1e-5);
      assert.ok(maxError(alphas, painted[i]!) < 1e-6);
    });
    assert.notDeepEqual(painted[0], painted[2]);
    disposeParameters(model.parameters);
  },
);
