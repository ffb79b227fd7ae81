/**
 * Small files in MNIST's IDX format.
 *
 * @module
 */
import { join } from "node:path";
import { gzipSync } from "node:zlib";

/** The bytes of an IDX file: its magic number, sizes and data. */
export function idx(
  magic: number,
  sizes: readonly number[],
  data: Uint8Array,
): Uint8Array {
  const bytes = new Uint8Array(4 * (1 + sizes.length) + data.length);
  const view = new DataView(bytes.buffer);
  for (const [i, word] of [magic, ...sizes].entries()) {
    view.setUint32(4 * i, word);
  }
  bytes.set(data, 4 * (1 + sizes.length));
  return bytes;
}

/**
 * Writes the four files: `count` squares of 8 x 8 px; image i has the label
 * i % 10, and i + 1 as its grey value (training) or 100 + i (test).
 */
export async function writeMnist(
  folder: string,
  { count = 20, gzip = false }: { count?: number; gzip?: boolean } = {},
): Promise<void> {
  for (const [part, grey] of [["train", 1], ["t10k", 100]] as const) {
    const pixels = new Uint8Array(count * 64);
    for (let i = 0; i < pixels.length; i++) pixels[i] = grey + (i >> 6);
    const labels = Uint8Array.from({ length: count }, (_, i) => i % 10);
    const files = {
      [`${part}-images-idx3-ubyte`]: idx(0x803, [count, 8, 8], pixels),
      [`${part}-labels-idx1-ubyte`]: idx(0x801, [count], labels),
    };
    for (const [name, bytes] of Object.entries(files)) {
      const path = join(folder, gzip ? `${name}.gz` : name);
      await Deno.writeFile(path, gzip ? gzipSync(bytes) : bytes);
    }
  }
}
