/** Tiles of a TIFF as they are stored, for the tests of what decodes them. */
import type { TiffOptions } from "sharp";
import { openFile } from "../../../lib/image/bytes/file.ts";
import { readTiffImage } from "../../../lib/image/tiff/levels.ts";
import type { TiffPage } from "../../../lib/image/tiff/page.ts";
import { TiffFile } from "../../../lib/image/tiff/parser.ts";
import { asymmetricPicture, toSharp } from "../pictures.ts";

/** A TIFF of 4 x 3 tiles of 32 x 32 px, written by libvips. */
export async function tiled(options: TiffOptions): Promise<Uint8Array> {
  const picture = asymmetricPicture(117, 90);
  return new Uint8Array(
    await toSharp(picture).removeAlpha().tiff({
      ...options,
      tile: true,
      tileWidth: 32,
      tileHeight: 32,
    }).toBuffer(),
  );
}

/** The first page of a file, and the stored bytes of its first blocks. */
export async function blocksOf(
  path: string,
  count = 12,
): Promise<{ page: TiffPage; blocks: Uint8Array[] }> {
  const source = await openFile(path);
  const file = await TiffFile.open(source);
  const { levels: [page] } = await readTiffImage(
    file,
    await file.directories(),
  );
  const blocks = await Promise.all(
    Array.from(
      { length: count },
      async (_, i) =>
        await source.read(await page!.offsets.at(i), await page!.bytes.at(i)),
    ),
  );
  source.close();
  return { page: page!, blocks };
}
