import assert from "node:assert/strict";
import { join } from "node:path";
import sharp from "sharp";
import { exists } from "../../lib/files.ts";
import { withFolder } from "../data/folder.ts";
import {
  assertFailsInOneLine,
  folderOfFile,
  outcome,
  start,
  succeed,
  zoomin,
} from "./process.ts";
import { eventually } from "../waiting.ts";

Deno.test("demo writes over nothing, and says what to do", async () => {
  await withFolder(async (folder) => {
    const data = join(folder, "demo", "data");
    await Deno.mkdir(data, { recursive: true });
    await Deno.writeTextFile(join(data, "mine"), "");
    assertFailsInOneLine(await zoomin(folder, "demo"), {
      code: 2,
      message: /"demo\/data": the folder is not empty; remove it, or give/,
    });
    const left = [...Deno.readDirSync(data)].map(({ name }) => name);
    assert.deepEqual(left, ["mine"]);
  });
});

/** Runs the demo in `folder`/demo until `file` is there, and stops it. */
async function stopDemoAt(folder: string, file: string): Promise<void> {
  const process = start(folder, "demo");
  const ended = outcome(process);
  await eventually(
    `${file} is there`,
    () => exists(join(folder, "demo", file)),
    300_000, // 25 s on a machine that is idle
  );
  process.kill("SIGINT");
  const { code, stdout, stderr } = await ended;
  assert.deepEqual([code, stdout], [130, ""]);
  assert.match(stderr, /\nStopped: run the same command to continue\n$/);
}

const CHECKPOINTS = ["best.safetensors", "last.safetensors"];

// The demo is stopped twice and then ends: it draws only once.
const folder = folderOfFile(() => Promise.resolve());

Deno.test("Ctrl-C stops the demo while it trains", async () => {
  await stopDemoAt(folder, "run/log.jsonl");
  const left = [...Deno.readDirSync(join(folder, "demo", "run"))]
    .map(({ name }) => name)
    .filter((name) => !CHECKPOINTS.includes(name)); // perhaps of an epoch
  assert.deepEqual(left.sort(), ["config.json", "log.jsonl", "splits.csv"]);
});

Deno.test({
  name: "the demo, stopped twice, learns what a small view does not show",
  ignore: !Deno.env.get("CI"), // minutes
  async fn() {
    await stopDemoAt(folder, "run/last.safetensors");
    const { stdout, stderr } = await succeed(folder, "demo");
    assert.doesNotMatch(stderr, /drew/); // the images are there
    const { seconds, heatmap, accuracy, auc, calibrationError, ...rest } = JSON
      .parse(
        stdout.trimEnd().split("\n").at(-1)!,
      );
    assert.ok(accuracy >= 0.9, `accuracy ${accuracy}`);
    assert.ok(auc >= 0.95, `AUC ${auc}`);
    assert.ok(calibrationError <= 0.08, `calibration ${calibrationError}`);
    assert.ok(seconds > 0);
    assert.deepEqual(
      { ...rest, backend: "" },
      { trainImages: 240, testImages: 120, backend: "" },
    );
    const { format, width } = await sharp(join(folder, heatmap)).metadata();
    assert.deepEqual([format, width], ["png", 512]);
  },
});
