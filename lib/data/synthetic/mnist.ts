/**
 * Reads MNIST from its IDX files, gzipped or not.
 *
 * Format: http://yann.lecun.com/exdb/mnist/ (big-endian magic number, one
 * 32-bit size a dimension, then bytes).
 *
 * @module
 */
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { DataError } from "../../errors.ts";

/** Grey digits, 0 is background: `[count, height, width]`. */
export interface Digits {
  pixels: Uint8Array;
  labels: Uint8Array; // 0-9
  count: number;
  height: number; // px
  width: number; // px
}

// Two zero bytes, 8 for unsigned bytes, and the number of dimensions.
const IMAGES_MAGIC = 0x00000803;
const LABELS_MAGIC = 0x00000801;

/**
 * Reads the training digits ("train") or the test digits ("t10k").
 *
 * @throws {DataError} If a file is missing or malformed; it names the file.
 */
export async function readMnist(
  folder: string,
  part: "train" | "t10k",
): Promise<Digits> {
  const images = await readIdx(
    join(folder, `${part}-images-idx3-ubyte`),
    IMAGES_MAGIC,
  );
  const labels = await readIdx(
    join(folder, `${part}-labels-idx1-ubyte`),
    LABELS_MAGIC,
  );
  const [count, height, width] = images.sizes as [number, number, number];
  if (labels.data.length !== count) {
    throw new DataError(
      `Cannot read "${labels.path}" as the labels of "${images.path}": ` +
        `it has ${labels.data.length} labels for ${count} images`,
    );
  }
  const wrong = labels.data.find((label) => label > 9);
  if (wrong !== undefined) {
    throw new DataError(
      `Cannot read "${labels.path}" as digits: it has a label ${wrong}`,
    );
  }
  return { pixels: images.data, labels: labels.data, count, height, width };
}

async function readIdx(
  path: string,
  magic: number,
): Promise<{ path: string; sizes: number[]; data: Uint8Array }> {
  const file = await readMaybeGzipped(path);
  const fault = (what: string) =>
    new DataError(`Cannot read "${file.path}" as an IDX file: ${what}`);
  const dimensions = magic & 0xff;
  const start = 4 * (1 + dimensions); // bytes of magic number and sizes
  if (file.bytes.length < start) {
    throw fault(`it ends after ${file.bytes.length} bytes`);
  }
  const view = new DataView(file.bytes.buffer, file.bytes.byteOffset);
  if (view.getUint32(0) !== magic) {
    throw fault(
      `its magic number is ${view.getUint32(0)} instead of ${magic}`,
    );
  }
  const sizes = Array.from(
    { length: dimensions },
    (_, i) => view.getUint32(4 * (1 + i)),
  );
  const data = file.bytes.subarray(start);
  const wanted = sizes.reduce((a, b) => a * b);
  if (data.length !== wanted) {
    throw fault(
      `its sizes are ${sizes.join(" x ")}, so ${wanted} bytes must follow: ` +
        `there are ${data.length}`,
    );
  }
  return { path: file.path, sizes, data };
}

async function readMaybeGzipped(
  path: string,
): Promise<{ path: string; bytes: Uint8Array }> {
  for (const candidate of [path, `${path}.gz`]) {
    try {
      const bytes = await Deno.readFile(candidate);
      const zipped = candidate !== path;
      return { path: candidate, bytes: zipped ? gunzipSync(bytes) : bytes };
    } catch (cause) {
      if (cause instanceof Deno.errors.NotFound) continue;
      throw new DataError(
        `Cannot read "${candidate}" as an IDX file: ${
          (cause as Error).message
        }`,
        { cause },
      );
    }
  }
  throw new DataError(
    `Cannot find "${path}" or "${path}.gz": put the four files of MNIST in one folder`,
  );
}
