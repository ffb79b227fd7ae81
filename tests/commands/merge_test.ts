import assert from "node:assert/strict";
import { join } from "node:path";
import type { StudyResults } from "../../lib/study/report.ts";
import {
  drawAndTrain,
  folderOfFile,
  outcome,
  ROOT,
  succeed,
  taskFlags,
  zoomin,
} from "./process.ts";

const folder = folderOfFile(async (folder) => {
  await drawAndTrain(folder);
  await Deno.writeTextFile(join(folder, "broken.png"), "no image");
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
