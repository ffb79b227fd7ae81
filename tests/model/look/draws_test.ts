import assert from "node:assert/strict";
import { randomKey } from "../../../kernels/random.ts";
import { subTileKey, tileKey } from "../../../lib/model/look/draws.ts";

Deno.test("each draw has a key of its own, by image, stage, tile and way", () => {
  const keys = [0, 1].flatMap((i) => {
    const image = randomKey(5, i);
    return [false, true].flatMap((contrastive) => [
      tileKey(image, contrastive),
      ...[0, 1, 2].map((tile) => subTileKey(image, tile, contrastive)),
    ]);
  }).map(String);
  assert.equal(new Set(keys).size, 16);
});
