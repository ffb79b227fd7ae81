/** What a tile may cost: blocks, turns, and images that stay open. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { Cutter } from "../../../lib/serve/tiles/cutter.ts";
import { OpenImages } from "../../../lib/serve/tiles/open_images.ts";
import type { SeenImage } from "../../../lib/serve/tiles/protocol.ts";
import { tiffOfTiles } from "../../attack/shared_tiles.ts";
import { withFolder } from "../../data/folder.ts";

const TILE = { level: 0, column: 0, row: 0 };
const never = new AbortController().signal;

function seen(path: string): SeenImage {
  return { path, name: "the image", alone: false, version: "1" };
}

/** A cutter of a file of 400 blocks without smaller levels. */
async function withCutter(
  maxBlocks: number,
  test: (cutter: Cutter, path: string) => Promise<void>,
): Promise<void> {
  await withFolder(async (folder) => {
    const path = join(folder, "tiles.tif");
    await Deno.writeFile(path, tiffOfTiles(320));
    using images = new OpenImages(2 ** 24, {});
    await test(new Cutter({ images, maxBlocks }), path);
  });
}

Deno.test("a tile of too many blocks is refused, one of few is cut", async () => {
  await withCutter(300, async (cutter, path) => {
    const image = seen(path);
    const cut = { image, format: "jpeg" as const, known: [] };
    await assert.rejects(cutter.cut({ ...cut, place: TILE }, never), {
      name: "ImageError",
      message:
        /Cannot show the image so small: .* 400 blocks, and at most 300 .*pyramid/,
    });
    const { zoomLevels } = await cutter.describe(image, never);
    const place = { ...TILE, level: zoomLevels - 1 };
    const picture = await cutter.cut({ ...cut, place }, never);
    assert.ok(picture!.bytes!.length > 0);
    const { etag } = picture!;
    const again = await cutter.cut({ ...cut, place, known: [etag] }, never);
    assert.deepEqual(again, { etag });
  });
});

Deno.test("who leaves while waiting for a turn is not served", async () => {
  await withCutter(1000, async (cutter, path) => {
    const image = seen(path);
    const left = new AbortController();
    const cut = (signal: AbortSignal) =>
      cutter.cut({ image, format: "png", known: [], place: TILE }, signal);
    const waiting = Array.from({ length: 20 }, () => cut(left.signal));
    const served = cut(never);
    left.abort(new Error("left"));
    const outcomes = await Promise.allSettled(waiting);
    assert.ok(outcomes.every(({ status }) => status === "rejected"));
    assert.ok((await served)!.bytes!.length > 0);
  });
});

Deno.test("a file that cannot be opened is tried again, by its name", async () => {
  await withCutter(1000, async (cutter, path) => {
    const image = seen(`${path}.missing`);
    await assert.rejects(cutter.describe(image, never), {
      message: /Cannot open the image as an image: no such file/,
    });
    await Deno.rename(path, image.path);
    assert.ok((await cutter.describe(image, never)).width > 0);
  });
});
