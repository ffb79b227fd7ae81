/**
 * JPEG 2000 blocks, decoded by OpenJPEG as WebAssembly.
 *
 * @module
 */
import { createRequire } from "node:module";
import { ImageError } from "../../../errors.ts";
import type { Size } from "../../geometry.ts";

/** Samples side by side, 8 bits each. */
export interface Interleaved extends Size {
  data: Uint8Array;
  channels: number;
}

/** The members of the package in use; it has no types. */
interface Module {
  J2KDecoder: new () => Decoder;
}
interface Decoder {
  getEncodedBuffer(length: number): Uint8Array;
  getDecodedBuffer(): Uint8Array;
  decode(): void;
  getFrameInfo(): Size & {
    bitsPerSample: number;
    componentCount: number;
    isSigned: boolean;
  };
  delete(): void;
}
type Factory = (options: {
  print(line: string): void;
  printErr(line: string): void;
}) => Promise<Module>;

const PACKAGE = "@cornerstonejs/codec-openjpeg/decodewasmjs";

let module: Promise<Module> | undefined;
const errors: string[] = [];

/**
 * Decodes a codestream or a JP2 file.
 *
 * @param maxPixels larger blocks are refused by their header.
 * @throws {ImageError} With the reason only.
 */
export async function decodeJpeg2000(
  encoded: Uint8Array,
  maxPixels: number,
): Promise<Interleaved> {
  refuseUnsupported(encoded, maxPixels);
  const { J2KDecoder } = await (module ??= load());
  errors.length = 0; // no await from here on: the errors are this block's
  const decoder = new J2KDecoder();
  try {
    decoder.getEncodedBuffer(encoded.length).set(encoded);
    decoder.decode();
    throwIfFailed();
    const { width, height, bitsPerSample, isSigned, componentCount } = decoder
      .getFrameInfo();
    if (bitsPerSample > 16 || isSigned) {
      throw new ImageError(
        `JPEG 2000 of ${bitsPerSample} bits${
          isSigned ? ", signed," : ""
        } is not supported, only of up to 16`,
      );
    }
    const data = toBytes(decoder.getDecodedBuffer().slice(), bitsPerSample);
    return { data, width, height, channels: componentCount };
  } catch (cause) {
    if (cause instanceof ImageError) throw cause;
    module = undefined; // it may have run out of memory: load a fresh one
    throw new ImageError("a JPEG 2000 block is damaged", { cause });
  } finally {
    if (module !== undefined) decoder.delete();
  }
}

/** Samples of one or two little-endian bytes as 8 bits: the highest ones. */
function toBytes(data: Uint8Array, bits: number): Uint8Array {
  if (bits === 8) return data;
  if (bits < 8) {
    return data.map((value) => Math.round(value * 255 / (2 ** bits - 1)));
  }
  return Uint8Array.from(
    new Uint16Array(data.buffer, 0, data.length / 2),
    (value) => value >> bits - 8,
  );
}

// Start of a codestream: SOC, then the SIZ segment.
const START = [0xff, 0x4f, 0xff, 0x51];

// Bytes from there to the end of the first component (ISO 15444-1, A.5.1).
const SIZ_BYTES = 45;

// Grey, or red, green and blue: the package throws at two and four.
const COMPONENTS = [1, 3];

/** Refuses by the header, before memory is allocated. */
function refuseUnsupported(encoded: Uint8Array, maxPixels: number): void {
  const at = codestreamAt(encoded);
  const isStart = START.every((byte, i) => encoded[at + i] === byte);
  if (!isStart || at + SIZ_BYTES > encoded.length) {
    throw new ImageError("a JPEG 2000 block is damaged (it has no header)");
  }
  const view = new DataView(
    encoded.buffer,
    encoded.byteOffset + at,
    encoded.length - at,
  );
  const width = view.getUint32(8) - view.getUint32(16);
  const height = view.getUint32(12) - view.getUint32(20);
  if (!(width > 0 && height > 0 && width * height <= maxPixels)) {
    throw new ImageError(`a block of ${width} x ${height} px is too large`);
  }
  const components = view.getUint16(40);
  if (!COMPONENTS.includes(components)) {
    throw new ImageError(
      `JPEG 2000 of ${components} channels is not supported`,
    );
  }
  if (42 + 3 * components > view.byteLength) {
    throw new ImageError("a JPEG 2000 block is damaged (it has no header)");
  }
  for (let i = 0; i < components; i++) {
    // The package reads all components as if they had one size.
    if (view.getUint16(42 + 3 * i + 1) !== 0x0101) {
      throw new ImageError(
        "JPEG 2000 with subsampled chroma is not supported",
      );
    }
  }
}

// Types of boxes (ISO 15444-1, I.4): the first of a JP2 file, the codestream.
const SIGNATURE = 0x6a502020, CODESTREAM = 0x6a703263;

/** Offset of the codestream: 0, or that of its box in a JP2 file. */
function codestreamAt(encoded: Uint8Array): number {
  const view = new DataView(
    encoded.buffer,
    encoded.byteOffset,
    encoded.length,
  );
  if (encoded.length < 8 || view.getUint32(4) !== SIGNATURE) return 0;
  for (let at = 0; at + 16 <= encoded.length;) {
    const length = view.getUint32(at);
    const isLong = length === 1; // 8 bytes of length follow the type
    if (view.getUint32(at + 4) === CODESTREAM) return at + (isLong ? 16 : 8);
    at += Math.max(8, isLong ? Number(view.getBigUint64(at + 8)) : length);
  }
  return encoded.length;
}

async function load(): Promise<Module> {
  const factory = createRequire(import.meta.url)(PACKAGE) as Factory;
  return await factory({
    print: keepError,
    printErr: keepError,
  });
}

function keepError(line: string): void {
  if (line.startsWith("[ERROR]")) errors.push(line.slice(8).trim());
}

function throwIfFailed(): void {
  if (errors.length > 0) {
    throw new ImageError(`a JPEG 2000 block is damaged (${errors[0]})`);
  }
}
