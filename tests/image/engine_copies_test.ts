import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import { ImageCache } from "../../lib/image/image_cache.ts";
import { orient } from "../../lib/image/pyramids/oriented.ts";
import { ORIENTATIONS } from "../../lib/image/pyramids/orientation.ts";
import { Views } from "../../lib/image/views.ts";
import { Memory } from "../../lib/memory.ts";
import { testOnWasm, testOnWebGpu } from "../engines.ts";
import { noiseImage } from "../model/toy.ts";

const SIZE = { width: 40, height: 28 };
const BYTES = SIZE.width * SIZE.height * 4;

function noiseCache(images: number): ImageCache {
  return new ImageCache(
    images * BYTES,
    (path) => Promise.resolve(noiseImage(SIZE, Number(path))),
  );
}

/** Values of a view of the whole image and of a part at full resolution. */
async function seen(cache: ImageCache, path: string, orientation = 0) {
  const pyramid = orient(await cache.open(path), ORIENTATIONS[orientation]!);
  const views = await Views.open(pyramid, { memory: new Memory() });
  const region = { x: -3, y: 5, width: 12, height: 9 };
  const read = [
    await views.whole(0.3),
    await views.regions([region], { width: 12, height: 9 }),
  ];
  const values = await Promise.all(read.map((view) => view.data()));
  tf.dispose(read);
  views.dispose();
  pyramid.close();
  return values;
}

/** Bytes that `work` sends to the device, in writes of an image's size. */
async function imageUploads(work: () => Promise<unknown>): Promise<number> {
  const { writeBuffer } = GPUQueue.prototype;
  let uploads = 0;
  GPUQueue.prototype.writeBuffer = function (...args) {
    const data = args[2] as ArrayBufferView;
    if ((args[4] ?? data.byteLength) === BYTES) uploads++;
    return writeBuffer.apply(this, args);
  };
  try {
    await work();
  } finally {
    GPUQueue.prototype.writeBuffer = writeBuffer;
  }
  return uploads;
}

testOnWebGpu(
  "an image is sent once, and seen the same in every orientation",
  async () => {
    const kept = noiseCache(4), unkept = noiseCache(0);
    const uploads = await imageUploads(async () => {
      for (const orientation of ORIENTATIONS.keys()) {
        const values = await seen(kept, "1", orientation);
        assert.deepEqual(values, await seen(unkept, "1", orientation));
      }
    });
    // Each time by the cache that keeps none, once by the other.
    assert.equal(uploads, ORIENTATIONS.length + 1);
    assert.equal(kept.engineBytes, BYTES);
    kept.close();
    assert.equal(kept.engineBytes, 0);
  },
);

testOnWebGpu(
  "copies on the engine keep within what images leave of the bound",
  async () => {
    const cache = noiseCache(4);
    const held = () => [cache.bytes / BYTES, cache.engineBytes / BYTES];
    await seen(cache, "1");
    assert.deepEqual(held(), [1, 1]);
    await seen(cache, "2");
    assert.deepEqual(held(), [2, 2]);
    // A third image needs the room of a copy, and has no room for its own.
    const [before] = await seen(cache, "3");
    assert.deepEqual(held(), [3, 1]);
    assert.deepEqual((await seen(cache, "3"))[0], before);
    await seen(cache, "4");
    assert.deepEqual(held(), [4, 0]);
    cache.close();
    assert.deepEqual(held(), [0, 0]);
  },
);

testOnWebGpu(
  "an image that is evicted has no copy, and its users keep theirs",
  async () => {
    const cache = noiseCache(2);
    const image = await cache.open("1");
    const views = await Views.open(image, { memory: new Memory() });
    assert.equal(cache.engineBytes, BYTES);
    (await cache.open("2")).close();
    (await cache.open("3")).close();
    assert.equal(cache.engineBytes, 0);
    const view = await views.whole(0.3);
    const [expected] = await seen(noiseCache(0), "1");
    assert.deepEqual(await view.data(), expected);
    view.dispose();
    views.dispose();
    image.close();
    cache.close();
  },
);

testOnWasm("on the CPU there are no copies", async () => {
  const cache = noiseCache(4);
  await seen(cache, "1");
  assert.equal(cache.engineBytes, 0);
  cache.close();
});
