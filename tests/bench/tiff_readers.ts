/**
 * Local TIFF pyramids read in two ways: in our blocks, and by libvips through
 * sharp, which opens the file for every region.
 *
 *     deno run --allow-read --allow-env --allow-sys --allow-ffi tests/bench/tiff_readers.ts SLIDE.tif...
 *
 * Prints what classifying the image takes with either (fresh weights of the
 * preset camelyon16, a fresh reader each time, the median of some), and the
 * median time of random regions read one by one, with the processor time.
 *
 * @module
 */
import assert from "node:assert/strict";
import { basename } from "node:path";
import process from "node:process";
import sharp, { type Sharp } from "sharp";
import { randomKey, RandomStream } from "../../kernels/random.ts";
import { startEngine } from "../../lib/engine/select.ts";
import { predict } from "../../lib/eval/predict.ts";
import type { Region } from "../../lib/image/geometry.ts";
import { openImage } from "../../lib/image/open.ts";
import {
  type Pixels,
  type Pyramid,
  WrappedPyramid,
} from "../../lib/image/pyramid.ts";
import { freshModel } from "./presets.ts";
import { Memory } from "../../lib/memory.ts";

const CLASSIFICATIONS = 12;
const READS = 300;
const SIDE = 256; // px

/** Opens an image to be read in one of the two ways. */
type Reader = (path: string) => Promise<Pyramid>;

const READERS: Record<string, Reader> = {
  ours: openImage,
  libvips: async (path) => {
    const pyramid = await openImage(path);
    return new VipsPyramid(pyramid, await pagesOf(path, pyramid));
  },
};

/** Times of one reader, image by image. */
interface Taken {
  ms: number[];
  cpuMs: number;
}

/** The pixels of another pyramid, as libvips reads them. */
class VipsPyramid extends WrappedPyramid {
  /** The page of the file that has each level. */
  readonly #pages: readonly number[];

  constructor(inner: Pyramid, pages: readonly number[]) {
    super(inner);
    this.#pages = pages;
  }

  override async read(region: Region, level: number): Promise<Pixels> {
    const { x, y, width, height } = region;
    const { data } = await openPage(this.source, this.#pages[level]!)
      .extract({ left: x, top: y, width, height })
      .toColourspace("srgb").ensureAlpha().raw()
      .toBuffer({ resolveWithObject: true });
    return { data: Uint8Array.from(data), width, height };
  }

  override prefetch(): void {} // prefetched bytes would be read twice
  override release(): void {}
}

await startEngine("wasm");
for (const path of Deno.args) {
  await classify(path);
  await readRandomly(path);
}

/** Classifies the image with either reader in turn, opened anew each time. */
async function classify(path: string): Promise<void> {
  const model = freshModel("camelyon16");
  const said: number[][] = [];
  const taken = await besides(CLASSIFICATIONS, async (open) => {
    const pyramid = await open(path);
    const { predictions } = await predict(model, [pyramid], {
      seed: 1,
      memory: new Memory(),
    });
    pyramid.close();
    said.push(predictions[0]!.probabilities);
  });
  for (const probabilities of said) assert.deepEqual(probabilities, said[0]);
  print(path, "to classify", taken);
}

async function readRandomly(path: string): Promise<void> {
  const pyramids = new Map<Reader, Pyramid>();
  for (const open of Object.values(READERS)) {
    pyramids.set(open, await open(path));
  }
  const random = new RandomStream(randomKey(1));
  let region: Region;
  const taken = await besides(READS, async (open) => {
    await pyramids.get(open)!.read(region, 0);
  }, () => {
    const { width, height } = pyramids.get(openImage)!;
    const [x, y] = [random.below(width - SIDE), random.below(height - SIDE)];
    region = { x, y, width: SIDE, height: SIDE };
  });
  for (const pyramid of pyramids.values()) pyramid.close();
  print(path, "a region", taken);
}

/** Does `once` with every reader in turn, `times` times. */
async function besides(
  times: number,
  once: (open: Reader) => Promise<void>,
  before = () => {},
): Promise<Record<string, Taken>> {
  const taken: Record<string, Taken> = {};
  for (const name of Object.keys(READERS)) taken[name] = { ms: [], cpuMs: 0 };
  const readers = Object.entries(READERS);
  for (const [, open] of readers) before(), await once(open); // warm up
  for (let i = 0; i < times; i++) {
    before();
    readers.reverse(); // what comes second finds warmer caches
    for (const [name, open] of readers) {
      const started = performance.now(), cpu = process.cpuUsage();
      await once(open);
      const { user, system } = process.cpuUsage(cpu);
      taken[name]!.ms.push(performance.now() - started);
      taken[name]!.cpuMs += (user + system) / 1000;
    }
  }
  return taken;
}

function print(path: string, what: string, taken: Record<string, Taken>): void {
  for (const [name, { ms, cpuMs }] of Object.entries(taken)) {
    const median = ms.toSorted((a, b) => a - b)[Math.floor(ms.length / 2)]!;
    console.log(
      `${basename(path)} ${name}: ${median.toFixed(2)} ms ${what}, ${
        (cpuMs / ms.length).toFixed(2)
      } ms of a processor`,
    );
  }
}

function openPage(path: string, page: number): Sharp {
  return sharp(path, { page, limitInputPixels: false });
}

/** The page of each level: the first of its size. */
async function pagesOf(path: string, { levels }: Pyramid): Promise<number[]> {
  const { pages = 1 } = await openPage(path, 0).metadata();
  const sizes = await Promise.all(
    Array.from({ length: pages }, (_, page) => openPage(path, page).metadata()),
  );
  return levels.map(({ width, height }) => {
    const at = sizes.findIndex((page) =>
      page.width === width && page.height === height
    );
    assert.ok(at >= 0, `${path}: no page of ${width} x ${height} px`);
    return at;
  });
}
