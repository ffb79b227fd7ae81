/**
 * Hand-made TIFF files: pages of uncompressed RGB with any tag of any type, for
 * content that no library would write.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { Rgb } from "../../../lib/image/pyramids/rgb.ts";

/** A value of a directory: its bytes, and its declared type, count and offset. */
export interface Value {
  type: number;
  count: number;
  bytes: Uint8Array;
  /** Declared offset, if it differs from the real one. */
  at?: number;
}

/** A page: its pixels and how they are stored. */
export interface Page {
  picture: Rgb;
  /** Side of a tile, px; strips of 16 rows if omitted. */
  tile?: number;
  /** Values by tag, replacing the default ones. */
  tags?: Record<number, Value | undefined>;
  subImages?: Page[];
  /** Declared offset of the next page. */
  next?: number;
}

type Write = (view: DataView, at: number, value: number) => void;

const long: Write = (view, at, value) => view.setUint32(at, value, true);

/** Encoder of numbers of a type. */
const NUMBERS: Record<number, { each: number; write: Write }> = {
  1: { each: 1, write: (view, at, value) => view.setUint8(at, value) },
  3: { each: 2, write: (view, at, value) => view.setUint16(at, value, true) },
  4: { each: 4, write: long },
  6: { each: 1, write: (view, at, value) => view.setInt8(at, value) },
  8: { each: 2, write: (view, at, value) => view.setInt16(at, value, true) },
  9: { each: 4, write: (view, at, value) => view.setInt32(at, value, true) },
  11: { each: 4, write: (view, at, value) => view.setFloat32(at, value, true) },
  12: { each: 8, write: (view, at, value) => view.setFloat64(at, value, true) },
  13: { each: 4, write: long },
  16: {
    each: 8,
    write: (view, at, value) => view.setBigUint64(at, BigInt(value), true),
  },
  17: {
    each: 8,
    write: (view, at, value) => view.setBigInt64(at, BigInt(value), true),
  },
};

/** Numbers of any type but the rationals. */
export function numbers(type: number, ...values: number[]): Value {
  const { each, write } = NUMBERS[type]!;
  const bytes = new Uint8Array(values.length * each);
  const view = new DataView(bytes.buffer);
  for (const [i, value] of values.entries()) write(view, i * each, value);
  return { type, count: values.length, bytes };
}

/** A rational; a signed one is of type 10. */
export function rational(
  numerator: number,
  denominator: number,
  type: 5 | 10 = 5,
): Value {
  return { ...numbers(9, numerator, denominator), type, count: 1 };
}

export function text(value: string | Uint8Array): Value {
  const bytes = Buffer.concat([Buffer.from(value), Uint8Array.of(0)]);
  return { type: 2, count: bytes.length, bytes };
}

/** A picture of ramps and squares, the same at every size. */
export function ramps(width: number, height: number): Rgb {
  return drawn(width, height, (x, y) => [
    Math.floor(255 * x),
    Math.floor(255 * y),
    Math.floor(x * 4) % 2 === Math.floor(y * 4) % 2 ? 40 : 200,
  ]);
}

/** A picture of one colour. */
export function plain(width: number, height: number, colour: number[]): Rgb {
  return drawn(width, height, () => colour);
}

function drawn(
  width: number,
  height: number,
  colour: (x: number, y: number) => number[],
): Rgb {
  const data = new Uint8Array(width * height * 3);
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i += 3) {
      data.set(colour((x + 0.5) / width, (y + 0.5) / height), i);
    }
  }
  return { data, width, height };
}

/** A little-endian file of pages, one after the other. */
export function makeTiff(...pages: Page[]): Uint8Array {
  const parts: Uint8Array[] = [Buffer.from("II*\0\0\0\0\0", "latin1")];
  let end = 8;
  const add = (bytes: Uint8Array) => {
    const at = end;
    const padding = new Uint8Array(bytes.length % 2);
    parts.push(bytes, padding);
    end += bytes.length + padding.length;
    return at;
  };
  const head = new DataView(parts[0]!.buffer, parts[0]!.byteOffset);
  let link = (at: number) => head.setUint32(4, at, true);
  for (const page of pages) {
    const { at, directory } = addPage(page, add);
    link(at);
    const view = new DataView(directory.buffer);
    link = (at) => view.setUint32(directory.length - 4, at, true);
    if (page.next !== undefined) link(page.next);
  }
  return Buffer.concat(parts);
}

function addPage(
  { picture, tile, tags = {}, subImages = [] }: Page,
  add: (bytes: Uint8Array) => number,
): { at: number; directory: Uint8Array } {
  const { width, height } = picture;
  const block = tile === undefined
    ? { width, height: 16 }
    : { width: tile, height: tile };
  const blocks = cut(picture, block, tile !== undefined);
  const places = numbers(4, ...blocks.map(add));
  const lengths = numbers(4, ...blocks.map(({ length }) => length));
  const inside = subImages.map((page) => addPage(page, add).at);
  const all: Record<number, Value | undefined> = {
    256: numbers(4, width),
    257: numbers(4, height),
    258: numbers(3, 8, 8, 8),
    259: numbers(3, 1),
    262: numbers(3, 2),
    277: numbers(3, 3),
    ...tile === undefined
      ? { 273: places, 278: numbers(3, 16), 279: lengths }
      : {
        322: numbers(3, tile),
        323: numbers(3, tile),
        324: places,
        325: lengths,
      },
    ...inside.length > 0 && { 330: numbers(4, ...inside) },
    ...tags,
  };
  const entries = Object.entries(all).flatMap(([tag, value]) =>
    value ? [{ tag: Number(tag), value }] : []
  );
  const directory = new Uint8Array(2 + 12 * entries.length + 4);
  const view = new DataView(directory.buffer);
  view.setUint16(0, entries.length, true);
  for (const [i, { tag, value }] of entries.entries()) {
    const from = 2 + 12 * i;
    view.setUint16(from, tag, true);
    view.setUint16(from + 2, value.type, true);
    view.setUint32(from + 4, value.count, true);
    if (value.at !== undefined) view.setUint32(from + 8, value.at, true);
    else if (value.bytes.length <= 4) directory.set(value.bytes, from + 8);
    else view.setUint32(from + 8, add(value.bytes), true);
  }
  return { at: add(directory), directory };
}

/** The bytes of each block; tiles are whole, the last strip is not. */
function cut(
  { data, width, height }: Rgb,
  block: { width: number; height: number },
  whole: boolean,
): Uint8Array[] {
  const blocks: Uint8Array[] = [];
  for (let top = 0; top < height; top += block.height) {
    const rows = whole ? block.height : Math.min(block.height, height - top);
    for (let left = 0; left < width; left += block.width) {
      const bytes = new Uint8Array(block.width * rows * 3);
      const columns = Math.min(block.width, width - left);
      for (let y = 0; y < Math.min(rows, height - top); y++) {
        const from = ((top + y) * width + left) * 3;
        bytes.set(
          data.subarray(from, from + columns * 3),
          y * block.width * 3,
        );
      }
      blocks.push(bytes);
    }
  }
  return blocks;
}
