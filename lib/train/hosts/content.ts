/**
 * The content of a file, told from that of another without reading all of it.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { spelled } from "../../files.ts";

// Blocks that are read of a file, evenly spread; a smaller file is read whole.
const BLOCKS = 64, BLOCK_BYTES = 16 * 1024;

/**
 * Size of a file and SHA-256 of blocks of it, a megabyte in all: two files that
 * were written apart differ in them.
 *
 * @throws If it cannot be read.
 */
export async function contentOf(path: string): Promise<string> {
  using file = await Deno.open(await spelled(path));
  const { size } = await file.stat();
  const hash = createHash("sha256");
  const block = new Uint8Array(BLOCK_BYTES);
  const step = Math.max(BLOCK_BYTES, (size - BLOCK_BYTES) / (BLOCKS - 1));
  for (let at = 0; at < size; at += step) {
    await file.seek(Math.floor(at), Deno.SeekMode.Start);
    let filled = 0, count: number | null = 0;
    while (
      filled < BLOCK_BYTES &&
      (count = await file.read(block.subarray(filled))) !== null
    ) filled += count;
    hash.update(block.subarray(0, filled));
  }
  return `${size} bytes, ${hash.digest("hex").slice(0, 16)}`;
}
