/**
 * Tables of images to classify: with labels or without, by patient or not.
 */
import assert from "node:assert/strict";
import { basename, join } from "node:path";
import { parse } from "csv-parse/sync";
import { readManifest } from "../../lib/data/manifest.ts";
import { exists } from "../../lib/files.ts";
import {
  assertFails,
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

for (const by of ["mean", "max", "evidence"]) {
  Deno.test(`eval and classify --by-group ${by}: a line a patient, as of its images`, async () => {
    const table = ["--data", "set/images/cohort.csv", "--by-group", by];
    const [eval_, classified, single] = await Promise.all([
      [
        ...["eval", ...RUN, ...table, "--json", "--out", `by-${by}`],
        ...["--predictions", `eval-${by}.csv`],
      ],
      [
        ...[...CLASSIFY, ...table, "--json"],
        ...["--predictions", `classify-${by}.csv`],
      ],
      [
        ...["eval", ...RUN, ...table, "--json", "--out", `single-${by}`],
        ...["--group-column", "image"],
      ],
    ].map((argv) => succeed(folder, ...argv)));
    const text = (file: string) => Deno.readTextFile(join(folder, file));
    const written = await text(`eval-${by}.csv`);
    assert.equal(await text(`classify-${by}.csv`), written);
    assert.equal(await text(`by-${by}/groups.csv`), written);
    const rows = await rowsOf(`eval-${by}.csv`);
    assert.deepEqual(rows.map(({ group, images }) => [group, images]), [
      ...[["P0", "2"], ["P1", "2"], ["P2", "2"], ["P3", "2"]],
    ]);

    const images = await rowsOf(`by-${by}/predictions.csv`);
    for (const { group, "p(positive)": p } of rows) {
      const own = images.filter((row) => row.group === group)
        .map((row) => Number(row["p(positive)"]));
      const [a, b] = own as [number, number];
      if (by === "mean") assert.ok(Math.abs((a + b) / 2 - Number(p)) < 2e-6);
      else if (by === "max") assert.equal(Number(p), Math.max(a, b));
      else {assert.ok(
          Number(p) >= Math.min(a, b) && Number(p) <= Math.max(a, b),
        );}
    }

    const { byGroup } = JSON.parse(eval_!.stdout);
    assert.equal(byGroup.by, by);
    assert.equal(byGroup.groups, 4);
    assert.equal(
      byGroup.confusion.flat().reduce((a: number, b: number) => a + b),
      4,
    );
    const right = rows.filter(({ label, predicted }) => label === predicted);
    assert.equal(byGroup.metrics.accuracy.value, right.length / 4);
    assert.match(
      await text(`by-${by}/report.html`),
      new RegExp(`By group, ${by}`),
    );

    const lines = classified!.stdout.trimEnd().split("\n");
    assert.equal(lines.length, 8 + 4);
    const { group, images: count, actual, label } = JSON.parse(lines[8]!);
    assert.deepEqual([group, `${count}`, actual, label], [
      ...[rows[0]!.group, rows[0]!.images, rows[0]!.label, rows[0]!.predicted],
    ]);

    const report = JSON.parse(single!.stdout);
    assert.equal(report.byGroup.groups, 8);
    assert.deepEqual(report.byGroup.metrics, report.metrics);
    assert.deepEqual(report.byGroup.confusion, report.confusion);
  });
}

Deno.test("--by-group names what is wrong with the groups, before any work", async () => {
  await write("torn.csv", [
    "image,group,label",
    "test_00000.png,P1,negative",
    "test_00001.png,P1,positive",
  ]);
  await inParallel([
    {
      argv: ["eval", ...RUN, "--data", "set/images/torn.csv"],
      code: 1,
      message: /images of the group "P1" have different labels/,
    },
    {
      argv: ["eval", ...RUN, "--data", "set/manifest.csv"],
      code: 1,
      message: /have no groups; name their column with --group-column$/m,
    },
    {
      argv: [...CLASSIFY, "set/images/test_00000.png"],
      code: 2,
      message: /^--by-group needs --data, a table with groups/,
    },
  ], async ({ argv, code, message }) => {
    assertFails(await zoomin(folder, ...argv, "--by-group", "mean"), {
      code,
      message,
    });
  });
});

Deno.test("eval and classify print groups below the images", async () => {
  const table = ["--data", "set/images/cohort.csv", "--by-group", "mean"];
  const [scored, classified] = await Promise.all([
    succeed(folder, "eval", ...RUN, ...table, "--out", "told"),
    succeed(folder, ...CLASSIFY, ...table),
  ]);
  assert.match(
    scored!.stdout,
    /\nby group \(mean\), 4 groups\n\nmetric +value +95 % interval\naccuracy +/,
  );
  assert.match(
    classified!.stdout,
    /\ngroup P0, 2 images: \w+ \(negative 0\.\d{3}, positive 0\.\d{3}\)\n/,
  );
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
