/**
 * Damaged images of every format that is read here.
 *
 * @module
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { openImage } from "../../lib/image/open.ts";
import type { Pyramid } from "../../lib/image/pyramid.ts";
import { sharedData } from "../shared_data.ts";
import { damaged } from "./mutate.ts";
import { ends, type Target } from "./target.ts";

const MAX_PIXELS = 2 ** 24;
const MAX_SEED_BYTES = 100_000;
const REGION = 200; // px

/** Images, from their first byte to pixels. */
export const images: Target = {
  name: "images",
  async open(folder) {
    const seeds = [
      ...await drawn(),
      ...await filesOf(
        fileURLToPath(new URL("../../fixtures", import.meta.url)),
      ),
      ...await filesOf(sharedData("hostile")),
    ];
    const path = join(folder, "image");
    return {
      input: (random) => damaged(seeds, random),
      async run(input) {
        await Deno.writeFile(path, input);
        await ends(async () => {
          const image = await openImage(path, { maxPixels: MAX_PIXELS });
          try {
            await readCorners(image);
          } finally {
            image.close();
          }
        });
      },
      async [Symbol.asyncDispose]() {},
    };
  },
};

/** The first and the last pixels of every level. */
export async function readCorners(image: Pyramid): Promise<void> {
  for (const [level, { width, height }] of image.levels.entries()) {
    const size = {
      width: Math.min(REGION, width),
      height: Math.min(REGION, height),
    };
    for (const x of new Set([0, width - size.width])) {
      const y = height - size.height;
      const { data } = await image.read({ x, y, ...size }, level);
      if (data.length !== size.width * size.height * 4) {
        throw new Error(`Read ${data.length} bytes of ${size.width} px`);
      }
    }
  }
}

/** One picture in the formats and compressions that sharp writes, and BMP. */
async function drawn(): Promise<Uint8Array[]> {
  const width = 70, height = 50;
  const raw = new Uint8Array(width * height * 3)
    .map((_, i) => (i * 7 + (i >> 6) * 13) % 256);
  const picture = () => sharp(raw, { raw: { width, height, channels: 3 } });
  const tiff = { tile: true, tileWidth: 32, tileHeight: 32 };
  const encoders = [
    picture().png(),
    picture().png({ palette: true }),
    picture().greyscale().toColourspace("grey16").png(),
    picture().ensureAlpha(0.5).png({ progressive: true }),
    picture().jpeg(),
    picture().jpeg({ progressive: true }),
    picture().toColourspace("cmyk").jpeg(),
    picture().webp(),
    picture().webp({ lossless: true }),
    picture().tiff({ compression: "none" }),
    picture().tiff({ compression: "lzw", predictor: "horizontal" }),
    picture().tiff({ compression: "deflate", ...tiff }),
    picture().tiff({ compression: "jpeg", ...tiff, pyramid: true }),
    picture().tiff({ compression: "packbits", bigtiff: true }),
    picture().ensureAlpha(0.5).tiff({ compression: "lzw", ...tiff }),
    picture().greyscale().tiff({ compression: "deflate", bitdepth: 1 }),
  ];
  return [
    ...await Promise.all(encoders.map((encoder) => encoder.toBuffer())),
    bitmap(),
  ];
}

/** 3 x 2 px of a BMP of 24 bits. */
function bitmap(): Uint8Array {
  const bytes = new Uint8Array(54 + 24).fill(100, 54);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, 0x424d);
  const fields = [[2, 78], [10, 54], [14, 40], [18, 3], [22, 2], [34, 24]];
  for (const [at, value] of fields) view.setUint32(at!, value!, true);
  view.setUint16(26, 1, true);
  view.setUint16(28, 24, true);
  return bytes;
}

async function filesOf(folder: string | undefined): Promise<Uint8Array[]> {
  if (folder === undefined) return [];
  const files: Uint8Array[] = [];
  for (const { name, isDirectory } of sorted(Deno.readDirSync(folder))) {
    const path = join(folder, name);
    if (isDirectory) files.push(...await filesOf(path));
    else if ((await Deno.stat(path)).size <= MAX_SEED_BYTES) {
      files.push(await Deno.readFile(path));
    }
  }
  return files;
}

/** In one order everywhere: cases are numbers of seeds. */
function sorted(entries: Iterable<Deno.DirEntry>): Deno.DirEntry[] {
  return [...entries].sort((a, b) => a.name < b.name ? -1 : 1);
}
