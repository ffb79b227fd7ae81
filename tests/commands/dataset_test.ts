import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { run } from "../../lib/commands/dataset.ts";
import { readManifest } from "../../lib/data/manifest.ts";
import { UsageError } from "../../lib/errors.ts";
import { withFolder } from "../data/folder.ts";
import { writeMnist } from "../data/mnist_files.ts";

/** Runs the command and returns what it prints on stdout. */
async function output(...argv: string[]): Promise<string> {
  const lines: string[] = [];
  const { log } = console;
  console.log = (line: string) => lines.push(line);
  try {
    assert.equal(await run(argv), 0);
  } finally {
    console.log = log;
  }
  return lines.join("\n");
}

/** SHA-256 of every file below `folder`, by path. */
function digests(folder: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const { name, isDirectory } of Deno.readDirSync(folder)) {
    const path = join(folder, name);
    if (isDirectory) {
      for (const [below, digest] of Object.entries(digests(path))) {
        found[join(name, below)] = digest;
      }
    } else {
      const bytes = Deno.readFileSync(path);
      found[name] = createHash("sha256").update(bytes).digest("hex");
    }
  }
  return found;
}

const NEEDLE = [
  ...["needle", "--images", "4", "--test", "2", "--size", "320"],
  ...["--clusters", "2", "--objects", "3", "--diameter", "18", "--json"],
];

Deno.test("dataset needle writes a set that reads back, and says where", async () => {
  await withFolder(async (folder) => {
    const out = join(folder, "set");
    const { seconds, ...result } = JSON.parse(
      await output(...NEEDLE, "--out", out),
    );
    assert.ok(seconds > 0);
    assert.deepEqual(result, {
      out,
      images: 6,
      train: 4,
      test: 2,
      manifest: join(out, "manifest.csv"),
      regions: join(out, "regions.csv"),
    });
    const { classes, entries } = await readManifest(result.manifest);
    assert.deepEqual(classes, ["negative", "positive"]);
    assert.deepEqual(
      entries.map(({ split }) => split),
      ["train", "train", "train", "train", "test", "test"],
    );
    assert.deepEqual(
      JSON.parse(await Deno.readTextFile(join(out, "dataset.json"))),
      {
        generator: "needle",
        version: 1,
        options: {
          images: 4,
          test: 2,
          size: 320,
          clusters: 2,
          objects: 3,
          diameter: 18,
        },
        seed: 0,
      },
    );
  });
});

Deno.test("dataset needle: one seed, the same bytes; another, others", async () => {
  await withFolder(async (folder) => {
    for (const [name, seed] of [["a", "7"], ["b", "7"], ["c", "8"]] as const) {
      await output(...NEEDLE, "--seed", seed, "--out", join(folder, name));
    }
    const [a, b, c] = ["a", "b", "c"].map((name) =>
      digests(join(folder, name))
    );
    assert.deepEqual(a, b);
    assert.notEqual(
      a!["images/train_00000.png"],
      c!["images/train_00000.png"],
    );
  });
});

Deno.test("dataset megapixel-mnist writes a set from IDX files", async () => {
  await withFolder(async (folder) => {
    await writeMnist(folder, { gzip: true });
    const out = join(folder, "set");
    const printed = await output(
      "megapixel-mnist",
      ...["--mnist", folder, "--out", out, "--train", "3", "--test", "2"],
      ...["--width", "100", "--height", "80"],
    );
    assert.match(printed, /set: 3 images to train on and 2 to test, in /);
    const { entries } = await readManifest(join(out, "manifest.csv"));
    assert.equal(entries.length, 5);
  });
});

Deno.test("dataset slide writes a slide with its manifest and regions", async () => {
  await withFolder(async (folder) => {
    const out = join(folder, "slide.tif");
    const { seconds, bytes, ...result } = JSON.parse(
      await output(
        ...["slide", "--gigapixels", "0.01", "--out", out, "--json"],
        ...["--positive", "--clusters", "2", "--seed", "3"],
      ),
    );
    assert.ok(seconds > 0);
    assert.equal(bytes, Deno.statSync(out).size);
    assert.deepEqual(result, {
      slide: out,
      manifest: join(folder, "slide.manifest.csv"),
      regions: join(folder, "slide.regions.csv"),
      width: 3072,
      height: 3072,
      levels: 3,
      objects: result.objects,
    });
  });
});

const MISUSES: [argv: string, message: RegExp][] = [
  [
    "",
    /no data set "": the first argument must be needle or megapixel-mnist or slide/,
  ],
  ["toString --out x", /There is no data set "toString"/],
  ["needle", /give --out DIR/],
  ["megapixel-mnist --out x", /give --mnist DIR/],
  ["needle --out x --mnist y", /no flag --mnist: --help lists/],
  ["needle --out x --images", /--images/],
  ["needle --out x y", /Unexpected argument 'y'/],
  [
    "needle --out x --images many",
    /--images must be an integer in \[2, 1000000\], not "many"/,
  ],
  ["needle --out x --size 0", /--size must be an integer in/],
  ["needle --out x --seed 1.5", /--seed must be an integer in/],
  ["needle --out x --seed 9007199254740993", /--seed must be/],
];

for (const [argv, message] of MISUSES) {
  Deno.test(`dataset ${argv}: refused in one line`, async () => {
    await assert.rejects(
      run(argv.split(" ").filter(Boolean)),
      (error: Error) =>
        error instanceof UsageError && message.test(error.message) &&
        !error.message.includes("\n"),
    );
  });
}
