import assert from "node:assert/strict";
import { join } from "node:path";
import { FeatureCache } from "../../../lib/encoder/cache.ts";
import type { Encoder } from "../../../lib/encoder/encoder.ts";
import { encodePng } from "../../../lib/image/formats/png.ts";
import { openImage } from "../../../lib/image/open.ts";
import { Memory, MIN_MEMORY_BYTES } from "../../../lib/memory.ts";
import { encoderFeatures } from "../../../lib/train/dense/encoder_features.ts";
import { testOnWasm } from "../../engines.ts";
import { drawnImage } from "../../model/toy.ts";
import { inFolder } from "./toy_images.ts";

/** An encoder whose features are the size of the picture that it was shown. */
function sizes(changes: Partial<Encoder>): Encoder & { calls: number } {
  const encoder = {
    key: "sizes",
    channels: 2,
    margin: 16,
    placesAtOnce: Infinity,
    step: 8,
    calls: 0,
    features(
      { width, height }: { width: number; height: number },
      places: readonly (readonly unknown[])[],
    ) {
      encoder.calls++;
      const rows = places.flat().flatMap(() => [width, height]);
      return Promise.resolve(Float32Array.from(rows));
    },
    dispose() {},
    ...changes,
  };
  return encoder;
}

const SIDE = 400;
const PLACES = [{ x: 10, y: 10 }, { x: 200, y: 200 }, { x: 390, y: 20 }];

/** Reads the features of one image under each bound, with one cache. */
async function readAll(
  encoder: Encoder,
  bounds: readonly number[],
): Promise<Float32Array[]> {
  const found: Float32Array[] = [];
  await inFolder(async (folder) => {
    const path = join(folder, "image.png");
    const size = { width: SIDE, height: SIDE };
    const image = drawnImage(size, (x, y) => [x % 256, y % 256, 0]);
    const pixels = await image.read({ x: 0, y: 0, ...size }, 0);
    await Deno.writeFile(path, await encodePng(pixels));
    const cache = new FeatureCache(join(folder, "features"), 1e6);
    const features = encoderFeatures(encoder, { cache, windowSize: 32 });
    for (const bytes of bounds) {
      const pyramid = await openImage(path);
      found.push(
        await features.read(pyramid, PLACES, {
          recolour: undefined,
          memory: new Memory(bytes),
          signal: undefined,
        }),
      );
      pyramid.close();
    }
  });
  return found;
}

const USUAL = 512e6;

testOnWasm("features of smaller blocks are kept apart", async () => {
  const encoder = sizes({ bytesPerPixel: 400 });
  const [usual, small, again] = await readAll(
    encoder,
    [USUAL, MIN_MEMORY_BYTES, USUAL],
  );
  assert.equal(usual![0], SIDE); // one block
  assert.ok(small![0]! < SIDE);
  assert.deepEqual(again, usual);
});

testOnWasm(
  "features of any bound are shared if blocks do not matter",
  async () => {
    for (const same of [{ placesAtOnce: 1 }, { bytesPerPixel: 4 }]) {
      const encoder = sizes(same);
      const [first, second] = await readAll(encoder, [USUAL, MIN_MEMORY_BYTES]);
      assert.deepEqual(second, first);
      assert.equal(encoder.calls, 1);
    }
  },
);
