/**
 * Cuts tiles of a deep zoom, and rectangles, from open images.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { ImageError } from "../../errors.ts";
import { encodeJpeg } from "../../image/formats/jpeg.ts";
import { encodePng } from "../../image/formats/png.ts";
import { clipRegion } from "../../image/geometry.ts";
import {
  levelFor,
  levelPart,
  type ViewPart,
  zoomLevels,
  zoomTile,
} from "../../image/level_geometry.ts";
import type { Pyramid } from "../../image/pyramid.ts";
import { freeNow } from "../../memory.ts";
import { viewPixels } from "../../image/view_pixels.ts";
import type { OpenImages } from "./open_images.ts";
import {
  type CutPicture,
  type CutTask,
  type SeenFacts,
  type SeenImage,
  TILE_SIDE,
} from "./protocol.ts";

/** Options of {@linkcode Cutter}. */
export interface CutterOptions {
  images: OpenImages;
  /** Most blocks of a file that a tile may be made of. */
  maxBlocks: number;
}

// Tiles that are cut at a time; others wait.
const AT_A_TIME = 6;
// Pixels of a level that are read at a time: 4 MiB as RGBA.
const READ_PIXELS = 2 ** 20;
// Pixels of a level from which a tile is made within a moment.
const QUICK_PIXELS = 2 ** 24;

/** Cuts pictures, a few at a time. */
export class Cutter {
  readonly #options: CutterOptions;
  readonly #waiting: (() => void)[] = [];
  #cutting = 0;

  constructor(options: CutterOptions) {
    this.#options = options;
  }

  /** @throws {ImageError} If the image cannot be opened. */
  async describe(
    seen: SeenImage,
    signal: AbortSignal,
  ): Promise<SeenFacts> {
    using used = await this.#open(seen, signal);
    const { image, identity } = used;
    const { width, height, mpp, bounds, georeference, warnings } = image;
    return {
      width,
      height,
      ...(mpp !== undefined && { mpp }),
      ...(bounds && { bounds }),
      ...(georeference && {
        georeference: {
          crs: georeference.crs,
          transform: [...georeference.transform],
        },
      }),
      zoomLevels: zoomLevels(image),
      firstLevel: firstLevel(image),
      levels: image.levels.map(({ width, height }) => ({ width, height })),
      warnings,
      etag: etagOf(identity),
    };
  }

  /**
   * The picture; undefined if the image has no such place.
   *
   * @throws {ImageError} If the image cannot be read, or not so small.
   */
  async cut(
    { image: seen, place, format, known }: CutTask,
    signal: AbortSignal,
  ): Promise<CutPicture | undefined> {
    using used = await this.#open(seen, signal);
    const { image, identity } = used;
    const view = viewOf(image, place);
    if (view === undefined) return undefined;
    const etag = etagOf(identity, place, format);
    if (known.includes(etag)) return { etag };
    this.#assertFewBlocks(image, view, seen);
    using _turn = await this.#turn();
    signal.throwIfAborted();
    try {
      const pixels = await viewPixels(image, view, {
        most: READ_PIXELS,
        signal,
      });
      const encode = format === "png" ? encodePng : encodeJpeg;
      const bytes = new Uint8Array(await encode(pixels));
      freeNow(pixels.data);
      return { etag, bytes };
    } catch (error) {
      throw named(error, seen);
    }
  }

  async #open(seen: SeenImage, signal: AbortSignal) {
    try {
      return await this.#options.images.use(seen, signal);
    } catch (error) {
      throw named(error, seen);
    }
  }

  /** @throws {ImageError} If the view is made of too many blocks of the file. */
  #assertFewBlocks(image: Pyramid, view: ViewPart, { name }: SeenImage): void {
    const { maxBlocks } = this.#options;
    const index = levelFor(image, image.levels, view);
    const { width, height } = image.levels[index]!;
    const all = image.blockCounts?.[index] ?? 0;
    const blocks = all * pixelsOf(image, view) / (width * height);
    if (blocks <= maxBlocks) return;
    throw new ImageError(
      `Cannot show ${name} so small: the tile is made of ${
        Math.round(blocks)
      } blocks, and at most ${maxBlocks} are allowed; store smaller levels in it (deno task pyramid)`,
    );
  }

  /** Waits for its turn. */
  async #turn(): Promise<Disposable> {
    while (this.#cutting >= AT_A_TIME) {
      await new Promise<void>((done) => this.#waiting.push(done));
    }
    this.#cutting++;
    return {
      [Symbol.dispose]: () => {
        this.#cutting--;
        this.#waiting.shift()?.();
      },
    };
  }
}

/** The view that `place` names, if the image has it. */
function viewOf(
  image: Pyramid,
  place: CutTask["place"],
): ViewPart | undefined {
  if ("level" in place) return zoomTile(image, place, TILE_SIDE);
  const output = { width: place.width, height: place.height };
  return { region: place, output, part: { x: 0, y: 0, ...output } };
}

/** The first level of the deep zoom whose tiles are made within a moment. */
function firstLevel(image: Pyramid): number {
  const first = { column: 0, row: 0 };
  for (let level = zoomLevels(image) - 1; level > 0; level--) {
    const view = zoomTile(image, { ...first, level: level - 1 }, TILE_SIDE)!;
    if (pixelsOf(image, view) > QUICK_PIXELS) return level;
  }
  return 0;
}

/** Pixels of a level of the file that a view is made of. */
function pixelsOf(image: Pyramid, view: ViewPart): number {
  const level = image.levels[levelFor(image, image.levels, view)]!;
  const { region } = levelPart(view, image, level);
  const { width, height } = clipRegion(region, level);
  return width * height;
}

/** A strong validator: other pixels or another encoding have another. */
function etagOf(identity: string, ...what: readonly unknown[]): string {
  const hash = createHash("sha256").update(JSON.stringify([identity, what]));
  return `"${hash.digest("base64url").slice(0, 22)}"`; // 128 bits
}

/** The error with the caller's name for the image in place of its path. */
function named(error: unknown, { path, name }: SeenImage): unknown {
  if (error instanceof ImageError) {
    // A function, because "$&" in a replacement text would stand for the path.
    error.message = error.message.replaceAll(path, () => name);
  }
  return error;
}
