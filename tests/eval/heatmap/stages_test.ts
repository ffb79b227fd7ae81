import assert from "node:assert/strict";
import { HeatPainter } from "../../../lib/eval/heatmap/heatmap.ts";
import {
  joinedCanvas,
  StagePainter,
} from "../../../lib/eval/heatmap/stages.ts";
import {
  centredRegion,
  locationAt,
  tileCentre,
} from "../../../lib/image/geometry.ts";

const IMAGE = { width: 96, height: 64 };
const TILE = { width: 21, height: 20 }; // an odd side has no middle pixel
const BETA = { rows: 1, columns: 2, attention: [0.25, 0.75] };

/** Grids of cells, and the paper's map: a location a px of the view. */
const GRIDS = [
  { grid: { scale: 0.125, stride: 16 }, map: { rows: 4, columns: 6 } },
  { grid: { scale: 0.25, stride: 1 }, map: { rows: 16, columns: 24 } },
];

for (const { grid, map } of GRIDS) {
  Deno.test(`each stage has its own: ${map.columns} columns`, () => {
    const count = map.rows * map.columns;
    for (const drawn of [0, 7, count - 1]) {
      const alpha = Float64Array.from({ length: count }, (_, i) => i + 1);
      const sum = count * (count + 1) / 2;
      const attention = alpha.map((value) => value / sum);
      const stages = new StagePainter(IMAGE);
      const both = new HeatPainter(IMAGE);
      const canvas = joinedCanvas([undefined, both, stages])!;
      const centre = tileCentre(
        locationAt(drawn, map.columns),
        map,
        IMAGE,
        grid,
      );
      canvas.addTile(BETA, centredRegion(centre, TILE), attention[drawn]!);
      const rest = attention.with(drawn, 0);
      canvas.addBlock({ row: 0, column: 0, ...map }, map, rest);

      const whole = new HeatPainter(IMAGE);
      whole.addBlock({ row: 0, column: 0, ...map }, map, attention);
      const { stage1, stage2 } = stages.heatmaps();
      assertClose(stage1.values, whole.heatmap().values);
      // Without the tile's cell, stage I is the rest of the joint heat map.
      const others = new HeatPainter(IMAGE);
      others.addBlock({ row: 0, column: 0, ...map }, map, rest);
      const { values } = others.heatmap();
      assertClose(
        stage2.values,
        both.heatmap().values.map((value, i) => value - values[i]!),
      );
    }
  });
}

Deno.test("without a canvas nothing is painted", () => {
  assert.equal(joinedCanvas([undefined, undefined]), undefined);
});

function assertClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
): void {
  assert.equal(actual.length, expected.length);
  for (let i = 0; i < actual.length; i++) {
    assert.ok(
      Math.abs(actual[i]! - expected[i]!) < 1e-7,
      `${i}: ${actual[i]}, ${expected[i]}`,
    );
  }
}
