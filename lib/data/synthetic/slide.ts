/**
 * A synthetic slide of up to tens of gigapixels: white glass, pieces of tissue,
 * and clusters of the objects of needle.ts, as a tiled pyramid.
 *
 * Each level is the mean of 2 x 2 px of the one before, in every block. Blocks
 * that look the same are drawn, halved, encoded and (unless `distinct`) stored
 * once, so writing follows the outlines and the objects, not the pixels.
 *
 * @module
 */
import { basename, dirname, join, parse } from "node:path";
import { randomKey, RandomStream } from "../../../kernels/random.ts";
import { writeFileAtomically } from "../../files.ts";
import type { MapSize, Size } from "../../image/geometry.ts";
import { levelSizes } from "../../image/tiff/write/pyramid_writer.ts";
import { halve, type Rgb } from "../../image/pyramids/rgb.ts";
import {
  type BlockCompression,
  encodeBlock,
} from "../../image/tiff/write/encoder.ts";
import {
  blockGrid,
  type TiffWriter,
  writeTiff,
  type WrittenBlock,
} from "../../image/tiff/write/writer.ts";
import { annotate } from "./needle.ts";
import {
  drawBackground,
  drawObject,
  type NeedleObject,
} from "./needle_pixels.ts";
import {
  BLOCK_SIZE,
  isTissue,
  planSlide,
  type SlideOptions,
  type SlidePlan,
} from "./slide_plan.ts";
import { formatTable } from "../table.ts";

/** Storage of a slide. */
export interface SlideFile {
  compression: BlockCompression;
  /**
   * Stores every block separately, as scanners do; otherwise repeats share one.
   */
  distinct: boolean;
}

/** Paths of a written slide's files, and its facts. */
export interface WrittenSlide {
  slide: string;
  manifest: string;
  regions: string;
  width: number; // px
  height: number; // px
  levels: number;
  bytes: number;
  objects: number;
}

/** Micrometres per level-0 px: 40 times. */
export const SLIDE_MPP = 0.25;

/**
 * Writes a slide at `path`, and its manifest and regions beside it. Each file
 * is written atomically.
 *
 * @param options.onProgress called with the share that is done, 0 to 1.
 * @throws {ConfigError} If the clusters do not fit into the tissue.
 */
export async function writeSlide(
  path: string,
  slide: SlideOptions,
  { file, signal, onProgress = () => {} }: {
    file: SlideFile;
    signal?: AbortSignal;
    onProgress?: (share: number) => void;
  },
): Promise<WrittenSlide> {
  const plan = planSlide(slide);
  const levels = levelSizes({ width: plan.side, height: plan.side });
  const layout = {
    levels,
    blockSize: BLOCK_SIZE,
    compression: file.compression,
    mpp: SLIDE_MPP,
  };
  await Deno.mkdir(dirname(path), { recursive: true });
  await writeTiff(path, layout, async (writer) => {
    let below: LevelBlocks | undefined;
    for (const [level, size] of levels.entries()) {
      signal?.throwIfAborted();
      const store = new BlockStore(writer, { level, ...file });
      const content = below === undefined
        ? level0Content(plan, slide.seed)
        : halvedContent(below);
      below = await writeLevel(store, size, content, signal);
      onProgress(1 - 0.25 ** (level + 1));
    }
  });
  const { size: bytes } = await Deno.stat(path);
  return {
    slide: path,
    ...await writeTables(path, slide, plan.objects),
    width: plan.side,
    height: plan.side,
    levels: levels.length,
    bytes,
    objects: plan.objects.length,
  };
}

/** Writes the manifest and the regions beside the slide. */
async function writeTables(
  path: string,
  { positive }: SlideOptions,
  objects: readonly NeedleObject[],
): Promise<Pick<WrittenSlide, "manifest" | "regions">> {
  const image = basename(path);
  const stem = join(dirname(path), parse(path).name);
  const regions = `${stem}.regions.csv`, manifest = `${stem}.manifest.csv`;
  const rows = objects.map(annotate)
    .map(({ x, y, width, height, type }) =>
      [image, x, y, x + width, y + height, type] as const
    );
  await writeFileAtomically(
    regions,
    formatTable(["image", "left", "top", "right", "bottom", "type"], rows),
  );
  const label = positive ? "positive" : "negative";
  await writeFileAtomically(
    manifest,
    formatTable(["image", "label", "split", "mpp", "rois"], [
      [image, label, "test", SLIDE_MPP, basename(regions)],
    ]),
  );
  return { manifest, regions };
}

/** Content of a block: blocks with equal keys look the same. */
interface Content {
  key: string;
  draw(): Rgb;
}

/** Content of the block at (row, column) of a level. */
type ContentAt = (row: number, column: number) => Content;

/** The blocks of a written level. */
interface LevelBlocks extends MapSize {
  /** Id of the block at each place, `[rows, columns]`. */
  ids: Uint32Array;
  /** Each block shrunk by half, by id. */
  halves: readonly Rgb[];
}

/** Fills all places of a level of `size`. */
async function writeLevel(
  store: BlockStore,
  size: Size,
  contentAt: ContentAt,
  signal: AbortSignal | undefined,
): Promise<LevelBlocks> {
  const { rows, columns } = blockGrid(size, BLOCK_SIZE);
  const ids = new Uint32Array(rows * columns);
  for (let row = 0, place = 0; row < rows; row++) {
    signal?.throwIfAborted();
    for (let column = 0; column < columns; column++, place++) {
      const content = contentAt(row, column);
      const id = store.find(content.key) ?? await store.add(content);
      ids[place] = id;
      await store.place(place, id);
    }
  }
  return { rows, columns, ids, halves: store.halves };
}

/** The different blocks of one level, by number in order of appearance. */
class BlockStore {
  readonly halves: Rgb[] = [];
  readonly #writer: TiffWriter;
  readonly #options: SlideFile & { level: number };
  readonly #ids = new Map<string, number>();
  readonly #encoded: Uint8Array[] = []; // only if each place stores its own copy
  readonly #written: WrittenBlock[] = [];

  constructor(writer: TiffWriter, options: SlideFile & { level: number }) {
    this.#writer = writer;
    this.#options = options;
  }

  find(key: string): number | undefined {
    return this.#ids.get(key);
  }

  async add({ key, draw }: Content): Promise<number> {
    const id = this.halves.length;
    const block = draw();
    const encoded = await encodeBlock(block, this.#options.compression);
    if (this.#options.distinct) this.#encoded.push(encoded);
    else this.#written.push(await this.#writer.write(encoded));
    this.#ids.set(key, id);
    this.halves.push(halve(block));
    return id;
  }

  async place(place: number, id: number): Promise<void> {
    const block = this.#written[id] ??
      await this.#writer.write(this.#encoded[id]!);
    this.#writer.place(this.#options.level, place, block);
  }
}

/**
 * Glass (RGB): everything except tissue, and the area beyond the slide's edge.
 */
const GLASS = [243, 243, 244] as const;

function drawGlass(size: number): Rgb {
  const data = new Uint8Array(size * size * 3);
  for (let i = 0; i < data.length; i += 3) data.set(GLASS, i);
  return { data, width: size, height: size };
}

// Words of the random keys, beside those of slide_plan.ts.
const TEXTURE = 3, INK = 4;

/** Level 0: glass, tissue in four reflections, and tissue with objects. */
function level0Content(plan: SlidePlan, seed: number): ContentAt {
  const random = new RandomStream(randomKey(seed, TEXTURE));
  const texture = drawBackground(BLOCK_SIZE, random);
  const square = { data: texture, width: BLOCK_SIZE, height: BLOCK_SIZE };
  const tissue = [0, 1, 2, 3].map((phase) => reflected(square, phase));
  const objects = objectsByBlock(plan);
  return (row, column) => {
    const x = column * BLOCK_SIZE, y = row * BLOCK_SIZE;
    if (!isTissue(plan, { x, y })) {
      return { key: "glass", draw: () => drawGlass(BLOCK_SIZE) };
    }
    const phase = row % 2 * 2 + column % 2;
    const here = objects.get(blockName(row, column));
    if (here === undefined) {
      return { key: `tissue ${phase}`, draw: () => tissue[phase]! };
    }
    const draw = () => {
      const data = Uint8ClampedArray.from(tissue[phase]!.data);
      for (const index of here) {
        const object = plan.objects[index]!;
        drawObject(
          { data, width: BLOCK_SIZE, height: BLOCK_SIZE },
          { ...object, left: object.left - x, top: object.top - y },
          new RandomStream(randomKey(seed, INK, index)), // the same in all blocks
        );
      }
      return { data, width: BLOCK_SIZE, height: BLOCK_SIZE };
    };
    return { key: blockName(row, column), draw };
  };
}

function blockName(row: number, column: number): string {
  return `${row} ${column}`;
}

/** Indices of the objects in each block, whole or in part. */
function objectsByBlock({ objects }: SlidePlan): Map<string, number[]> {
  const found = new Map<string, number[]>();
  const blockOf = (px: number) => Math.floor(px / BLOCK_SIZE);
  for (const [index, { left, top, diameter }] of objects.entries()) {
    const end = diameter - 1;
    for (let row = blockOf(top); row <= blockOf(top + end); row++) {
      for (let col = blockOf(left); col <= blockOf(left + end); col++) {
        const name = blockName(row, col);
        found.set(name, [...found.get(name) ?? [], index]);
      }
    }
  }
  return found;
}

/**
 * A square mirrored left to right (phase 1), top to bottom (2) or both (3): laid
 * out by the parity of row and column, they meet without a seam.
 */
function reflected({ data, width, height }: Rgb, phase: number): Rgb {
  const out = new Uint8ClampedArray(data.length);
  for (let y = 0, to = 0; y < height; y++) {
    const sourceY = phase & 2 ? height - 1 - y : y;
    for (let x = 0; x < width; x++, to += 3) {
      const sourceX = phase & 1 ? width - 1 - x : x;
      const from = (sourceY * width + sourceX) * 3;
      out.set(data.subarray(from, from + 3), to);
    }
  }
  return { data: out, width, height };
}

/**
 * A smaller level: each block consists of four halved blocks of the level
 * `below`.
 */
function halvedContent(below: LevelBlocks): ContentAt {
  const glass = drawGlass(BLOCK_SIZE / 2);
  return (row, column) => {
    const ids = [0, 1, 2, 3].map((quarter) => {
      const r = 2 * row + (quarter >> 1), c = 2 * column + quarter % 2;
      const isInside = r < below.rows && c < below.columns;
      return isInside ? below.ids[r * below.columns + c] : undefined;
    });
    return {
      key: ids.join(),
      draw: () =>
        assembled(
          ids.map((id) => id === undefined ? glass : below.halves[id]!),
        ),
    };
  };
}

/** One block of four halves, row by row. */
function assembled(halves: readonly Rgb[]): Rgb {
  const half = BLOCK_SIZE / 2;
  const data = new Uint8Array(BLOCK_SIZE * BLOCK_SIZE * 3);
  for (const [quarter, { data: from }] of halves.entries()) {
    const left = quarter % 2 * half, top = (quarter >> 1) * half;
    for (let y = 0; y < half; y++) {
      data.set(
        from.subarray(y * half * 3, (y + 1) * half * 3),
        ((top + y) * BLOCK_SIZE + left) * 3,
      );
    }
  }
  return { data, width: BLOCK_SIZE, height: BLOCK_SIZE };
}
