import assert from "node:assert/strict";
import { join } from "node:path";
import { readMnist } from "../../../lib/data/synthetic/mnist.ts";
import { DataError } from "../../../lib/errors.ts";
import { sharedData } from "../../shared_data.ts";
import { withFolder } from "../folder.ts";
import { idx, writeMnist } from "../mnist_files.ts";

for (const gzip of [false, true]) {
  Deno.test(`readMnist reads IDX files, ${gzip ? "gzipped" : "plain"}`, async () => {
    await withFolder(async (folder) => {
      await writeMnist(folder, { gzip });
      const { pixels, labels, count, height, width } = await readMnist(
        folder,
        "train",
      );
      assert.deepEqual([count, height, width], [20, 8, 8]);
      assert.equal(pixels.length, 20 * 64);
      assert.deepEqual([pixels[0], pixels[64], labels[13]], [1, 2, 3]);
    });
  });
}

const IMAGES = "train-images-idx3-ubyte";
const LABELS = "train-labels-idx1-ubyte";

const FAULTS: [name: string, file: string, bytes: Uint8Array, RegExp][] = [
  [
    "another magic number",
    IMAGES,
    idx(0x801, [20, 8, 8], new Uint8Array(1280)),
    /its magic number is 2049 instead of 2051/,
  ],
  [
    "a truncated file",
    IMAGES,
    idx(0x803, [20, 8, 8], new Uint8Array(1000)),
    /sizes are 20 x 8 x 8, so 1280 bytes must follow: there are 1000/,
  ],
  ["a file without a header", LABELS, new Uint8Array(3), /ends after 3 bytes/],
  [
    "too few labels",
    LABELS,
    idx(0x801, [19], new Uint8Array(19)),
    /it has 19 labels for 20 images/,
  ],
  [
    "a label that is no digit",
    LABELS,
    idx(0x801, [20], new Uint8Array(20).fill(11)),
    /it has a label 11/,
  ],
];

for (const [name, file, bytes, message] of FAULTS) {
  Deno.test(`readMnist names the file with ${name}`, async () => {
    await withFolder(async (folder) => {
      await writeMnist(folder);
      await Deno.writeFile(join(folder, file), bytes);
      await assert.rejects(
        readMnist(folder, "train"),
        (error: Error) =>
          error instanceof DataError && message.test(error.message) &&
          error.message.includes(join(folder, file)),
      );
    });
  });
}

Deno.test("readMnist names a missing file, and one that is not gzip", async () => {
  await withFolder(async (folder) => {
    await assert.rejects(
      readMnist(folder, "t10k"),
      /Cannot find ".*t10k-images-idx3-ubyte" or ".*\.gz"/,
    );
    await Deno.writeTextFile(join(folder, `${IMAGES}.gz`), "no gzip");
    await assert.rejects(
      readMnist(folder, "train"),
      (error: Error) =>
        error instanceof DataError && error.message.includes(`${IMAGES}.gz`),
    );
  });
});

const mnist = sharedData("mnist");
Deno.test({
  name: "readMnist reads the published files",
  ignore: mnist === undefined,
  async fn() {
    assert.equal((await readMnist(mnist!, "train")).count, 60_000);
    const { count, width, labels } = await readMnist(mnist!, "t10k");
    assert.deepEqual([count, width, labels[0]], [10_000, 28, 7]);
  },
});
