/** Messages after a GPU is lost during work. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ignoreGpu } from "../engines.ts";
import {
  assertFailsInOneLine,
  drawAndTrain,
  folderOfFile,
  inParallel,
  type Outcome,
  outcome,
  ROOT,
  SMALL,
} from "./process.ts";

const folder = folderOfFile(drawAndTrain);
const LOSSY = fileURLToPath(
  new URL("../engine/lossy_device.ts", import.meta.url),
);
const MESSAGE = /^The webgpu engine lost its device ".+" \(destroyed\): /;

/** Runs the program on a GPU that is lost after so many calls to it. */
async function lose(calls: number, ...argv: string[]): Promise<Outcome> {
  return await outcome(
    new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "--no-prompt", "-A", "--preload", LOSSY],
        ...[join(ROOT, "main.ts"), ...argv],
      ],
      env: { ZOOMIN_TEST_LOSS: String(calls) },
      cwd: folder,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn(),
  );
}

const IMAGE = "set/images/test_00000.png";
const DATA = ["--data", "set/manifest.csv"];
const TRAIN = ["train", ...DATA, ...SMALL, "--epochs", "2"];
const COMMANDS: [losses: number[], argv: string[]][] = [
  [[0, 30, 120, 220], ["classify", "--checkpoint", "run", IMAGE]],
  [[100], ["eval", "--checkpoint", "run", ...DATA]],
  [[5, 300, 1500], [...TRAIN, "--out", "lost"]],
];

Deno.test({
  name: "a GPU that is lost is told in one line, whatever was under way",
  ignore: ignoreGpu,
  async fn() {
    const cases = COMMANDS.flatMap(([losses, argv]) =>
      losses.map((calls) => ({ calls, argv }))
    );
    await inParallel(cases, async ({ calls, argv }) => {
      const own = argv.map((word) => word === "lost" ? `lost${calls}` : word);
      const result = await lose(calls, ...own, "--backend", "webgpu");
      // The line that announces the training is no fault.
      result.stderr = result.stderr.replace(/^\d+ images to train on.*\n/m, "");
      assertFailsInOneLine(result, { code: 1, message: MESSAGE });
    });
  },
});

Deno.test({
  name: "doctor tells of a GPU that is lost in its self-test",
  ignore: ignoreGpu,
  async fn() {
    const { code, stdout } = await lose(5, "doctor");
    assert.equal(code, 1);
    assert.match(stdout, /webgpu.*The webgpu engine lost its device/s);
  },
});
