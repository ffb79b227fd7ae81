import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import sharp, { type TiffOptions } from "sharp";
import { BlockCache } from "../../../../lib/image/pyramids/block_cache.ts";
import {
  blocksTogether,
  decodeTogether,
} from "../../../../lib/image/tiff/decode/batch_decoder.ts";
import { openImage } from "../../../../lib/image/open.ts";
import { decodeBlock } from "../../../../lib/image/tiff/decode/decoder.ts";
import { TemporaryFolder } from "../../pictures.ts";
import { blocksOf, tiled } from "../stored_blocks.ts";

const STORED: Record<string, TiffOptions> = {
  "JPEG": { compression: "jpeg", quality: 80 },
  "JPEG with the colours of every px": { compression: "jpeg", quality: 95 },
  "LZW": { compression: "lzw", predictor: "none" },
  "LZW of differences": { compression: "lzw", predictor: "horizontal" },
};

for (const [name, options] of Object.entries(STORED)) {
  Deno.test(`blocks decoded together are those decoded alone: ${name}`, async () => {
    using folder = new TemporaryFolder();
    const path = folder.write("a.tif", await tiled(options));
    const { page, blocks } = await blocksOf(path);
    assert.ok(blocksTogether(page) > 12);
    const together = await decodeTogether(page, blocks);
    for (const [i, bytes] of blocks.entries()) {
      const { data } = await decodeBlock(page, [[{ bytes, rows: 32 }]], {
        size: page.block,
      });
      assert.ok(Buffer.from(data).equals(together[i]!), `block ${i}`);
    }
    const image = await openImage(path, { cache: new BlockCache(2 ** 20) });
    const { data } = await image.read(
      { x: 0, y: 0, width: 117, height: 90 },
      0,
    );
    image.close();
    const expected = await sharp(path).ensureAlpha().raw().toBuffer();
    assert.ok(expected.equals(data));
  });
}

for (const [name, options] of Object.entries(STORED)) {
  Deno.test(`a block that is damaged is named, and the others are read: ${name}`, async () => {
    using folder = new TemporaryFolder();
    const bytes = await tiled(options);
    const { page, blocks } = await blocksOf(folder.write("a.tif", bytes));
    const cut = [blocks[0]!, blocks[1]!.slice(0, -30)]; // libtiff would fill it up
    await assert.rejects(decodeTogether(page, cut));
    bytes.fill(0, await page.offsets.at(5), await page.offsets.at(5) + 20);
    const image = await openImage(folder.write("b.tif", bytes));
    const all = { x: 0, y: 0, width: 117, height: 90 };
    await assert.rejects(
      image.read(all, 0),
      /Cannot read .*b\.tif: block 5 of level 0: it is damaged or truncated/,
    );
    const above = { ...all, height: 32 };
    const { data } = await image.read(above, 0);
    image.close();
    const expected = await sharp(`${folder.path}/a.tif`)
      .extract({ left: 0, top: 0, width: 117, height: 32 })
      .ensureAlpha().raw().toBuffer();
    assert.ok(expected.equals(data));
  });
}
