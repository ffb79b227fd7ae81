/**
 * Tells what is wrong with a PNG that could not be decoded: libpng's own words
 * do not come through libvips.
 *
 * Format: PNG, third edition, https://www.w3.org/TR/png-3/
 *
 * @module
 */
import { crc32, inflateSync } from "node:zlib";
import type { Size } from "./geometry.ts";

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

/** What is found is thrown, and told by {@linkcode pngFault}. */
class Fault extends Error {}

/** What is wrong with the bytes of a PNG; undefined if nothing is found. */
export function pngFault(bytes: Uint8Array): string | undefined {
  try {
    const chunks = [...chunksOf(bytes)];
    const header = parseHeader(chunks[0]!);
    checkPalette(header, chunks);
    checkPixels(header, chunks);
    return undefined;
  } catch (error) {
    if (error instanceof Fault) return error.message;
    throw error;
  }
}

const KNOWN = ["IHDR", "PLTE", "IDAT", "IEND"];

function* chunksOf(bytes: Uint8Array): Generator<Chunk> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = SIGNATURE.length, last = ""; last !== "IEND";) {
    if (at + 8 > bytes.length) {
      throw new Fault(
        `it is damaged or truncated: it ends at byte ${bytes.length}, without an IEND chunk`,
      );
    }
    const length = view.getUint32(at);
    const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (!/^[A-Za-z]{4}$/.test(type)) {
      throw new Fault(`it is damaged: there is no chunk at byte ${at}`);
    }
    const end = at + 12 + length;
    if (end > bytes.length) {
      throw new Fault(
        `it is damaged or truncated: it ends at byte ${bytes.length}, before its ${type} chunk does (byte ${end})`,
      );
    }
    const isCritical = /^[A-Z]/.test(type);
    const isWhole = crc32(bytes.subarray(at + 4, end - 4)) ===
      view.getUint32(end - 4);
    if (isCritical && !isWhole) {
      throw new Fault(
        `it is damaged: the checksum of its ${type} chunk at byte ${at} does not hold`,
      );
    }
    if (isCritical && !KNOWN.includes(type)) {
      throw new Fault(
        `it is damaged: PNG has no ${type} chunk, as is at byte ${at}`,
      );
    }
    yield { type, at, data: bytes.subarray(at + 8, end - 4) };
    at = end;
    last = type;
  }
}

/** How pixels are stored. */
interface Header extends Size {
  bits: number;
  colours: number;
  interlaced: boolean;
}

/** Samples of a pixel, and their bits, by the type of colours. */
const COLOURS: Record<number, { samples: number; bits: number[] }> = {
  0: { samples: 1, bits: [1, 2, 4, 8, 16] },
  2: { samples: 3, bits: [8, 16] },
  3: { samples: 1, bits: [1, 2, 4, 8] },
  4: { samples: 2, bits: [8, 16] },
  6: { samples: 4, bits: [8, 16] },
};
const PALETTE = 3;

function parseHeader({ type, data }: Chunk): Header {
  if (type !== "IHDR" || data.length !== 13) {
    throw new Fault("it is damaged: it does not begin with an IHDR chunk");
  }
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  const width = view.getUint32(0), height = view.getUint32(4);
  if (width === 0 || height === 0) {
    throw new Fault(`it is damaged: its header says ${width} x ${height} px`);
  }
  const [bits, colours, compression, filter, interlace] = data.subarray(8);
  if (!COLOURS[colours!]?.bits.includes(bits!)) {
    throw new Fault(
      `it is damaged: its header says ${bits} bits a sample and colours of type ${colours}, which PNG does not have`,
    );
  }
  if (compression !== 0 || filter !== 0 || interlace! > 1) {
    throw new Fault(
      `it is damaged: its header says compression ${compression}, filter ${filter} and interlace ${interlace}, which PNG does not have`,
    );
  }
  const interlaced = interlace === 1;
  return { width, height, bits: bits!, colours: colours!, interlaced };
}

function checkPalette({ colours }: Header, chunks: readonly Chunk[]): void {
  const palettes = chunks.filter(({ type }) => type === "PLTE");
  const isBad = palettes.some(({ data: { length } }) =>
    length === 0 || length % 3 !== 0 || length > 3 * 256
  );
  if (isBad || palettes.length > 1) {
    throw new Fault("it is damaged: its palette (PLTE) is none");
  }
  if (colours === PALETTE && palettes.length === 0) {
    throw new Fault("it is damaged: its palette (PLTE) is missing");
  }
}

// Of compressed pixels that are expanded to look at them.
const MOST_BYTES = 2 ** 28;

function checkPixels(header: Header, chunks: readonly Chunk[]): void {
  const rows = rowsOf(header);
  const length = rows.reduce((sum, { bytes, count }) => sum + bytes * count, 0);
  const parts = chunks.filter(({ type }) => type === "IDAT")
    .map(({ data }) => data);
  if (parts.length === 0) {
    throw new Fault("it is damaged: it has no pixels (no IDAT chunk)");
  }
  if (length > MOST_BYTES) return;
  const data = expand(parts, length);
  if (data.length < length) {
    throw new Fault(
      `it is damaged or truncated: its pixels are ${data.length} of ${length} bytes`,
    );
  }
  let at = 0;
  for (const { bytes, count } of rows) {
    for (let row = 0; row < count; row++, at += bytes) {
      if (data[at]! > 4) {
        throw new Fault(
          `it is damaged: a row of its pixels has filter ${
            data[at]
          }, which PNG does not have`,
        );
      }
    }
  }
}

/** The bytes of stored pixels; as many as there are, if they end early. */
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
    throw new Fault(
      `it is damaged or truncated: its pixels cannot be decompressed (${
        (cause as Error).message
      })`,
    );
  }
}

// First column and row, and steps, of the seven passes of an interlaced image.
const PASSES = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
] as const;

/** Bytes of the stored rows, one of them the filter, pass by pass. */
function rowsOf(
  { width, height, bits, colours, interlaced }: Header,
): { bytes: number; count: number }[] {
  const passes = interlaced ? PASSES : [[0, 0, 1, 1]] as const;
  return passes.map(([x, y, stepX, stepY]) => {
    const columns = Math.max(0, Math.ceil((width - x) / stepX));
    const count = Math.max(0, Math.ceil((height - y) / stepY));
    const { samples } = COLOURS[colours]!;
    const bytes = 1 + Math.ceil(columns * samples * bits / 8);
    return { bytes, count: columns === 0 ? 0 : count };
  });
}
