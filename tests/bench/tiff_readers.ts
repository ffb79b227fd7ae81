/**
 * Random reads of a TIFF pyramid, three ways: in our blocks, by geotiff, and by
 * libvips through sharp, which opens the file for every region.
 *
 *     deno run --allow-read --allow-env --allow-sys --allow-ffi tests/bench/tiff_readers.ts SLIDE.tif
 *
 * @module
 */
import { fromFile } from "geotiff";
import sharp from "sharp";
import { randomKey, RandomStream } from "../../kernels/random.ts";
import type { Region } from "../../lib/image/geometry.ts";
import { openImage } from "../../lib/image/open.ts";

const READS = 100;
const SIDE = 256; // px

const [path] = Deno.args;
if (path === undefined) throw new TypeError("Cannot go on without SLIDE.tif");

/** Opens the file anew; the function it returns reads a region. */
type OpenReader = () => Promise<(region: Region) => Promise<unknown>>;

const readers: Record<string, OpenReader> = {
  async ours() {
    const image = await openImage(path);
    return (region) => image.read(region, 0);
  },
  async geotiff() {
    const image = await (await fromFile(path)).getImage(0);
    return ({ x, y, width, height }) =>
      image.readRGB({ window: [x, y, x + width, y + height] });
  },
  sharp() {
    return Promise.resolve(({ x, y, ...size }: Region) =>
      sharp(path, { page: 0, limitInputPixels: false })
        .extract({ left: x, top: y, ...size }).raw().toBuffer()
    );
  },
};

const { width, height } = await openImage(path);
const random = new RandomStream(randomKey(1));
const regions = Array.from({ length: READS }, () => ({
  x: random.below(width - SIDE),
  y: random.below(height - SIDE),
  width: SIDE,
  height: SIDE,
}));

for (let round = 0; round < 3; round++) {
  for (const [name, open] of Object.entries(readers)) {
    const started = performance.now();
    const read = await open();
    for (const region of regions) await read(region);
    const ms = (performance.now() - started) / READS;
    console.log(`${name.padEnd(8)} ${ms.toFixed(2)} ms a region`);
  }
}
