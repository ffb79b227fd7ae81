/**
 * The compressions of Zarr's chunks, within the size that a chunk may have: a
 * few bytes can stand for gigabytes.
 *
 * @module
 */
import { promisify } from "node:util";
import { gunzip, inflate, zstdDecompress } from "node:zlib";
import type { registry } from "zarrita";

type Registry = typeof registry;
type Entry = Awaited<ReturnType<NonNullable<ReturnType<Registry["get"]>>>>;

/** Decompresses to at most `most` bytes. */
type Decode = (bytes: Uint8Array, most: number) => Promise<Uint8Array>;

const gunzipped = promisify(gunzip);
const inflated = promisify(inflate);
const zstdDecompressed = promisify(zstdDecompress);

// Of node:zlib, in its own threads.
const NATIVE: Record<string, Decode> = {
  gzip: (bytes, most) => gunzipped(bytes, { maxOutputLength: most }),
  zlib: (bytes, most) => inflated(bytes, { maxOutputLength: most }),
  zstd: (bytes, most) => zstdDecompressed(bytes, { maxOutputLength: most }),
};

/** Where these state their decompressed size: 4 bytes, little-endian. */
const SIZE_AT: Record<string, number> = { blosc: 4, lz4: 0 };

const UNCOMPRESSED = ["bytes", "transpose"];

// Of checksums and headers inside a compression.
const SLACK_BYTES = 1024;

/** Leaves only the codecs that pictures have, each within its bound. */
export function boundCodecs(registry: Registry): void {
  const entries = new Map(registry);
  registry.clear();
  for (const name of UNCOMPRESSED) registry.set(name, entries.get(name)!);
  // zarrita's does not look at the checksum.
  registry.set("crc32c", () => Promise.resolve(CRC32C));
  for (const [name, decode] of Object.entries(NATIVE)) {
    set(registry, name, () => Promise.resolve(entryOf(() => decode)));
  }
  for (const [name, at] of Object.entries(SIZE_AT)) {
    const load = entries.get(name)!;
    set(registry, name, async () => {
      const { fromConfig } = await load();
      return entryOf((config, meta) => {
        const codec = fromConfig(config, meta);
        return async (bytes, most) => {
          const { buffer, byteOffset, length } = bytes;
          const size = length < at + 4
            ? Infinity
            : new DataView(buffer, byteOffset).getUint32(at, true);
          if (size > most) {
            throw new RangeError(`it says that it holds ${size} bytes`);
          }
          return await codec.decode(bytes) as Uint8Array;
        };
      });
    });
  }
}

/** Of version 2, and as version 3 calls those of version 2. */
function set(
  registry: Registry,
  name: string,
  load: () => Promise<Entry>,
): void {
  registry.set(name, load);
  registry.set(`numcodecs.${name}`, load);
}

function entryOf(
  decodeOf: (...given: Parameters<Entry["fromConfig"]>) => Decode,
): Entry {
  return {
    kind: "bytes_to_bytes",
    fromConfig(config, meta) {
      const values = meta.shape.reduce((product, side) => product * side, 1);
      const bytes = meta.dataType === "uint64" ? 8 : 1; // an index of a shard
      const decode = decodeOf(config, meta);
      return {
        kind: "bytes_to_bytes",
        decode: (data) => decode(data, values * bytes + SLACK_BYTES),
        encode() {
          throw new TypeError("Zarr is only read");
        },
      };
    },
  };
}

const CHECKSUM_BYTES = 4;

const CRC32C: Entry = {
  kind: "bytes_to_bytes",
  fromConfig: () => ({
    kind: "bytes_to_bytes",
    computeEncodedSize: (size) => size + CHECKSUM_BYTES,
    decode(bytes) {
      const end = bytes.length - CHECKSUM_BYTES;
      const data = bytes.subarray(0, Math.max(0, end));
      const { buffer, byteOffset } = bytes;
      const isRight = end >= 0 &&
        new DataView(buffer, byteOffset).getUint32(end, true) === crc32c(data);
      if (!isRight) {
        throw new RangeError("its checksum is not that of its bytes");
      }
      return data;
    },
    encode() {
      throw new TypeError("Zarr is only read");
    },
  }),
};

// CRC-32C (RFC 3720, appendix B.4), bits reversed.
const POLYNOMIAL = 0x82f6_3b78;
const TABLE = Uint32Array.from({ length: 256 }, (_, value) => {
  let rest = value;
  for (let bit = 0; bit < 8; bit++) {
    rest = rest & 1 ? rest >>> 1 ^ POLYNOMIAL : rest >>> 1;
  }
  return rest;
});

function crc32c(bytes: Uint8Array): number {
  let rest = 0xffff_ffff;
  for (const byte of bytes) rest = TABLE[(rest ^ byte) & 255]! ^ rest >>> 8;
  return ~rest >>> 0;
}
