import assert from "node:assert/strict";
import {
  centredRegion,
  subTileCentre,
  tileCentre,
  tileMapSize,
  viewSize,
} from "../../lib/image/geometry.ts";
import { colonStudy } from "../../lib/study/colon.ts";
import { gtsdbStudy } from "../../lib/study/gtsdb.ts";
import { needleStudy } from "../../lib/study/needle.ts";
import { cellsOf } from "../../lib/study/study.ts";

const STUDIES = [colonStudy, needleStudy, gtsdbStudy];

const FROZEN = {
  features: "scattering",
  encoder: null,
  overview: null,
  closeUp: null,
} as const;

for (const quick of [false, true]) {
  Deno.test(`every variant can be compared as it asks to be${quick ? ", quick" : ""}`, () => {
    for (const make of STUDIES) {
      const { name, data, variants } = make({
        manifest: "m.csv",
        quick,
        frozen: FROZEN,
      });
      const named = new Map(variants.map((variant) => [variant.name, variant]));
      assert.equal(named.size, variants.length, `${name}: a name twice`);
      for (const variant of variants) {
        assert.ok(data[variant.data], `${name}: ${variant.name} has no data`);
        if (variant.against === undefined) continue;
        const other = named.get(variant.against)!;
        // The same folds and seeds, or there is no pair.
        assert.deepEqual(data[variant.data]!.folds, data[other.data]!.folds);
        assert.ok(variant.seeds.every((seed) => other.seeds.includes(seed)));
        assert.ok(
          variant.protocols.every((protocol) =>
            other.protocols.includes(protocol)
          ),
        );
      }
    }
  });
}

Deno.test("frozen features add the same three variants to every data set", () => {
  for (const make of STUDIES) {
    const request = { manifest: "m.csv", quick: true };
    const plain = make(request);
    const study = make({ ...request, frozen: FROZEN });
    const more = study.variants.filter(({ name }) =>
      !plain.variants.some((variant) => variant.name === name)
    );
    const boxed = more.filter(({ boxes }) => boxes !== undefined);
    const [student, teacher, pooled] = more.filter((one) =>
      !boxed.includes(one)
    );
    const isAnnotated = make !== needleStudy;
    assert.equal(boxed.length, isAnnotated ? 1 : 0, study.name);
    assert.equal(more.length, 3 + boxed.length, study.name);
    for (const { against, config, baseline } of boxed) {
      assert.equal(against, student!.name);
      assert.ok(!baseline);
      assert.deepEqual(config, student!.config); // no close-ups by scattering
    }
    assert.ok(student!.config.training.dense && !student!.baseline);
    assert.equal(teacher!.teacherOf, student!.name);
    assert.ok(pooled!.pooled && pooled!.name.startsWith("scattering-mean"));
    for (const baseline of [teacher!, pooled!]) {
      assert.ok(baseline.baseline);
      assert.equal(baseline.against, student!.name);
      // The same grid of features, and no run of its own for the teacher.
      assert.deepEqual(baseline.config, student!.config);
    }
    const cells = new Set(cellsOf(study).map(({ variant }) => variant.name));
    assert.equal(cells.size, study.variants.length - 1); // all but the teacher
    assert.ok(!cells.has(teacher!.name));
  }
});

Deno.test("close-ups are taken where boxes teach them", () => {
  const maps = {
    outputs: [{ name: "s8", window: 24, pooling: "mean" as const }],
    channels: 40,
  };
  const { variants } = gtsdbStudy({
    manifest: "m.csv",
    quick: true,
    frozen: {
      features: "encoder",
      encoder: {
        path: "maps.onnx",
        sha256: "0".repeat(64),
        scale: 1,
        inputSize: null,
        mean: [0, 0, 0],
        deviation: [1, 1, 1],
        ...maps,
      },
      overview: null,
      closeUp: { inputSize: 64, ...maps },
    },
  });
  const read = variants.filter(({ config }) => config.network.closeUp !== null);
  assert.deepEqual(read.map(({ name }) => name), ["encoder-boxes"]);
});

Deno.test("all variants run once before any runs again", () => {
  const cells = cellsOf(colonStudy({ manifest: "m.csv", quick: false }));
  assert.equal(new Set(cells.map(({ folder }) => folder)).size, cells.length);
  const seeds = cells.map(({ seed }) => seed);
  assert.deepEqual(seeds, seeds.toSorted((a, b) => a - b));
  assert.ok(seeds.includes(1));
});

Deno.test("a plain CNN reads all of the image, pixel by pixel", () => {
  const { variants } = colonStudy({ manifest: "m.csv", quick: false });
  for (const [name, side] of [["cnn", 100], ["cnn-full", 500]] as const) {
    const { view } = variants.find((variant) => variant.name === name)!.config;
    const image = { width: side, height: side };
    const stage = { scale: view.scale1, stride: view.tileStride };
    const tiles = tileMapSize(image, stage);
    assert.deepEqual(tiles, { rows: 1, columns: 1 });
    const first = { row: 0, column: 0 };
    const tile = centredRegion(tileCentre(first, tiles, image, stage), {
      width: view.tileSize,
      height: view.tileSize,
    });
    const { width, height } = viewSize(tile, view.scale2);
    assert.deepEqual({ width, height }, { width: 1, height: 1 });
    const centre = subTileCentre(first, { rows: height, columns: width }, tile);
    assert.deepEqual(
      centredRegion(centre, {
        width: view.subTileSize,
        height: view.subTileSize,
      }),
      { x: 0, y: 0, ...image },
      name,
    );
  }
});
