import assert from "node:assert/strict";
import { ImageCache } from "../../lib/image/image_cache.ts";
import { crop } from "../../lib/image/pyramids/crop.ts";
import { orient } from "../../lib/image/pyramids/oriented.ts";
import { type Pyramid, WrappedPyramid } from "../../lib/image/pyramid.ts";
import { RasterPyramid } from "../../lib/image/pyramids/raster.ts";
import { atMpp } from "../../lib/image/resampled.ts";
import { asymmetricPicture } from "./pictures.ts";

const FACTS = {
  mpp: 0.5,
  magnification: 20,
  bounds: { x: 1, y: 1, width: 3, height: 2 },
  georeference: { crs: "EPSG:32633", transform: [1, 0, 0, 0, -1, 0] },
  geoTags: [{ tag: 33550, values: [1, 1, 0] }],
} as const;

/** An image whose file states every fact that a file may state. */
function talkative(): Pyramid {
  const pixels = asymmetricPicture();
  const image = new RasterPyramid("a", { pixels, warnings: [] });
  return Object.assign(image, FACTS) as unknown as Pyramid;
}

function factsOf(
  { mpp, magnification, bounds, georeference, geoTags }: Pyramid,
) {
  return { mpp, magnification, bounds, georeference, geoTags };
}

Deno.test("a wrapped pyramid has the properties of its file", async () => {
  class Plain extends WrappedPyramid {}
  assert.deepEqual(factsOf(new Plain(talkative())), FACTS);
  const cache = new ImageCache(1e6, () => Promise.resolve(talkative()));
  const handle = await cache.open("a");
  assert.deepEqual(factsOf(handle), FACTS);
  handle.close();
  cache.close();
});

Deno.test("an image that lies elsewhere does not say where the file's lies", () => {
  const moved = [
    orient(talkative(), 6),
    crop(talkative(), { x: 1, y: 1, width: 2, height: 2 }),
    atMpp(talkative(), 1),
  ];
  for (const image of moved) {
    const { bounds, georeference, geoTags } = factsOf(image);
    assert.deepEqual([bounds, georeference, geoTags], [
      ...[undefined, undefined, undefined],
    ]);
  }
});
