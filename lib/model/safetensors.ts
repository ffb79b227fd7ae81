/**
 * The safetensors format: tensors by name and a text header, in one file that
 * other tools read (https://huggingface.co/docs/safetensors). Float32 only.
 *
 *     8 bytes: length n of the header, little-endian
 *     n bytes: JSON {name: {dtype, shape, data_offsets}, __metadata__: {...}}
 *     the values, one tensor after the other
 *
 * @module
 */

/** A tensor outside any engine. */
export interface StoredTensor {
  /** Its dimensions. */
  shape: number[];
  /** Its values, row-major. */
  data: Float32Array;
}

/** The contents of a file. */
export interface SafeTensors {
  tensors: Map<string, StoredTensor>;
  metadata: Record<string, string>;
}

interface HeaderEntry {
  dtype: string;
  shape: number[];
  data_offsets: [number, number];
}

const METADATA = "__metadata__";

/** The bytes of a file. */
export function encodeSafeTensors(
  { tensors, metadata }: SafeTensors,
): Uint8Array<ArrayBuffer> {
  const header: Record<string, HeaderEntry | Record<string, string>> = {
    [METADATA]: metadata,
  };
  let size = 0;
  for (const [name, { shape, data }] of tensors) {
    const end = size + data.byteLength;
    header[name] = { dtype: "F32", shape, data_offsets: [size, end] };
    size = end;
  }
  const text = new TextEncoder().encode(JSON.stringify(header));
  const padding = (LENGTH_BYTES - (text.length % LENGTH_BYTES)) % LENGTH_BYTES;
  const start = LENGTH_BYTES + text.length + padding;
  const bytes = new Uint8Array(start + size);
  new DataView(bytes.buffer).setBigUint64(
    0,
    BigInt(text.length + padding),
    true,
  );
  bytes.set(text, LENGTH_BYTES);
  bytes.fill(" ".charCodeAt(0), LENGTH_BYTES + text.length, start);
  let at = start;
  for (const { data } of tensors.values()) {
    bytes.set(
      new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
      at,
    );
    at += data.byteLength;
  }
  return bytes;
}

/** A tensor's place in its file. */
export interface TensorPlace {
  /** Its dimensions. */
  shape: number[];
  /** Its first byte, and the one behind its last. */
  from: number;
  to: number;
}

/** What the header of a file says. */
export interface SafeTensorsHeader {
  places: Map<string, TensorPlace>;
  metadata: Record<string, string>;
}

/**
 * Reads the bytes of a file.
 *
 * @throws {SyntaxError} If they are not a whole file of float32 tensors.
 */
export function decodeSafeTensors(bytes: Uint8Array): SafeTensors {
  const { places, metadata } = decodeSafeTensorsHeader(bytes, bytes.length);
  const tensors = new Map<string, StoredTensor>();
  for (const [name, { shape, from, to }] of places) {
    const copy = bytes.slice(from, to);
    tensors.set(name, { shape, data: new Float32Array(copy.buffer) });
  }
  return { tensors, metadata };
}

/** Bytes from the start of a file that say how long its header is. */
export const LENGTH_BYTES = 8;

// That of 10,000 tensors is 1 MB; a file that is none may claim anything.
const MAX_HEADER_BYTES = 2 ** 24;

/**
 * Length of the header in bytes, with what comes before it.
 *
 * @param bytes the first {@linkcode LENGTH_BYTES} of a file.
 * @throws {SyntaxError} If the file cannot be one of tensors.
 */
export function headerLength(bytes: Uint8Array, fileBytes: number): number {
  if (bytes.length < LENGTH_BYTES) {
    throw new SyntaxError(`the file is only ${bytes.length} bytes long`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = Number(view.getBigUint64(0, true));
  const start = LENGTH_BYTES + length;
  if (start > fileBytes) {
    throw new SyntaxError("the header reaches beyond the end of the file");
  }
  if (length <= MAX_HEADER_BYTES) return start;
  throw new SyntaxError(
    `it claims a header of ${length} bytes, and at most ${MAX_HEADER_BYTES} are allowed`,
  );
}

/**
 * Reads the header of a file.
 *
 * @param bytes of the file, at least {@linkcode headerLength}.
 * @param fileBytes the size of the whole file.
 * @throws {SyntaxError} If the file is not one of float32 tensors, one after
 *   the other.
 */
export function decodeSafeTensorsHeader(
  bytes: Uint8Array,
  fileBytes: number,
): SafeTensorsHeader {
  const { header, start } = parseHeader(bytes, fileBytes);
  const { [METADATA]: metadata = {}, ...entries } = header;
  if (!isTexts(metadata)) throw new SyntaxError("the metadata is not text");
  const places = new Map<string, TensorPlace>();
  for (const [name, entry] of Object.entries(entries)) {
    places.set(name, placeOf(start, fileBytes, name, entry));
  }
  assertApart(places);
  return { places, metadata };
}

function parseHeader(bytes: Uint8Array, fileBytes: number) {
  const start = headerLength(bytes, fileBytes);
  const text = new TextDecoder().decode(bytes.subarray(LENGTH_BYTES, start));
  let header: unknown;
  try {
    header = JSON.parse(text);
  } catch {
    throw new SyntaxError("the header is not JSON");
  }
  if (header === null || typeof header !== "object") {
    throw new SyntaxError("the header is not a JSON object");
  }
  return { header: header as Record<string, unknown>, start };
}

function placeOf(
  start: number,
  fileBytes: number,
  name: string,
  entry: unknown,
): TensorPlace {
  const { dtype, shape, data_offsets: offsets } = (entry ?? {}) as Partial<
    HeaderEntry
  >;
  if (dtype !== "F32" || !isCounts(shape) || !isCounts(offsets)) {
    throw new SyntaxError(`"${name}" is not a float32 tensor`);
  }
  const [from = 0, to = 0] = offsets;
  const size = shape.reduce((product, n) => product * n, 1);
  if (
    to - from !== size * Float32Array.BYTES_PER_ELEMENT ||
    start + to > fileBytes
  ) {
    throw new SyntaxError(`"${name}" does not fit in the file`);
  }
  return { shape, from: start + from, to: start + to };
}

/** @throws {SyntaxError} If two tensors share bytes. */
function assertApart(places: ReadonlyMap<string, TensorPlace>): void {
  const inOrder = [...places].filter(([, { from, to }]) => to > from)
    .toSorted(([, a], [, b]) => a.from - b.from);
  for (const [i, [name, { to }]] of inOrder.entries()) {
    const next = inOrder[i + 1];
    if (next && next[1].from < to) {
      throw new SyntaxError(`"${name}" and "${next[0]}" share bytes`);
    }
  }
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) &&
    value.every((item) => Number.isSafeInteger(item) && item >= 0);
}

function isTexts(value: unknown): value is Record<string, string> {
  return value !== null && typeof value === "object" &&
    Object.values(value).every((item) => typeof item === "string");
}
