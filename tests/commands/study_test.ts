import assert from "node:assert/strict";
import { join } from "node:path";
import { readManifest } from "../../lib/data/manifest.ts";
import type { StudyResults } from "../../lib/study/report.ts";
import type { StudyRow } from "../../lib/study/rows.ts";
import { FIXTURE } from "../encoder/onnx_files.ts";
import { testEncoder } from "../encoder/runtime.ts";
import {
  assertFailsInOneLine,
  drawSet,
  folderOfFile,
  succeed,
  zoomin,
} from "./process.ts";

const folder = folderOfFile(drawSet);

/** Processes whose command line has `path`, from /proc. */
async function processesOf(path: string): Promise<string> {
  const pattern = `[${path[0]}]${path.slice(1)}`; // not grep's own
  const { stdout } = await new Deno.Command("sh", {
    args: ["-c", `grep -als '${pattern}' /proc/[0-9]*/cmdline`],
  }).output();
  return new TextDecoder().decode(stdout);
}

/**
 * Writes the last `count` of twelve images, in two folds, with the labels of the
 * colon set: FOLDER/folds.csv.
 */
async function writeFolds(count = 12): Promise<void> {
  const { entries } = await readManifest(join(folder, "set", "manifest.csv"));
  const rows = entries.slice(0, 12).map(({ path, label }, i) =>
    `${path},${label === "positive" ? 1 : 0},${1 + Math.floor(i / 2) % 2}`
  ).slice(-count);
  await Deno.writeTextFile(
    join(folder, "folds.csv"),
    ["image,label,fold", ...rows, ""].join("\n"),
  );
}

Deno.test("study runs its grid, writes its report, and continues where it was", async () => {
  const argv = ["study", "needle", "--quick", "--backend", "wasm", "--json"];
  const first = await succeed(
    folder,
    ...argv,
    "--out",
    "out",
    "--only",
    "ours-5.0-clusters-8",
  );
  assert.deepEqual(
    JSON.parse(first.stdout).rows.map(({ variant }: { variant: string }) =>
      variant
    ),
    ["ours-5.0-clusters-8"],
  );
  const cell = join(folder, "out/runs/ours-5.0-clusters-8/seed-0/cell.json");
  const { mtime } = await Deno.stat(cell);

  const second = await succeed(folder, ...argv, "--out", "out");
  const results = JSON.parse(second.stdout);
  assert.equal(results.study, "needle");
  assert.deepEqual([results.done, results.cells], [3, 3]);
  assert.equal(results.rows.length, 3);
  for (const row of results.rows) {
    assert.ok(row.accuracy.mean >= 0 && row.accuracy.mean <= 1);
    assert.ok(row.peakBytes > 2 ** 20 && row.secondsPerFold > 0);
    assert.equal(
      row.accuracyDifference === null,
      row.variant.startsWith("ours"),
    );
  }
  assert.deepEqual((await Deno.stat(cell)).mtime, mtime); // not run again
  const report = await Deno.readTextFile(join(folder, "out/report.md"));
  assert.match(report, /A quick run: the figures mean nothing/);
  for (const [, path] of report.matchAll(/!\[.*?\]\((.*?)\)/g)) {
    assert.ok((await Deno.stat(join(folder, "out", path!))).size > 500, path!);
  }
  assert.match(
    report,
    /ours-5\.0-clusters-8: attention, .* of 48 sub-tiles hit/,
  );

  // A stopped run: its finished folds are reported, and marked.
  await Deno.remove(cell);
  const third = await succeed(folder, ...argv, "--out", "out", "--report");
  const partial = JSON.parse(third.stdout);
  assert.deepEqual([partial.done, partial.cells], [2, 3]);
  const part = partial.rows[0];
  assert.deepEqual(part, results.rows[0]);
  await assert.rejects(Deno.stat(cell), Deno.errors.NotFound);
});

/**
 * Runs the variants on frozen features with twelve images in two folds.
 *
 * @returns the rows by variant.
 */
async function frozenStudy(
  { out, student, pooled }: { out: string; student: string; pooled: string },
  ...flags: string[]
): Promise<Map<string, StudyRow>> {
  await writeFolds();
  const { stdout } = await succeed(
    folder,
    ...["study", "colon", "--data", "folds.csv", "--quick", "--out", out],
    ...["--backend", "wasm", "--json", ...flags],
    ...["--only", `${student}-teacher`, "--only", pooled],
  );
  const { rows, done }: StudyResults = JSON.parse(stdout);
  assert.equal(done, 2); // the teacher is that of a run
  const held = rows.filter(({ unseen }) => !unseen);
  return new Map(held.map((row) => [row.variant, row]));
}

/** Checks the rows of features, and the first paragraph that says who wins. */
async function checkFrozenRows(
  rows: ReadonlyMap<string, StudyRow>,
  { out, student, pooled }: { out: string; student: string; pooled: string },
): Promise<void> {
  const names = [student, `${student}-teacher`, pooled];
  assert.deepEqual([...rows.keys()], names);
  const [own, ...baselines] = names.map((name) => rows.get(name)!);
  assert.equal(own!.samples, 30);
  for (const { accuracy, samples, accuracyDifference } of baselines) {
    assert.equal(samples, null);
    assert.equal(accuracyDifference!.against, student);
    const difference = accuracy.mean! - own!.accuracy.mean!;
    assert.ok(Math.abs(accuracyDifference!.mean! - difference) < 1e-9);
  }
  assert.deepEqual(baselines.map(({ epochs }) => epochs), [2, null]);
  const report = await Deno.readTextFile(join(folder, out, "report.md"));
  const first = report.split("\n")[2]!;
  const best = Math.max(...rows.values().map(({ accuracy }) => accuracy.mean!));
  assert.ok(first.startsWith(`The highest accuracy is ${best.toFixed(3)}`));
  const winners = baselines
    .filter(({ accuracyDifference }) => accuracyDifference!.mean! > 0);
  assert.equal(first.includes("No baseline does better"), winners.length === 0);
  for (const { variant } of winners) {
    assert.ok(
      first.includes("that win: ") && first.includes(`\`${variant}\` by`),
    );
  }
}

Deno.test("study --features adds training on all locations, its teacher and mean features", async () => {
  const out = "frozen";
  const names = { out, student: "scattering", pooled: "scattering-mean" };
  const rows = await frozenStudy(names, "--features", "scattering");
  await checkFrozenRows(rows, names);
  // All read the features of one folder: each image and its two copies.
  const kept = await Array.fromAsync(
    Deno.readDir(join(folder, out, "features")),
  );
  assert.equal(kept.length, 3 * 12);
});

testEncoder(
  "study --encoder adds the same on a pretrained network",
  async () => {
    const names = {
      out: "pretrained",
      student: "encoder",
      pooled: "pretrained-mean",
    };
    const rows = await frozenStudy(names, "--encoder", FIXTURE);
    await checkFrozenRows(rows, names);
  },
);

Deno.test("a run that fails stops those beside it", async () => {
  const argv = ["study", "needle", "--quick", "--backend", "wasm"];
  const bad = join(folder, "failing/runs/ours-5.0-clusters-8/seed-0");
  await Deno.mkdir(bad, { recursive: true });
  await Deno.writeTextFile(join(bad, "held-out"), "no folder");
  const { code, stderr } = await zoomin(
    folder,
    ...[...argv, "--out", "failing", "--workers", "2"],
  );
  assert.equal(code, 1);
  assert.match(stderr, /Training in .*seed-0 failed: .*held-out/s);
  assert.equal(await processesOf("failing/runs"), "");
});

Deno.test("study takes no run for that of other settings or data", async () => {
  await writeFolds();
  const argv = ["study", "colon", "--data", "folds.csv", "--out", "colon"];
  argv.push("--only", "uniform", "--backend", "wasm");
  await succeed(folder, ...argv, "--quick");
  const refused = async (message: RegExp, ...more: string[]) =>
    assertFailsInOneLine(await zoomin(folder, ...argv, ...more), {
      code: 2,
      message,
    });
  const another = /^colon\/runs\/uniform\/seed-0 was made with another /.source;
  await refused(RegExp(`${another}config and folds: .*--quick`, "m"));
  await refused(RegExp(another, "m"), "--report");
  await writeFolds(11);
  await refused(RegExp(`${another}data: give the --data`, "m"), "--quick");

  // Nor the folds of one that was cut off.
  await Deno.remove(join(folder, "colon/runs/uniform/seed-0/cell.json"));
  await refused(/seed-0 with another configuration: /, "--report");
  await refused(
    /differ from \S*uniform\/seed-0\/folds\.csv; /,
    "--quick",
    "--report",
  );
});

Deno.test("study says what it can run", async () => {
  for (
    const [argv, message] of [
      ["study", /"": the first argument must be colon or needle or gtsdb/],
      ["study kolon --out o", /"kolon"/],
      ["study colon --out o", /--data MANIFEST/],
      ["study needle", /--out DIR/],
      [
        "study needle --out o --only x",
        /no variant x \(--only\): those of needle are/,
      ],
    ] as const
  ) {
    const result = await zoomin(folder, ...argv.split(" "));
    assertFailsInOneLine(result, { code: 2, message });
  }
});
