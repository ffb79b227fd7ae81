import assert from "node:assert/strict";
import { join } from "node:path";
import { checkLabels } from "../../lib/data/labels.ts";
import { makeFolds, writeSplits } from "../../lib/data/folds.ts";
import {
  type Manifest,
  readManifest,
  type TableLayout,
} from "../../lib/data/manifest.ts";
import { DataError } from "../../lib/errors.ts";
import type { TargetName } from "../../lib/target.ts";
import { withFolder, writeImages } from "./folder.ts";

interface Options {
  target: TargetName;
  classes?: readonly string[];
  columns?: NonNullable<TableLayout["columns"]>;
  clini?: string;
}

const IMAGES = ["a.png", "b.png", "c.png"];

/** Reads a manifest of `text` about images that exist. */
async function read(
  text: string,
  { target, classes, columns = {}, clini }: Options,
): Promise<Manifest> {
  return await withFolder(async (folder) => {
    await writeImages(folder, IMAGES);
    const path = join(folder, "manifest.csv");
    await Deno.writeTextFile(path, text);
    const patients = join(folder, "clini.csv");
    if (clini !== undefined) await Deno.writeTextFile(patients, clini);
    return await readManifest(path, {
      target,
      ...(classes && { classes }),
      layout: { columns, ...(clini !== undefined && { clini: patients }) },
    });
  });
}

/** The lines of the error, without the folder. */
async function faultsOf(text: string, options: Options): Promise<string[]> {
  try {
    await read(text, options);
  } catch (error) {
    assert.ok(error instanceof DataError, String(error));
    return error.message.split("\n")
      .map((line) => line.replace(/^\S*\/(?=(manifest|clini)\.csv)/, ""));
  }
  assert.fail("no fault was found");
}

Deno.test("several labels are read, in any order, and none of an empty cell", async () => {
  const { classes, entries, target } = await read(
    "image,label\na.png,b; a\nb.png,\nc.png,c;;b;b\n",
    { target: "labels" },
  );
  assert.equal(target, "labels");
  assert.deepEqual(classes, ["a", "b", "c"]);
  assert.deepEqual(entries.map(({ goal }) => goal), [
    [1, 1, 0],
    [0, 0, 0],
    [0, 1, 1],
  ]);
  assert.deepEqual(entries.map(({ strata }) => strata), [
    ["a", "b"],
    [""],
    ["b", "c"],
  ]);
});

Deno.test("a label that the checkpoint does not know is named, one of several", async () => {
  const options = { target: "labels", classes: ["a", "b"] } as const;
  assert.deepEqual(
    await faultsOf("image,label\na.png,a;dog\n", options),
    [
      'manifest.csv:2: label "dog" is not a class of the checkpoint: its classes are a, b',
    ],
  );
  const { entries } = await read("image,label\na.png,b\n", options);
  assert.deepEqual(entries[0]!.goal, [0, 1]);
});

Deno.test("a value is a number, with file, line and column where it is none", async () => {
  const { classes, entries } = await read(
    "image,AGE\na.png,61.5\nb.png,-2e1\n",
    { target: "value", columns: { label: "AGE" } },
  );
  assert.deepEqual(classes, ["value"]);
  assert.deepEqual(entries.map(({ goal }) => goal), [[61.5], [-20]]);
  assert.deepEqual(
    await faultsOf("image,AGE\na.png,old\nb.png,\nc.png,nan\n", {
      target: "value",
      columns: { label: "AGE" },
    }),
    [
      'manifest.csv:2: AGE is "old": write a number, or leave the image out of the table',
      "manifest.csv:3: empty AGE: fill it in, or remove the line",
      'manifest.csv:4: AGE is "nan": write a number, or leave the image out of the table',
    ],
  );
});

Deno.test("grades are numbers in their order", async () => {
  const { classes, entries } = await read(
    "image,label\na.png,10\nb.png,2\nc.png,0.5\n",
    { target: "ordinal" },
  );
  assert.deepEqual(classes, ["0.5", "2", "10"]);
  assert.deepEqual(entries.map(({ goal }) => goal), [[2], [1], [0]]);
  assert.deepEqual(
    await faultsOf("image,label\na.png,high\n", { target: "ordinal" }),
    [
      'manifest.csv:2: label is "high": grades are numbers in their order, such as 0, 1, 2: write one',
    ],
  );
});

Deno.test("time and event are two columns, or one cell as R prints it", async () => {
  const options = { target: "survival" } as const;
  const expected = [[12.5, 1], [30, 0], [0, 1]];
  const tables = [
    "image,time,event\na.png,12.5,1\nb.png,30,alive\nc.png,0,1:DECEASED\n",
    "image,label\na.png,12.5\nb.png,30+\nc.png,0\n",
    // A label beside them is one of another question.
    "image,label,time,event\na.png,MSI,12.5,TRUE\nb.png,MSS,30,no\nc.png,,0,Dead\n",
  ];
  for (const table of tables) {
    const { classes, entries } = await read(table, options);
    assert.deepEqual(classes, ["risk"]);
    assert.deepEqual(entries.map(({ goal }) => goal), expected);
    assert.deepEqual(entries.map(({ label }) => label), ["12.5", "30+", "0"]);
  }
  const { entries } = await read("image,OS_MONTHS,OS\na.png,3,0\n", {
    ...options,
    columns: { time: "OS_MONTHS", event: "OS" },
  });
  assert.deepEqual(entries[0]!.goal, [3, 0]);
});

Deno.test("what is wrong with times and events is told in a line each", async () => {
  const options = { target: "survival" } as const;
  assert.deepEqual(
    await faultsOf(
      "image,time,event\na.png,-3,1\nb.png,5,perhaps\nc.png,,1\n",
      options,
    ),
    [
      'manifest.csv:2: time is "-3": write the time, from 0 on, with a + behind it if the event was not seen',
      'manifest.csv:3: event is "perhaps": write 1 if the event was seen, and 0 if not',
      "manifest.csv:4: empty time: fill it in, or remove the line",
    ],
  );
  assert.deepEqual(await faultsOf("image,months,event\na.png,3,1\n", options), [
    'manifest.csv:1: missing column "time": name it in the header, or give --time-column NAME',
  ]);
  assert.deepEqual(await faultsOf("image,kind\na.png,3\n", options), [
    'manifest.csv:1: missing column "time": name it in the header, or give --time-column NAME',
    'manifest.csv:1: missing column "event": name it in the header, or give --event-column NAME',
  ]);
});

Deno.test("patients have the times and events of their images", async () => {
  const { entries, notes } = await read(
    "FILENAME,PATIENT\na.png,p1\nb.png,p2\nc.png,p3\n",
    {
      target: "survival",
      clini: "PATIENT,time,event\np1,4,1\np2,,\np3,7,0\n",
    },
  );
  assert.deepEqual(entries.map(({ image, goal }) => [image, goal]), [
    ["a.png", [4, 1]],
    ["c.png", [7, 0]],
  ]);
  assert.ok(notes.some((note) => note.includes("p2")));
  const labels = await read(
    "FILENAME,PATIENT\na.png,p1\nb.png,p2\n",
    { target: "labels", clini: "PATIENT,label\np1,a;b\np2,\n" },
  );
  assert.deepEqual(labels.entries.map(({ goal }) => goal), [[1, 1], [0, 0]]);
});

Deno.test("splits are read again as they were, and doubts are of labels alone", async () => {
  await withFolder(async (folder) => {
    await writeImages(folder, IMAGES);
    const path = join(folder, "manifest.csv"), splits = join(folder, "s.csv");
    await Deno.writeTextFile(
      path,
      "image,label\na.png,Neg;a\nb.png,\nc.png,neg\n",
    );
    const manifest = await readManifest(path, { target: "labels" });
    await writeSplits(splits, manifest.entries);
    const again = await readManifest(splits, { target: "labels" });
    assert.deepEqual(
      again.entries.map(({ label, goal }) => [label, goal]),
      manifest.entries.map(({ label, goal }) => [label, goal]),
    );
    assert.throws(() => checkLabels(manifest, "advice"), (error: Error) => {
      assert.match(error.message, /"Neg" \(1 image, line 2\) and "neg"/);
      return true;
    });
    await Deno.writeTextFile(path, "image,label\na.png,1\nb.png,1.0\n");
    checkLabels(await readManifest(path, { target: "value" }), "advice");
  });
});

Deno.test("folds have as many of each label, and of each part of the values", () => {
  const entry = (i: number, strata: string[]) => ({
    image: `${i}.png`,
    path: `/${i}.png`,
    label: `${i}`,
    classIndex: 0,
    strata,
    manifest: "m.csv",
    line: i + 2,
  });
  const labels = [["a"], ["b"], ["a", "b"], [""]];
  const entries = Array.from(
    { length: 40 },
    (_, i) => entry(i, labels[i % 4]!),
  );
  const folds = makeFolds(entries, { folds: 4, seed: 1 });
  for (let fold = 1; fold <= 4; fold++) {
    for (const label of ["a", "b"]) {
      const own = folds.filter((one) =>
        one.fold === fold && one.strata!.includes(label)
      );
      assert.ok(own.length >= 4 && own.length <= 6, `${label}: ${own.length}`);
    }
  }
});
