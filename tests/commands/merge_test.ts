import assert from "node:assert/strict";
import { basename, join } from "node:path";
import { readManifest } from "../../lib/data/manifest.ts";
import type { StudyResults } from "../../lib/study/report.ts";
import {
  assertFailsInOneLine,
  drawAndTrain,
  folderOfFile,
  type Outcome,
  outcome,
  ROOT,
  succeed,
  taskFlags,
  zoomin,
} from "./process.ts";

const folder = folderOfFile(async (folder) => {
  await drawAndTrain(folder);
  await Deno.writeTextFile(join(folder, "broken.png"), "no image");
  const { entries } = await readManifest(join(folder, "set/manifest.csv"));
  const rows = entries.filter(({ split }) => split === "test")
    // One label after the other, so that patients have one.
    .toSorted((a, b) => a.classIndex - b.classIndex)
    .map(({ path, label }, i) =>
      [basename(path), `P${Math.floor(i / 2)}`, label].join()
    );
  const write = (name: string, rows: readonly string[]) =>
    Deno.writeTextFile(
      join(folder, "set/images", name),
      ["image,group,label", ...rows].join("\n"),
    );
  await write("cohort.csv", rows);
  await write("absent.csv", rows.toSpliced(3, 0, "absent.png,P1,"));
});

const MODEL = ["--checkpoint", "run", "--backend", "wasm"];
const IMAGES = [0, 1, 2, 3].map((i) => `set/images/test_0000${i}.png`);

/** The lines of `classify --json` without the times that it took. */
function timeless(stdout: string): unknown[] {
  return stdout.trimEnd().split("\n").map((line) => {
    const { timings: _, ...result } = JSON.parse(line);
    return result;
  });
}

Deno.test("shards of eval merge into the bytes of one call", async () => {
  const argv = ["eval", ...MODEL, "--data", "set/manifest.csv"];
  const files = ["--out", "evaluation", "--predictions", "predictions.csv"];
  const whole = await succeed(folder, ...argv, ...files);
  const predictions = await Deno.readTextFile(join(folder, "predictions.csv"));
  await Deno.remove(join(folder, "predictions.csv"));
  for (const i of [3, 1, 2]) {
    const shard = ["--shard", `${i}/3`, "--parts", "eval-parts"];
    const { stdout, stderr } = await succeed(
      folder,
      ...[...argv, ...files, ...shard],
    );
    assert.equal(stdout, "");
    assert.match(stderr, /part-\d-of-3\.jsonl: [23] images$/m);
  }
  const merged = await succeed(folder, "merge", "eval-parts");
  assert.equal(merged.stdout, whole.stdout);
  assert.equal(
    await Deno.readTextFile(join(folder, "predictions.csv")),
    predictions,
  );
});

Deno.test("shards of classify merge, a bad image and all", async () => {
  const images = [...IMAGES.slice(0, 2), "broken.png", ...IMAGES.slice(2)];
  const argv = ["classify", ...MODEL, "--json", "--heatmap", "maps", ...images];
  const whole = await zoomin(folder, ...argv);
  assert.equal(whole.code, 1);
  for (const index of [0, 1]) { // as an indexed Job of Kubernetes
    const shard = new Deno.Command(Deno.execPath(), {
      args: [
        ...[...taskFlags("classify"), join(ROOT, "main.ts"), ...argv],
        ...["--shard", "auto", "--parts", "parts"],
      ],
      cwd: folder,
      env: { JOB_COMPLETION_INDEX: `${index}`, JOB_COMPLETION_COUNT: "2" },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const { code, stderr } = await outcome(shard);
    assert.equal(code, 0, stderr);
  }
  const merged = await zoomin(folder, "merge", "parts");
  assert.equal(merged.code, 1);
  assert.deepEqual(timeless(merged.stdout), timeless(whole.stdout));
  assert.match(merged.stderr, /broken\.png/);
});

/** Bytes of a file, which is removed. */
async function taken(name: string): Promise<string> {
  const path = join(folder, name);
  const text = await Deno.readTextFile(path);
  await Deno.remove(path);
  return text;
}

Deno.test("shards of classify --data merge into the table of one call", async () => {
  const argv = [
    ...["classify", ...MODEL, "--data", "set/images/absent.csv", "--json"],
    ...["--predictions", "table.csv"],
  ];
  const whole = await zoomin(folder, ...argv);
  assert.equal(whole.code, 1, whole.stderr); // for the image that is absent
  const table = await taken("table.csv");
  assert.equal(table.trimEnd().split("\n").length, 1 + 8);
  for (const shard of ["2/2", "1/2"]) {
    const part = ["--shard", shard, "--parts", "table-parts"];
    await succeed(folder, ...argv, ...part);
  }
  const merged = await zoomin(folder, "merge", "table-parts");
  assert.equal(merged.code, 1);
  assert.deepEqual(timeless(merged.stdout), timeless(whole.stdout));
  assert.match(merged.stderr, /absent\.png/);
  assert.equal(await taken("table.csv"), table);
});

Deno.test("shards of eval and classify merge by group", async () => {
  for (
    const [command, by] of [["eval", "mean"], ["classify", "max"]] as const
  ) {
    const argv = [
      ...[command, ...MODEL, "--data", "set/images/cohort.csv"],
      ...["--by-group", by, "--predictions", "groups.csv", "--json"],
    ];
    const whole = await succeed(folder, ...argv);
    const groups = await taken("groups.csv");
    for (const i of [1, 2, 3]) { // patients are in several shards
      const part = ["--shard", `${i}/3`, "--parts", `${by}-parts`];
      await succeed(folder, ...argv, ...part);
    }
    const merged = await succeed(folder, "merge", `${by}-parts`);
    const told = command === "eval"
      ? ({ stdout }: Outcome) => stdout
      : ({ stdout }: Outcome) => timeless(stdout);
    assert.deepEqual(told(merged), told(whole));
    assert.equal(await taken("groups.csv"), groups);
  }
  assertFailsInOneLine(
    await zoomin(
      folder,
      ...["eval", ...MODEL, "--data", "set/images/cohort.csv"],
      ...["--by-group", "evidence", "--shard", "1/2", "--parts", "no-parts"],
    ),
    { code: 2, message: /^Cannot do a shard of --by-group evidence: give/ },
  );
});

/** Rows of a study's results, without what differs from run to run. */
async function rowsOf(out: string): Promise<unknown[]> {
  const path = join(folder, out, "results.json");
  const { rows }: StudyResults = JSON.parse(await Deno.readTextFile(path));
  return rows.map((row) => ({
    ...row,
    secondsPerFold: 0,
    cpuSecondsPerFold: 0,
    peakBytes: 0,
  }));
}

Deno.test("shards of a study merge into one report", async () => {
  const argv = [
    ...["study", "needle", "--quick", "--backend", "wasm"],
    ...["--only", "ours-5.0-clusters-8", "--only", "uniform-5.0-clusters-8"],
  ];
  await succeed(folder, ...argv, "--out", "whole");
  for (const shard of ["1/2", "2/2"]) {
    const { stdout, stderr } = await succeed(
      folder,
      ...[...argv, "--out", "study", "--shard", shard],
    );
    assert.equal(stdout, "");
    assert.match(stderr, /part-\d-of-2\.jsonl: 1 of 2 runs done$/m);
  }
  const { stdout } = await succeed(folder, "merge", "study");
  assert.match(stdout, /^study: 2 of \d+ runs done/);
  assert.deepEqual(await rowsOf("study"), await rowsOf("whole"));
});
