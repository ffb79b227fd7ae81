import assert from "node:assert/strict";
import { ImageError } from "../../lib/errors.ts";
import { ImageCache } from "../../lib/image/image_cache.ts";
import { openImage } from "../../lib/image/open.ts";
import type { Pyramid } from "../../lib/image/pyramid.ts";
import { RasterPyramid } from "../../lib/image/pyramids/raster.ts";
import {
  asymmetricPicture,
  readAll,
  TemporaryFolder,
  toSharp,
} from "./pictures.ts";

const BYTES = 5 * 3 * 4; // of one test image

/** An opener that counts opened images, and those not yet closed. */
function countingOpener() {
  const counts = { opened: [] as string[], alive: new Set<string>() };
  // deno-lint-ignore require-await
  const open = async (path: string): Promise<Pyramid> => {
    counts.opened.push(path);
    if (path === "bad") throw new ImageError("Cannot open bad");
    const pixels = asymmetricPicture();
    const image = new RasterPyramid(path, { pixels, warnings: [] });
    counts.alive.add(path);
    const close = image.close.bind(image);
    image.close = () => {
      counts.alive.delete(path);
      close();
    };
    return image;
  };
  return { counts, open };
}

Deno.test("ImageCache opens a file once", async () => {
  using folder = new TemporaryFolder();
  const pixels = asymmetricPicture();
  const path = folder.write("a.png", await toSharp(pixels).png().toBuffer());
  let opened = 0;
  const cache = new ImageCache(BYTES, (path) => {
    opened++;
    return openImage(path);
  });
  for (let epoch = 0; epoch < 3; epoch++) {
    const image = await cache.open(path);
    assert.deepEqual((await readAll(image)).data, pixels.data);
    assert.ok(image.traffic.bytes > 0);
    image.close();
  }
  assert.equal(opened, 1);
  assert.equal(cache.bytes, BYTES);
  cache.close();
  assert.equal(cache.bytes, 0);
});

Deno.test("ImageCache keeps the warnings of all images, of evicted ones too", async () => {
  const pixels = asymmetricPicture();
  const cache = new ImageCache(0, (path) => {
    const warnings = path === "grey" ? ["grey expanded to RGB"] : [];
    return Promise.resolve(new RasterPyramid(path, { pixels, warnings }));
  });
  for (const path of ["grey", "colour", "grey"]) {
    (await cache.open(path)).close();
  }
  assert.deepEqual([...cache.warnings], [["grey", ["grey expanded to RGB"]]]);
});

Deno.test("ImageCache: closed twice is closed once", async () => {
  const { counts, open } = countingOpener();
  const cache = new ImageCache(BYTES, open);
  const [one, other] = [await cache.open("a"), await cache.open("a")];
  cache.close();
  one.close();
  one.close();
  await Promise.resolve();
  assert.ok(counts.alive.has("a"), "the other user has it yet");
  other.close();
  await Promise.resolve();
  assert.ok(!counts.alive.has("a"));
});

Deno.test("ImageCache keeps its bound; the oldest use goes first", async () => {
  const { counts, open } = countingOpener();
  const cache = new ImageCache(2 * BYTES, open);
  for (const path of ["a", "b", "a", "c"]) (await cache.open(path)).close();
  assert.equal(cache.bytes, 2 * BYTES);
  assert.deepEqual([...counts.alive], ["a", "c"]);
  (await cache.open("a")).close();
  assert.deepEqual(counts.opened, ["a", "b", "c"]);
  (await cache.open("b")).close();
  assert.deepEqual(counts.opened, ["a", "b", "c", "b"]);
});

Deno.test("ImageCache: calls at the same time share one decoding", async () => {
  const { counts, open } = countingOpener();
  const cache = new ImageCache(BYTES, open);
  const images = await Promise.all([1, 2, 3].map(() => cache.open("a")));
  assert.deepEqual(counts.opened, ["a"]);
  images[0]!.close();
  images[0]!.close(); // twice is once
  await assert.rejects(readAll(images[0]!), /closed/);
  await readAll(images[1]!); // the others' are not
});

Deno.test("ImageCache: a dropped image lives until its last handle is closed", async () => {
  const { counts, open } = countingOpener();
  const cache = new ImageCache(BYTES, open);
  const [first, second] = [await cache.open("a"), await cache.open("a")];
  (await cache.open("b")).close(); // takes the room of "a"
  await readAll(first);
  first.close();
  await readAll(second);
  second.close();
  await settle();
  assert.deepEqual([...counts.alive], ["b"]);
  cache.close();
  await settle();
  assert.equal(counts.alive.size, 0);
});

Deno.test("ImageCache opens an image larger than its bound, and does not keep it", async () => {
  const { counts, open } = countingOpener();
  const cache = new ImageCache(BYTES - 1, open);
  const image = await cache.open("a");
  assert.equal(cache.bytes, 0);
  await readAll(image);
  image.close();
  await settle();
  assert.equal(counts.alive.size, 0);
  (await cache.open("a")).close();
  assert.deepEqual(counts.opened, ["a", "a"]);
});

Deno.test("ImageCache does not keep a failure", async () => {
  const { counts, open } = countingOpener();
  const cache = new ImageCache(BYTES, open);
  for (let call = 0; call < 2; call++) {
    await assert.rejects(cache.open("bad"), ImageError);
  }
  await Promise.all([1, 2].map(() => assert.rejects(cache.open("bad"))));
  assert.deepEqual(counts.opened, ["bad", "bad", "bad"]);
  assert.equal(cache.bytes, 0);
});

Deno.test("ImageCache: a signal ends one wait, not the others'", async () => {
  const { counts, open } = countingOpener();
  const opened = Promise.withResolvers<void>();
  const cache = new ImageCache(BYTES, async (path) => {
    await opened.promise;
    return await open(path);
  });
  const controller = new AbortController();
  const impatient = cache.open("a", controller.signal);
  const patient = cache.open("a");
  controller.abort(new Error("enough"));
  await assert.rejects(impatient, /enough/);
  await assert.rejects(cache.open("a", controller.signal), /enough/);
  opened.resolve();
  await readAll(await patient);
  assert.deepEqual(counts.opened, ["a"]);
});

Deno.test("ImageCache closed during a decoding keeps nothing of it", async () => {
  const { counts, open } = countingOpener();
  const cache = new ImageCache(BYTES, open);
  const opening = cache.open("a");
  cache.close();
  (await opening).close();
  await settle();
  assert.equal(cache.bytes, 0);
  assert.equal(counts.alive.size, 0);
});

/** Lets pending closes that await a promise run. */
function settle(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}
