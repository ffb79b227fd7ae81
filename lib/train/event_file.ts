/**
 * Figures of a training as a TensorBoard event file: scalars by step, written
 * as they come.
 *
 * Formats: TFRecord (tensorflow/core/lib/io/record_writer.h), Event and Summary
 * (tensorflow/core/util/event.proto, tensorflow/core/framework/summary.proto),
 * CRC-32C (RFC 3720, appendix B.4).
 *
 * @module
 */
import { open } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";

const encoder = new TextEncoder();

/** Appends events to a file of its own in a folder. */
export class EventFile {
  readonly path: string;
  #started = false;

  /** @param folder created if it does not exist. */
  constructor(readonly folder: string) {
    const seconds = Math.floor(Date.now() / 1000);
    this.path = join(
      folder,
      `events.out.tfevents.${seconds}.${hostname()}.zoomin`,
    );
  }

  /** Adds the figures of a step; those that are undefined are left out. */
  async add(
    step: number,
    figures: Readonly<Record<string, number | null>>,
  ): Promise<void> {
    const values = Object.entries(figures)
      .filter((entry): entry is [string, number] => entry[1] !== null)
      .map(([name, value]) =>
        bytesField(1, [
          ...bytesField(1, encoder.encode(name)), // tag
          ...floatField(2, value), // simple_value
        ])
      );
    await this.#append([
      ...await this.#header(),
      ...record([
        ...doubleField(1, Date.now() / 1000), // wall_time
        ...integerField(2, step),
        ...bytesField(5, values.flat()), // summary
      ]),
    ]);
  }

  /** The event that every file begins with, before the first one. */
  async #header(): Promise<number[]> {
    if (this.#started) return [];
    this.#started = true;
    await Deno.mkdir(this.folder, { recursive: true });
    return record([
      ...doubleField(1, Date.now() / 1000),
      ...bytesField(3, encoder.encode("brain.Event:2")), // file_version
    ]);
  }

  async #append(bytes: readonly number[]): Promise<void> {
    const file = await open(this.path, "a");
    try {
      await file.write(Uint8Array.from(bytes));
      await file.sync();
    } finally {
      await file.close();
    }
  }
}

/** A record: length, its checksum, the data, their checksum. */
function record(data: readonly number[]): number[] {
  const length = littleEndian(
    8,
    (view) => view.setBigUint64(0, BigInt(data.length), true),
  );
  return [...length, ...checksum(length), ...data, ...checksum(data)];
}

/** Checksums are masked, since a record may hold another one's. */
function checksum(bytes: readonly number[]): number[] {
  const crc = crc32c(bytes);
  const masked = ((crc >>> 15 | crc << 17) + 0xa282ead8) >>> 0;
  return littleEndian(4, (view) => view.setUint32(0, masked, true));
}

const CASTAGNOLI = 0x82f63b78; // reversed

/** CRC-32C of some hundred bytes, bit by bit. */
function crc32c(bytes: readonly number[]): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) {
      crc = crc >>> 1 ^ (crc & 1 ? CASTAGNOLI : 0);
    }
  }
  return ~crc >>> 0;
}

// Wire types of protocol buffers.
const VARINT = 0, DOUBLE = 1, BYTES = 2, FLOAT = 5;

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) {
    bytes.push(rest % 128 + 128);
  }
  return [...bytes, rest];
}

function integerField(field: number, value: number): number[] {
  return [...varint(field * 8 + VARINT), ...varint(value)];
}

function bytesField(
  field: number,
  bytes: Uint8Array | readonly number[],
): number[] {
  return [...varint(field * 8 + BYTES), ...varint(bytes.length), ...bytes];
}

function floatField(field: number, value: number): number[] {
  const bytes = littleEndian(4, (view) => view.setFloat32(0, value, true));
  return [...varint(field * 8 + FLOAT), ...bytes];
}

function doubleField(field: number, value: number): number[] {
  const bytes = littleEndian(8, (view) => view.setFloat64(0, value, true));
  return [...varint(field * 8 + DOUBLE), ...bytes];
}

function littleEndian(size: number, set: (view: DataView) => void): number[] {
  const bytes = new Uint8Array(size);
  set(new DataView(bytes.buffer));
  return [...bytes];
}
