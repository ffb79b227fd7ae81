/**
 * Tiles of JPEG through libjpeg-turbo: ignored where its library is not
 * installed; with ZOOMIN_REQUIRE_TURBOJPEG=1 they fail.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { TiffOptions } from "sharp";
import { findJpegTurbo } from "../../../../lib/image/formats/jpeg_turbo.ts";
import { decodeBlock } from "../../../../lib/image/tiff/decode/decoder.ts";
import { jpegTileDecoder } from "../../../../lib/image/tiff/decode/jpeg_tiles.ts";
import { ImageError } from "../../../../lib/errors.ts";
import { sharedData } from "../../../shared_data.ts";
import { TemporaryFolder } from "../../pictures.ts";
import { blocksOf, tiled } from "../stored_blocks.ts";

const ignore = findJpegTurbo() === undefined &&
  Deno.env.get("ZOOMIN_REQUIRE_TURBOJPEG") !== "1";

/** Tiles decoded at once are what libvips decodes one by one. */
async function assertAsLibvips(path: string, count: number): Promise<void> {
  const { page, blocks } = await blocksOf(path, count);
  const decode = jpegTileDecoder(page)!;
  const decoded = await Promise.all(blocks.map(decode));
  const { block: size } = page;
  for (const [i, bytes] of blocks.entries()) {
    const rows = page.pieceRows;
    const { data } = await decodeBlock(page, [[{ bytes, rows }]], { size });
    assert.deepEqual({ ...decoded[i], data: null }, { ...size, data: null });
    assert.ok(Buffer.from(data).equals(decoded[i]!.data), `tile ${i}`);
  }
}

const STORED: Record<string, TiffOptions> = {
  "chroma of half the size": { compression: "jpeg", quality: 80 },
  "chroma of every px": { compression: "jpeg", quality: 95 },
};

for (const [name, options] of Object.entries(STORED)) {
  Deno.test({
    name: `tiles of JPEG have the pixels of libvips: ${name}`,
    ignore,
    fn: async () => {
      using folder = new TemporaryFolder();
      await assertAsLibvips(folder.write("a.tif", await tiled(options)), 12);
    },
  });
}

const slide = sharedData("wsi", "CMU-1-Small-Region.svs");
Deno.test({
  name: "tiles of a scanner's JPEG have the pixels of libvips",
  ignore: ignore || slide === undefined,
  fn: async () => await assertAsLibvips(slide!, 100),
});

Deno.test({
  name: "a damaged tile of JPEG is refused, and the next is decoded",
  ignore,
  fn: async () => {
    using folder = new TemporaryFolder();
    const path = folder.write(
      "a.tif",
      await tiled(STORED["chroma of every px"]!),
    );
    const { page, blocks: [first] } = await blocksOf(path);
    const decode = jpegTileDecoder(page)!;
    const expected = await decode(first!);
    const cut = first!.slice(0, -30);
    const hollow = first!.slice(); // libjpeg-turbo fills it up, and warns
    hollow.fill(0, hollow.length - 60, hollow.length - 2);
    const larger = first!.slice();
    larger[
      larger.findIndex((byte, i) => byte === 0xff && larger[i + 1] === 0xc0) + 6
    ]! += 16;
    for (const bytes of [cut, hollow, larger]) {
      await assert.rejects(decode(bytes), ImageError);
    }
    assert.deepEqual(await decode(first!), expected);
  },
});

Deno.test({
  name: "only tiles of JPEG in RGB are decoded so",
  ignore,
  fn: async () => {
    using folder = new TemporaryFolder();
    const { page } = await blocksOf(
      folder.write("a.tif", await tiled({ compression: "lzw" })),
    );
    assert.equal(jpegTileDecoder(page), undefined);
    const strips = { ...page, compression: "jpeg", tiled: false } as const;
    assert.equal(jpegTileDecoder(strips), undefined);
  },
});
