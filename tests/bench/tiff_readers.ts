/**
 * Local TIFF pyramids read in three ways: in our blocks, by libvips through
 * sharp, which opens the file for every region, and by OpenSlide.
 *
 *     deno run --allow-read --allow-env --allow-sys --allow-ffi tests/bench/tiff_readers.ts SLIDE.tif...
 *
 * Prints what classifying the image takes with either (fresh weights of the
 * preset camelyon16, a fresh reader each time, the median of some; not by
 * OpenSlide), and the median time of random regions, one by one and 32 at a
 * time (by OpenSlide one after the other), with the processor time.
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
const READS = 300, AT_A_TIME = 32;
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

const REGION_READERS: Record<string, Reader> = {
  ...READERS,
  openslide: async (path) => new BareOpenSlide(await openImage(path), path),
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

const OPENSLIDE = {
  openslide_open: { parameters: ["buffer"], result: "pointer" },
  openslide_read_region: {
    parameters: ["pointer", "buffer", "i64", "i64", "i32", "i64", "i64"],
    result: "void",
  },
} as const;

/** Regions of the finest level as OpenSlide gives them, premultiplied BGRA. */
class BareOpenSlide extends WrappedPyramid {
  readonly #symbols = Deno.dlopen("libopenslide.so.0", OPENSLIDE).symbols;
  readonly #slide: Deno.PointerValue;

  constructor(inner: Pyramid, path: string) {
    super(inner);
    const name = new TextEncoder().encode(`${path}\0`);
    this.#slide = this.#symbols.openslide_open(name);
    assert.ok(this.#slide, `OpenSlide does not read ${path}`);
  }

  override read({ x, y, width, height }: Region): Promise<Pixels> {
    const data = new Uint8Array(width * height * 4);
    const [left, top, wide, high] = [x, y, width, height].map(BigInt) as [
      bigint,
      bigint,
      bigint,
      bigint,
    ];
    this.#symbols
      .openslide_read_region(this.#slide, data, left, top, 0, wide, high);
    return Promise.resolve({ data, width, height });
  }

  override prefetch(): void {}
  override release(): void {}
}

await startEngine("wasm");
for (const path of Deno.args) {
  await classify(path);
  for (const count of [1, AT_A_TIME]) await readRandomly(path, count);
}

/** Classifies the image with either reader in turn, opened anew each time. */
async function classify(path: string): Promise<void> {
  const model = freshModel("camelyon16");
  const said: number[][] = [];
  const taken = await besides(READERS, CLASSIFICATIONS, async (open) => {
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

/** Reads random regions, so many at a time. */
async function readRandomly(path: string, count: number): Promise<void> {
  const pyramids = new Map<Reader, Pyramid>();
  for (const open of Object.values(REGION_READERS)) {
    pyramids.set(open, await open(path));
  }
  const random = new RandomStream(randomKey(1));
  const { width, height } = pyramids.get(openImage)!;
  let regions: Region[] = [];
  const taken = await besides(
    REGION_READERS,
    Math.ceil(READS / count),
    async (open) => {
      const pyramid = pyramids.get(open)!;
      await Promise.all(regions.map((region) => pyramid.read(region, 0)));
    },
    () => {
      regions = Array.from({ length: count }, () => ({
        x: random.below(width - SIDE),
        y: random.below(height - SIDE),
        width: SIDE,
        height: SIDE,
      }));
    },
  );
  for (const pyramid of pyramids.values()) pyramid.close();
  print(
    path,
    count === 1 ? "a region" : `a region, ${count} at a time`,
    taken,
    count,
  );
}

/** Does `once` with every reader in turn, `times` times. */
async function besides(
  all: Record<string, Reader>,
  times: number,
  once: (open: Reader) => Promise<void>,
  before = () => {},
): Promise<Record<string, Taken>> {
  const taken: Record<string, Taken> = {};
  for (const name of Object.keys(all)) taken[name] = { ms: [], cpuMs: 0 };
  const readers = Object.entries(all);
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

function print(
  path: string,
  what: string,
  taken: Record<string, Taken>,
  count = 1,
): void {
  for (const [name, { ms, cpuMs }] of Object.entries(taken)) {
    const median = ms.toSorted((a, b) => a - b)[Math.floor(ms.length / 2)]!;
    console.log(
      `${basename(path)} ${name}: ${(median / count).toFixed(2)} ms ${what}, ${
        (cpuMs / ms.length / count).toFixed(2)
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
