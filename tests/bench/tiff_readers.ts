/**
 * Random reads of a TIFF pyramid, two ways in turn: in our blocks, and by
 * libvips through sharp, which opens the file for every region.
 *
 *     deno run --allow-read --allow-env --allow-sys --allow-ffi tests/bench/tiff_readers.ts SLIDE.tif...
 *
 * Prints, of each, the median time of a region and the processor time of all.
 *
 * @module
 */
import { basename } from "node:path";
import process from "node:process";
import sharp from "sharp";
import { randomKey, RandomStream } from "../../kernels/random.ts";
import type { Region } from "../../lib/image/geometry.ts";
import { openImage } from "../../lib/image/open.ts";

const READS = 300;
const SIDE = 256; // px

for (const path of Deno.args) await measure(path);

async function measure(path: string): Promise<void> {
  const image = await openImage(path);
  const readers: Record<string, (region: Region) => Promise<unknown>> = {
    ours: (region) => image.read(region, 0),
    libvips: ({ x, y, ...size }) =>
      sharp(path, { page: 0, limitInputPixels: false })
        .extract({ left: x, top: y, ...size }).raw().toBuffer(),
  };
  const random = new RandomStream(randomKey(1));
  const taken = Object.keys(readers).map((name) => ({
    name,
    ms: [] as number[],
    cpuMs: 0,
  }));
  for (let i = 0; i < READS; i++) {
    const region = {
      x: random.below(image.width - SIDE),
      y: random.below(image.height - SIDE),
      width: SIDE,
      height: SIDE,
    };
    for (const one of taken) {
      const started = performance.now(), before = process.cpuUsage();
      await readers[one.name]!(region);
      const { user, system } = process.cpuUsage(before);
      one.ms.push(performance.now() - started);
      one.cpuMs += (user + system) / 1000;
    }
  }
  image.close();
  for (const { name, ms, cpuMs } of taken) {
    const median = ms.toSorted((a, b) => a - b)[READS / 2]!;
    console.log(
      `${basename(path)} ${name}: ${median.toFixed(2)} ms a region, ${
        (cpuMs / READS).toFixed(2)
      } ms of a processor`,
    );
  }
}
