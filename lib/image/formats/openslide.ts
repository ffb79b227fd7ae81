/**
 * Slides of the scanners that OpenSlide supports, through the shared library if
 * it is installed: NDPI, MRXS, SCN, VMS, BIF, Trestle and, with version 4,
 * DICOM and CZI.
 *
 * API: https://openslide.org/api/openslide_8h.html
 *
 * @module
 */
import { join } from "node:path";
import { ImageError } from "../../errors.ts";
import type { BlockCache } from "../pyramids/block_cache.ts";
import {
  type BlockLevel,
  blockOrigin,
  BlockPyramid,
} from "../pyramids/block_pyramid.ts";
import type { Size } from "../geometry.ts";
import { levelPoint } from "../level_geometry.ts";
import { plausibleMpp } from "../mpp.ts";
import type { Backdrop, Pixels, Pyramid } from "../pyramid.ts";
import type { ByteSource } from "../bytes/source.ts";
import { loadNative } from "./native_library.ts";
import { LIBRARY_NAMES, OPENSLIDE_FOLDER } from "./openslide_library.ts";

/** How to install it, for messages. */
const OPENSLIDE_HINT =
  "install OpenSlide (Debian: apt-get install libopenslide0; or pip download --no-deps openslide-bin, then deno task openslide FILE.whl)";

const SYMBOLS = {
  openslide_get_version: { parameters: [], result: "pointer" },
  openslide_open: {
    parameters: ["buffer"],
    result: "pointer",
    nonblocking: true,
  },
  openslide_close: { parameters: ["pointer"], result: "void" },
  openslide_get_error: { parameters: ["pointer"], result: "pointer" },
  openslide_get_level_count: { parameters: ["pointer"], result: "i32" },
  openslide_get_level_dimensions: {
    parameters: ["pointer", "i32", "buffer", "buffer"],
    result: "void",
  },
  openslide_get_level_downsample: {
    parameters: ["pointer", "i32"],
    result: "f64",
  },
  openslide_get_property_value: {
    parameters: ["pointer", "buffer"],
    result: "pointer",
  },
  openslide_read_region: {
    parameters: ["pointer", "buffer", "i64", "i64", "i32", "i64", "i64"],
    result: "void",
    nonblocking: true,
  },
} as const satisfies Deno.ForeignLibraryInterface;

type Library = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];
type Slide = NonNullable<Deno.PointerValue>;

/** The library and its name or path, or how to get it. */
type Found = { symbols: Library; path: string; hint?: undefined } | {
  symbols?: undefined;
  path?: undefined;
  hint: string;
};

let found: Found | undefined;

function findLibrary(): Found {
  const own = join(OPENSLIDE_FOLDER, LIBRARY_NAMES[0]!);
  for (const path of [own, ...LIBRARY_NAMES]) {
    try {
      return { symbols: loadNative(path, SYMBOLS), path };
    } catch (error) {
      if (!(error instanceof Deno.errors.NotCapable)) continue;
      return { hint: "run with --allow-ffi, without a list of folders" };
    }
  }
  return { hint: OPENSLIDE_HINT };
}

function openLibrary(): Found {
  return found ??= findLibrary();
}

/** The version of OpenSlide that is installed, if any. */
export function openSlideVersion(): string | undefined {
  const { symbols } = openLibrary();
  return symbols && textAt(symbols.openslide_get_version());
}

/** Path of the library, if it was taken out of a wheel. */
export function openSlidePath(): string | undefined {
  const { path } = openLibrary();
  return path?.startsWith(OPENSLIDE_FOLDER) ? path : undefined;
}

/**
 * The version of the library at `path`.
 *
 * @throws {Error} If it does not load, or is not OpenSlide.
 */
export function libraryVersion(path: string): string {
  const library = Deno.dlopen(path, SYMBOLS);
  try {
    return textAt(library.symbols.openslide_get_version())!;
  } finally {
    library.close();
  }
}

/** How to get OpenSlide, if it is missing. */
export function openSlideHint(): string | undefined {
  return openLibrary().hint;
}

/**
 * Opens a slide through OpenSlide.
 *
 * @param kind names the file in messages: "a slide of Hamamatsu".
 * @param since the first major version that reads such files.
 * @param source the file; closed with the pyramid.
 * @throws {ImageError} With the reason only, if it is not installed, does not
 *   know the file, or the file is not local.
 */
export async function openWithOpenSlide(
  source: ByteSource,
  { kind, since = 3, cache, backdrop }: {
    kind: string;
    since?: number;
    cache: BlockCache;
    backdrop?: Backdrop | undefined;
  },
): Promise<Pyramid> {
  if (source.path === undefined) {
    throw new ImageError(`it is ${kind}, which is read from local files only`);
  }
  const library = openLibrary();
  if (!library.symbols) {
    throw new ImageError(
      `it is ${kind}, which needs OpenSlide: ${library.hint}`,
    );
  }
  const { symbols } = library;
  const slide = await symbols.openslide_open(cString(source.path));
  if (slide === null) {
    throw new ImageError(unread(kind, since));
  }
  const error = textAt(symbols.openslide_get_error(slide));
  if (error !== undefined) {
    symbols.openslide_close(slide);
    throw new ImageError(`OpenSlide: ${error}`);
  }
  return new OpenSlidePyramid(source, { symbols, slide, cache, backdrop });
}

/** Reason why a file of this kind is not read. */
function unread(kind: string, since: number): string {
  const version = openSlideVersion()!;
  return Number.parseInt(version) < since
    ? `it is ${kind}, which needs OpenSlide ${since} or later: version ${version} is installed`
    : `OpenSlide ${version} does not read it as ${kind}`;
}

// OpenSlide decodes every tile that a region touches, whatever its size.
const BLOCK = { width: 512, height: 512 };

class OpenSlidePyramid extends BlockPyramid {
  readonly #symbols: Library;
  readonly #slide: Slide;
  readonly #levels: readonly (BlockLevel & { downsample: number })[];
  readonly #behind: number;
  #reading = 0;
  #closing = false;

  constructor(
    source: ByteSource,
    { symbols, slide, cache, backdrop }: {
      symbols: Library;
      slide: Slide;
      cache: BlockCache;
      backdrop: Backdrop | undefined;
    },
  ) {
    const levels = readLevels(symbols, slide);
    const warnings: string[] = [];
    const property = (name: string) => {
      const value = Number(
        textAt(
          symbols.openslide_get_property_value(
            slide,
            cString(`openslide.${name}`),
          ),
        ),
      );
      return value > 0 ? value : undefined;
    };
    const width = property("bounds-width"), height = property("bounds-height");
    super(source, {
      levels,
      facts: {
        mpp: plausibleMpp("properties", {
          x: property("mpp-x"),
          y: property("mpp-y"),
        }, warnings),
        magnification: property("objective-power"),
        bounds: width && height
          ? {
            x: property("bounds-x") ?? 0,
            y: property("bounds-y") ?? 0,
            width,
            height,
          }
          : undefined,
      },
      warnings,
      cache,
    });
    this.#symbols = symbols;
    this.#slide = slide;
    this.#levels = levels;
    this.#behind = backdrop === "black" ? 0 : 255;
  }

  protected override async decodeBlock(
    level: number,
    block: number,
  ): Promise<Pixels> {
    if (this.#closing) {
      throw new TypeError(`Cannot read ${this.source}: it was closed`);
    }
    const stored = this.#levels[level]!;
    const origin = levelPoint(blockOrigin(stored, block), stored.downsample);
    const { width, height } = BLOCK;
    const data = new Uint8Array(width * height * 4);
    this.#reading++;
    try {
      await this.#symbols.openslide_read_region(
        this.#slide,
        data,
        BigInt(origin.x),
        BigInt(origin.y),
        level,
        BigInt(width),
        BigInt(height),
      );
      const error = textAt(this.#symbols.openslide_get_error(this.#slide));
      if (error !== undefined) throw new ImageError(`OpenSlide: ${error}`);
    } finally {
      this.#reading--;
      this.#closeIfUnused();
    }
    toOpaqueRgba(data, this.#behind);
    return { data, width, height };
  }

  override close(): void {
    super.close();
    if (this.#closing) return;
    this.#closing = true;
    this.#closeIfUnused();
  }

  /** A slide must not be closed while another thread reads it. */
  #closeIfUnused(): void {
    if (this.#closing && this.#reading === 0) {
      this.#symbols.openslide_close(this.#slide);
    }
  }
}

function readLevels(
  symbols: Library,
  slide: Slide,
): (BlockLevel & { downsample: number })[] {
  const count = symbols.openslide_get_level_count(slide);
  return Array.from({ length: count }, (_, level) => ({
    ...levelSize(symbols, slide, level),
    downsample: symbols.openslide_get_level_downsample(slide, level),
    block: BLOCK,
  }));
}

function levelSize(symbols: Library, slide: Slide, level: number): Size {
  const width = new BigInt64Array(1);
  const height = new BigInt64Array(1);
  symbols.openslide_get_level_dimensions(slide, level, width, height);
  return { width: Number(width[0]), height: Number(height[0]) };
}

/**
 * Composites premultiplied BGRA over a grey, `behind`, in place: unscanned
 * parts are transparent.
 */
function toOpaqueRgba(data: Uint8Array, behind: number): void {
  for (let i = 0; i < data.length; i += 4) {
    const shown = behind * (255 - data[i + 3]!) / 255; // whole: 0 or all of it
    const blue = data[i]!;
    data[i] = data[i + 2]! + shown;
    data[i + 1]! += shown;
    data[i + 2] = blue + shown;
    data[i + 3] = 255;
  }
}

function cString(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(`${text}\0`);
}

function textAt(pointer: Deno.PointerValue): string | undefined {
  return pointer === null
    ? undefined
    : new Deno.UnsafePointerView(pointer).getCString();
}
