/**
 * libjpeg-turbo, through the shared library of its TurboJPEG API where that is
 * installed. sharp has the same decoder, which gives the same pixels, but does
 * not export it, and a call of sharp takes longer than the decoding of a tile.
 *
 * API: https://libjpeg-turbo.org/Documentation/Documentation
 *
 * @module
 */
import { ImageError } from "../../errors.ts";
import type { Size } from "../geometry.ts";
import { loadNative } from "./native_library.ts";

// In every version since 1.2, and in 3.
const SYMBOLS = {
  tjInitDecompress: { parameters: [], result: "pointer" },
  tjDecompress2: {
    parameters: [
      ...["pointer", "buffer", "usize"] as const, // decoder, JPEG
      ...["buffer", "i32", "i32", "i32", "i32"] as const, // pixels
      "i32", // flags
    ],
    result: "i32",
    nonblocking: true,
  },
} as const satisfies Deno.ForeignLibraryInterface;

type Library = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];
type Decoder = NonNullable<Deno.PointerValue>;

const NAMES: Record<string, string[]> = {
  darwin: [
    "libturbojpeg.dylib",
    "/opt/homebrew/opt/jpeg-turbo/lib/libturbojpeg.dylib",
  ],
  windows: ["turbojpeg.dll"],
};
const UNIX_NAMES = ["libturbojpeg.so.0"];

const RGBA = 7; // TJPF_RGBA

let found: JpegTurbo | null | undefined;

/** The library, if it is installed and any library may be loaded. */
export function findJpegTurbo(): JpegTurbo | undefined {
  if (found === undefined) found = load();
  return found ?? undefined;
}

function load(): JpegTurbo | null {
  const { state } = Deno.permissions.querySync({ name: "ffi" });
  if (state !== "granted") return null; // what is not needed is not asked for
  for (const name of NAMES[Deno.build.os] ?? UNIX_NAMES) {
    try {
      return new JpegTurbo(loadNative(name, SYMBOLS));
    } catch {
      continue; // not installed
    }
  }
  return null;
}

/**
 * Decoders, each of which decodes one JPEG at a time in a thread: two a core, so
 * that none waits until this thread has the next.
 */
export class JpegTurbo {
  readonly #library: Library;
  readonly #idle: Decoder[] = [];
  readonly #waiting: ((decoder: Decoder) => void)[] = [];
  /** What threads read and write, so that it is not collected. */
  readonly #used = new Set<Uint8Array>();
  #more = 2 * navigator.hardwareConcurrency;

  /** @param library its functions. */
  constructor(library: Library) {
    this.#library = library;
  }

  /**
   * Opaque RGBA of a JPEG of one or three channels.
   *
   * @param size the size that its header declares.
   * @throws {ImageError} With the reason only, also where libjpeg-turbo only
   *   warns and fills up what is missing.
   */
  async decode(
    bytes: Uint8Array<ArrayBuffer>,
    { width, height }: Size,
  ): Promise<Uint8Array<ArrayBuffer>> {
    const decoder = await this.#decoder();
    const pixels = new Uint8Array(width * height * 4);
    this.#used.add(bytes).add(pixels);
    try {
      const status = await this.#library.tjDecompress2(
        decoder,
        bytes,
        BigInt(bytes.length),
        pixels,
        width,
        0, // bytes between rows: those of a row
        height,
        RGBA,
        0,
      );
      if (status === 0) return pixels;
    } finally {
      this.#used.delete(bytes), this.#used.delete(pixels);
      this.#release(decoder);
    }
    throw new ImageError("it is damaged JPEG");
  }

  #decoder(): Decoder | Promise<Decoder> {
    const idle = this.#idle.pop();
    if (idle) return idle;
    if (this.#more === 0) {
      return new Promise((resolve) => this.#waiting.push(resolve));
    }
    const decoder = this.#library.tjInitDecompress();
    if (decoder === null) {
      throw new ImageError("libjpeg-turbo has no memory for a decoder");
    }
    this.#more--;
    return decoder;
  }

  #release(decoder: Decoder): void {
    const next = this.#waiting.shift();
    if (next) next(decoder);
    else this.#idle.push(decoder);
  }
}
