/**
 * The chunks of a PNG, and their faults: libvips does not pass on libpng's
 * messages.
 *
 * Format: PNG, third edition, https://www.w3.org/TR/png-3/
 *
 * @module
 */
import { crc32, inflateSync } from "node:zlib";
import type { Size } from "../geometry.ts";
import { exifOrientation, type Orientation } from "../pyramids/orientation.ts";

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

export function isPng(bytes: Uint8Array): boolean {
  return SIGNATURE.every((byte, i) => bytes[i] === byte);
}

/** A chunk whose checksum holds. */
interface Chunk {
  type: string;
  at: number;
  data: Uint8Array;
}

/** A fault of a PNG. */
export class PngFault extends Error {}

/** A PNG whose chunks are consistent. */
export interface CheckedPng {
  header: PngHeader;
  /** The stored rows, pass by pass. */
  passes: PngPass[];
  /** The rows, each preceded by its filter type; absent if over the bound. */
  rows?: Uint8Array;
  /** RGB by index. */
  palette: Uint8Array | undefined;
  /** Alpha by index, or the one colour that is transparent. */
  transparency: Uint8Array | undefined;
  hasProfile: boolean;
  orientation: Orientation;
}

/** The fault of a PNG's bytes; undefined if none is found. */
export function pngFault(bytes: Uint8Array): string | undefined {
  try {
    checkedPng(bytes, MAX_BYTES);
    return undefined;
  } catch (error) {
    if (error instanceof PngFault) return error.message;
    throw error;
  }
}

/** @throws {PngFault} */
export function pngHeader(bytes: Uint8Array): PngHeader {
  return parseHeader(chunksOf(bytes).next().value!);
}

/**
 * The parts of a PNG.
 *
 * @param most maximum bytes of rows to expand.
 * @throws {PngFault}
 */
export function checkedPng(bytes: Uint8Array, most: number): CheckedPng {
  const chunks = [...chunksOf(bytes)];
  const header = parseHeader(chunks[0]!);
  checkPalette(header, chunks);
  const passes = passesOf(header);
  const rows = readRows(passes, chunks, most);
  const dataOf = (name: string) =>
    chunks.find(({ type }) => type === name)?.data;
  return {
    header,
    passes,
    ...rows && { rows },
    palette: dataOf("PLTE"),
    transparency: dataOf("tRNS"),
    hasProfile: dataOf("iCCP") !== undefined,
    orientation: exifOrientation(dataOf("eXIf")),
  };
}

const KNOWN = ["IHDR", "PLTE", "IDAT", "IEND"];

function* chunksOf(bytes: Uint8Array): Generator<Chunk> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = SIGNATURE.length, last = ""; last !== "IEND";) {
    if (at + 8 > bytes.length) {
      throw new PngFault(
        `it is damaged or truncated: it ends at byte ${bytes.length}, without an IEND chunk`,
      );
    }
    const length = view.getUint32(at);
    const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (!/^[A-Za-z]{4}$/.test(type)) {
      throw new PngFault(`it is damaged: there is no chunk at byte ${at}`);
    }
    const end = at + 12 + length;
    if (end > bytes.length) {
      throw new PngFault(
        `it is damaged or truncated: it ends at byte ${bytes.length}, before its ${type} chunk does (byte ${end})`,
      );
    }
    const isCritical = /^[A-Z]/.test(type);
    const isWhole = crc32(bytes.subarray(at + 4, end - 4)) ===
      view.getUint32(end - 4);
    if (isCritical && !isWhole) {
      throw new PngFault(
        `it is damaged: the checksum of its ${type} chunk at byte ${at} does not match`,
      );
    }
    if (isCritical && !KNOWN.includes(type)) {
      throw new PngFault(
        `it is damaged: it has an unknown critical chunk ${type} at byte ${at}`,
      );
    }
    yield { type, at, data: bytes.subarray(at + 8, end - 4) };
    at = end;
    last = type;
  }
}

/** Header of a PNG: how its pixels are stored. */
export interface PngHeader extends Size {
  bits: number;
  colours: number;
  interlaced: boolean;
}

/** Samples of a pixel, and their bits, by the type of colours. */
export const COLOURS: Record<number, { samples: number; bits: number[] }> = {
  0: { samples: 1, bits: [1, 2, 4, 8, 16] },
  2: { samples: 3, bits: [8, 16] },
  3: { samples: 1, bits: [1, 2, 4, 8] },
  4: { samples: 2, bits: [8, 16] },
  6: { samples: 4, bits: [8, 16] },
};
export const PALETTE = 3;

function parseHeader({ type, data }: Chunk): PngHeader {
  if (type !== "IHDR" || data.length !== 13) {
    throw new PngFault("it is damaged: it does not begin with an IHDR chunk");
  }
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  const width = view.getUint32(0), height = view.getUint32(4);
  if (width === 0 || height === 0) {
    throw new PngFault(
      `it is damaged: its header says ${width} x ${height} px`,
    );
  }
  const [bits, colours, compression, filter, interlace] = data.subarray(8);
  if (!COLOURS[colours!]?.bits.includes(bits!)) {
    throw new PngFault(
      `it is damaged: its header says ${bits} bits a sample and colours of type ${colours}, which PNG does not have`,
    );
  }
  if (compression !== 0 || filter !== 0 || interlace! > 1) {
    throw new PngFault(
      `it is damaged: its header says compression ${compression}, filter ${filter} and interlace ${interlace}, which PNG does not have`,
    );
  }
  const interlaced = interlace === 1;
  return { width, height, bits: bits!, colours: colours!, interlaced };
}

function checkPalette({ colours }: PngHeader, chunks: readonly Chunk[]): void {
  const palettes = chunks.filter(({ type }) => type === "PLTE");
  const isBad = palettes.some(({ data: { length } }) =>
    length === 0 || length % 3 !== 0 || length > 3 * 256
  );
  if (isBad || palettes.length > 1) {
    throw new PngFault("it is damaged: its palette (PLTE) is invalid");
  }
  if (colours === PALETTE && palettes.length === 0) {
    throw new PngFault("it is damaged: its palette (PLTE) is missing");
  }
}

// Maximum bytes of pixels that are expanded to check them.
const MAX_BYTES = 2 ** 28;

function readRows(
  passes: readonly PngPass[],
  chunks: readonly Chunk[],
  most: number,
): Uint8Array | undefined {
  const length = passes.reduce((sum, { bytes, rows }) => sum + bytes * rows, 0);
  const parts = chunks.filter(({ type }) => type === "IDAT")
    .map(({ data }) => data);
  if (parts.length === 0) {
    throw new PngFault("it is damaged: it has no pixels (no IDAT chunk)");
  }
  if (length > most) return undefined;
  const data = expand(parts, length);
  if (data.length < length) {
    throw new PngFault(
      `it is damaged or truncated: its pixels are ${data.length} of ${length} bytes`,
    );
  }
  checkFilters(passes, data);
  return data;
}

function checkFilters(passes: readonly PngPass[], data: Uint8Array): void {
  let at = 0;
  for (const { bytes, rows } of passes) {
    for (let row = 0; row < rows; row++, at += bytes) {
      if (data[at]! <= 4) continue;
      throw new PngFault(
        `it is damaged: a row of its pixels has filter ${
          data[at]
        }, which PNG does not have`,
      );
    }
  }
}

/** The decompressed bytes of pixels; fewer if they end early. */
function expand(parts: readonly Uint8Array[], length: number): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, p) => sum + p.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  try {
    return inflateSync(bytes, { maxOutputLength: length + 2 ** 20 });
  } catch (cause) {
    throw new PngFault(
      `it is damaged or truncated: its pixels cannot be decompressed (${
        (cause as Error).message
      })`,
    );
  }
}

/** Pixels of an image that are stored together. */
export interface PngPass {
  /** First pixel, and the steps to the next. */
  x: number;
  y: number;
  stepX: number;
  stepY: number;
  columns: number;
  rows: number;
  /** Bytes of a stored row, its filter type included. */
  bytes: number;
}

// First column and row, and steps, of the seven passes of an interlaced image.
const ADAM7 = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
] as const;

function passesOf(
  { width, height, bits, colours, interlaced }: PngHeader,
): PngPass[] {
  const passes = interlaced ? ADAM7 : [[0, 0, 1, 1]] as const;
  return passes.map(([x, y, stepX, stepY]) => {
    const columns = Math.max(0, Math.ceil((width - x) / stepX));
    const rows = columns && Math.max(0, Math.ceil((height - y) / stepY));
    const { samples } = COLOURS[colours]!;
    const bytes = 1 + Math.ceil(columns * samples * bits / 8);
    return { x, y, stepX, stepY, columns, rows, bytes };
  });
}
