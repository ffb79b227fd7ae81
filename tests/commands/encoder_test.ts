/** `deno task encoder`: what it prints, and what it refuses. */
import assert from "node:assert/strict";
import { join } from "node:path";
import {
  configSchema,
  filledFrom,
  parseConfig,
} from "../../lib/model/config.ts";
import { preset } from "../../lib/model/presets.ts";
import { FIXTURE } from "../encoder/onnx_files.ts";
import { testEncoder } from "../encoder/runtime.ts";
import {
  assertFailsInOneLine,
  folderOfFile,
  succeed,
  zoomin,
} from "./process.ts";

const folder = folderOfFile(async (folder) => {
  await Deno.writeTextFile(join(folder, "text.onnx"), "no network");
});

testEncoder("encoder prints a configuration that train takes", async () => {
  const { stdout, stderr } = await succeed(folder, "encoder", FIXTURE);
  assert.equal(stderr, "");
  assert.match(stdout, /^input +pixels float32 \[n, 3, height, width\]: any/m);
  assert.match(stdout, /^outputs +s4 +maps, C = 8, stride 4 /m);
  assert.match(stdout, /^time +[\d.]+ ms for one input of 224 x 224 px$/m);
  assert.match(stdout, /^features +K = 12$/m);
  const printed = JSON.parse(stdout.slice(stdout.indexOf("\n{")));
  const config = parseConfig(filledFrom(preset("colon"), printed), "printed");
  assert.equal(config.network.encoder?.path, FIXTURE);
  assert.ok(configSchema.safeParse(config).success);
});

testEncoder("encoder --json is one document", async () => {
  const { stdout } = await succeed(
    folder,
    ...["encoder", "--json", "--threads", "1", FIXTURE],
  );
  const report = JSON.parse(stdout);
  assert.equal(report.outputs.length, 4);
  assert.equal(report.configuration.network.encoder.sha256, report.sha256);
});

testEncoder("a file that is no ONNX: exit code 1", async () => {
  assertFailsInOneLine(await zoomin(folder, "encoder", "text.onnx"), {
    code: 1,
    message: /^Cannot use text\.onnx as an encoder: it is no ONNX file \(/,
  });
});

Deno.test("wrong usage: exit code 2", async () => {
  for (
    const [argv, message] of [
      [[], /^One argument is needed: FILE\.onnx$/],
      [["a.onnx", "b.onnx"], /^One argument is needed/],
      [["--threads", "0", "a.onnx"], /^--threads must be an integer in \[1,/],
      [["--batch", "a.onnx"], /^There is no flag --batch/],
    ] as const
  ) {
    const result = await zoomin(folder, "encoder", ...argv);
    assertFailsInOneLine(result, { code: 2, message });
  }
});

Deno.test("a missing file is named before anything is fetched", async () => {
  assertFailsInOneLine(await zoomin(folder, "encoder", "none.onnx"), {
    code: 1,
    message: /^Cannot use none\.onnx as an encoder: there is no such file$/,
  });
});

Deno.test("train takes one choice of frozen features", async () => {
  const train = ["train", "--data", "manifest.csv", "--out", "run"];
  const both = ["--encoder", "a.onnx", "--features", "scattering"];
  const config = ["--config", "config.json"];
  for (
    const [flags, message] of [
      [both, /^Both --encoder and --features were given: give one of them$/],
      [
        [...config, "--features", "scattering"],
        /^config\.json names the features already: leave out --features, or /,
      ],
      [
        [...config, "--encoder", "a.onnx"],
        /^config\.json names the features already: leave out --encoder, or /,
      ],
      [["--features", "lenet"], /^--features must be scattering or dictionary/],
    ] as const
  ) {
    const result = await zoomin(folder, ...train, ...flags);
    assertFailsInOneLine(result, { code: 2, message });
  }
});
