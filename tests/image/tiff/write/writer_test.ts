import assert from "node:assert/strict";
import { join } from "node:path";
import { type Rgb } from "../../../../lib/image/pyramids/rgb.ts";
import { encodeBlock } from "../../../../lib/image/tiff/write/encoder.ts";
import {
  type TiffLayout,
  writeTiff,
} from "../../../../lib/image/tiff/write/writer.ts";
import { withFolder } from "../../../data/folder.ts";
import { pageMetadata, readPage } from "../../tiff_pages.ts";

const BLOCK = 16;

/** A block that every mirroring and every swap of channels changes. */
function block(seed: number): Rgb {
  const data = Uint8Array.from(
    { length: BLOCK * BLOCK * 3 },
    (_, i) => (i * 7 + (i % 3) * 50 + seed * 31) % 256,
  );
  return { data, width: BLOCK, height: BLOCK };
}

const LAYOUT: TiffLayout = {
  levels: [{ width: 40, height: 20 }, { width: 10, height: 5 }],
  blockSize: BLOCK,
  compression: { kind: "deflate" },
  mpp: 0.25,
};

/** Writes LAYOUT: block n is at place n, but the last place shows block 0. */
async function write(path: string, layout: TiffLayout): Promise<void> {
  await writeTiff(path, layout, async (writer) => {
    const blocks = [];
    for (let n = 0; n < 6; n++) {
      blocks.push(
        await writer.write(await encodeBlock(block(n), layout.compression)),
      );
    }
    for (let n = 0; n < 5; n++) writer.place(0, n, blocks[n]!);
    writer.place(0, 5, blocks[0]!);
    writer.place(1, 0, blocks[5]!);
  });
}

/** The pixel at (x, y) of level 0 as written by `write`. */
function expectedAt(x: number, y: number): number[] {
  const place = Math.floor(y / BLOCK) * 3 + Math.floor(x / BLOCK);
  const { data } = block(place === 5 ? 0 : place);
  const at = ((y % BLOCK) * BLOCK + x % BLOCK) * 3;
  return [...data.subarray(at, at + 3)];
}

for (const big of [false, true]) {
  const kind = big ? "BigTIFF" : "TIFF";
  Deno.test(`libvips reads every level of a ${kind} as it was written`, async () => {
    await withFolder(async (folder) => {
      const path = join(folder, "a.tif");
      await write(path, { ...LAYOUT, big });
      const version = Deno.readFileSync(path)[2];
      assert.equal(version, big ? 43 : 42);
      const { pages, density, width, height } = await pageMetadata(path, 0);
      assert.deepEqual([pages, width, height], [2, 40, 20]);
      assert.equal(density, 101_600); // 4 px/um, in px/inch
      const { data } = await readPage(path, 0);
      for (let y = 0; y < 20; y++) {
        for (let x = 0; x < 40; x++) {
          const at = (y * 40 + x) * 3;
          assert.deepEqual([...data.subarray(at, at + 3)], expectedAt(x, y));
        }
      }
      const small = await readPage(path, 1);
      assert.deepEqual([small.width, small.height], [10, 5]);
      assert.deepEqual(
        small.data.subarray(0, 30),
        block(5).data.subarray(0, 30),
      );
    });
  });
}

Deno.test("the resolution of an electron microscope fits its field", async () => {
  await withFolder(async (folder) => {
    for (const mpp of [0.002, 0.001, 0.0001]) {
      const path = join(folder, `${mpp}.tif`);
      await write(path, { ...LAYOUT, mpp });
      const { density } = await pageMetadata(path, 0);
      assert.equal(density, Math.round(25_400 / mpp)); // px/inch
    }
  });
});

Deno.test("JPEG blocks come back in the right colours", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "a.tif");
    const compression = { kind: "jpeg", quality: 95 } as const;
    const data = new Uint8Array(BLOCK * BLOCK * 3);
    for (let i = 0; i < data.length; i += 3) data.set([200, 90, 30], i);
    const encoded = await encodeBlock(
      { data, width: BLOCK, height: BLOCK },
      compression,
    );
    const levels = [{ width: 30, height: 9 }];
    await writeTiff(
      path,
      { ...LAYOUT, levels, compression },
      async (writer) => {
        const written = await writer.write(encoded);
        writer.place(0, 0, written);
        writer.place(0, 1, written);
      },
    );
    const read = await readPage(path, 0);
    assert.deepEqual([read.width, read.height], [30, 9]);
    for (const [i, value] of read.data.entries()) {
      assert.ok(Math.abs(value - [200, 90, 30][i % 3]!) <= 2);
    }
  });
});

Deno.test("a file that cannot be filled leaves nothing, and an older one alone", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "a.tif");
    await Deno.writeTextFile(path, "older");
    await assert.rejects(
      writeTiff(path, LAYOUT, () => Promise.reject(new Error("no ink"))),
      /no ink/,
    );
    await assert.rejects(
      writeTiff(path, LAYOUT, () => Promise.resolve()),
      /block 0 of level 0 was not placed/,
    );
    assert.deepEqual([...Deno.readDirSync(folder)].map((e) => e.name), [
      "a.tif",
    ]);
    assert.equal(await Deno.readTextFile(path), "older");
  });
});
