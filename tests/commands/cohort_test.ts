/**
 * Tables of images to classify: with labels or without, by patient or not.
 */
import assert from "node:assert/strict";
import { basename, join } from "node:path";
import { parse } from "csv-parse/sync";
import { readManifest } from "../../lib/data/manifest.ts";
import { exists } from "../../lib/files.ts";
import {
  assertFailsInOneLine,
  drawAndTrain,
  folderOfFile,
  inParallel,
  remarks,
  succeed,
  zoomin,
} from "./process.ts";

const folder = folderOfFile(async (folder) => {
  await drawAndTrain(folder);
  const rows = (await drawn(folder)).map(({ path, label }, i) =>
    [basename(path), `P${Math.floor(i / 2)}`, label].join()
  );
  await write("bare.csv", [
    "FILENAME",
    ...rows.map((row) => row.split(",")[0]),
  ]);
  await write("cohort.csv", ["image,group,label", ...rows]);
  await write("broken.csv", [
    "image,label",
    `${rows[0]!.split(",")[0]},`, // not labelled yet
    "absent.png,positive",
    `${rows[1]!.split(",")[0]},unclear`, // no class of the model
  ]);
});

async function write(name: string, lines: readonly unknown[]): Promise<void> {
  await Deno.writeTextFile(join(folder, "set/images", name), lines.join("\n"));
}

/** The drawn images of one label after the other, so that patients have one. */
async function drawn(folder: string) {
  const { entries } = await readManifest(join(folder, "set/manifest.csv"));
  return entries.filter(({ split }) => split === "test")
    .toSorted((a, b) => a.classIndex - b.classIndex);
}

const RUN = ["--checkpoint", "run", "--backend", "wasm"];
const CLASSIFY = ["classify", ...RUN];

async function rowsOf(file: string): Promise<Record<string, string>[]> {
  return parse(await Deno.readTextFile(join(folder, file)), { columns: true });
}

Deno.test("classify --data writes the table that eval writes, and needs no labels", async () => {
  const table = (name: string) => ["--data", `set/images/${name}`];
  await inParallel([
    [...CLASSIFY, ...table("bare.csv"), "--predictions", "bare.csv"],
    [...CLASSIFY, ...table("cohort.csv"), "--predictions", "cohort.csv"],
    ["eval", ...RUN, ...table("cohort.csv"), "--predictions", "eval.csv"],
  ], async (argv) => {
    const { stdout } = await succeed(folder, ...argv);
    if (argv[0] === "classify") assert.equal(stdout, "");
  });
  const text = (file: string) => Deno.readTextFile(join(folder, file));
  assert.equal(await text("cohort.csv"), await text("eval.csv"));
  const [first] = await rowsOf("cohort.csv");
  assert.deepEqual(Object.keys(first!), [
    ...["image", "group", "label", "predicted"],
    ...["p(negative)", "p(positive)"],
  ]);
  const bare = (await rowsOf("cohort.csv"))
    .map(({ group: _, label: __, ...row }) => row);
  assert.deepEqual(await rowsOf("bare.csv"), bare);
  assert.equal(bare.length, 8);
});

Deno.test("classify --data goes on after a bad image, and --json tells all", async () => {
  const result = await zoomin(
    folder,
    ...[...CLASSIFY, "--data", "set/images/broken.csv", "--json"],
    ...["--predictions", "broken.csv"],
  );
  assert.equal(result.code, 1);
  assert.match(
    remarks(result)[0]!,
    /^Cannot open .*absent\.png as an image: no such file$/,
  );
  const lines = result.stdout.trimEnd().split("\n")
    .map((line) => JSON.parse(line));
  assert.deepEqual(lines.map(({ actual }) => actual), [undefined, "unclear"]);
  const rows = await rowsOf("broken.csv");
  assert.deepEqual(
    rows.map(({ image, label, predicted }) => [image, label, predicted]),
    lines.map(({ source, actual = "", label }) => [source, actual, label]),
  );
});

Deno.test("classify --data writes no table of nothing", async () => {
  await Deno.writeTextFile(join(folder, "none.csv"), "image\nabsent.png\n");
  const result = await zoomin(
    folder,
    ...[...CLASSIFY, "--data", "none.csv", "--predictions", "no.csv"],
  );
  assert.equal(result.code, 1);
  assert.equal(await exists(join(folder, "no.csv")), false);
});

Deno.test("classify says which images it is to take", async () => {
  const table = ["--data", "set/images/bare.csv"];
  await inParallel([
    {
      argv: [],
      code: 2,
      message: /^No image given: name at least one, or a table/,
    },
    {
      argv: [...table, "a.png"],
      code: 2,
      message: /^Cannot classify both a\.png and the images of --data/,
    },
    {
      argv: ["--group-column", "PATIENT", "a.png"],
      code: 2,
      message: /^--group-column needs --data/,
    },
    {
      argv: [...table, "--label-column", "MSI"],
      code: 1,
      message: /missing column "MSI": name it in the header, or give --label/,
    },
    {
      argv: [...table, "--predictions", "set/images/bare.csv"],
      code: 2,
      message: /it is one of the input files/,
    },
  ], async ({ argv, code, message }) => {
    assertFailsInOneLine(await zoomin(folder, ...CLASSIFY, ...argv), {
      code,
      message,
    });
  });
});
