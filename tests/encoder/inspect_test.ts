/** Settings to begin with, from what a file says and gives. */
import assert from "node:assert/strict";
import { join } from "node:path";
import {
  closeUpSettings,
  encoderSettings,
  inspectEncoder,
  overviewSettings,
} from "../../lib/encoder/inspect.ts";
import { openOnnxEncoder } from "../../lib/encoder/onnx.ts";
import { withFolder } from "../data/folder.ts";
import { maxError } from "../engines.ts";
import { LITE0, LITE0_SETTINGS } from "./lite0.ts";
import { testEncoder } from "./runtime.ts";
import {
  FIXTURE,
  fixtureNetwork,
  type Network,
  onnxFile,
} from "./onnx_files.ts";

/** The settings of a network in a file. */
async function settingsFor(network: Network) {
  return await withFolder(async (folder) => {
    const path = join(folder, "x.onnx");
    await Deno.writeFile(path, onnxFile(network));
    return await encoderSettings(path);
  });
}

testEncoder("the fixture's maps, with its mean and deviation", async () => {
  const { sha256, ...settings } = await encoderSettings(FIXTURE);
  assert.match(sha256, /^[0-9a-f]{64}$/);
  assert.deepEqual(settings, {
    path: FIXTURE,
    scale: 2,
    inputSize: null,
    mean: [0.5, 0.4, 0.3],
    deviation: [0.25, 0.2, 0.3],
    outputs: [{ name: "s8", window: 28, pooling: "mean" }],
    channels: 12,
  });
});

testEncoder(
  "for tiny objects it has a finer map, and maxima over small windows",
  async () => {
    const settings = await encoderSettings(FIXTURE, "tiny");
    assert.deepEqual(settings.outputs, [
      { name: "s4", window: 12, pooling: "both" },
      { name: "s8", window: 12, pooling: "both" },
    ]);
    const encoder = await openOnnxEncoder(settings, { engine: "wasm" });
    const data = new Float32Array(64 * 64 * 3).fill(0.5);
    const picture = { data, count: 1, height: 64, width: 64 };
    const one = await encoder.features(picture, [[{ x: 32, y: 32 }]]);
    assert.equal(one.length, settings.channels);
    await encoder.dispose();
  },
);

testEncoder(
  "a network of a fixed size gives its vector of a window",
  async () => {
    const fixed = fixtureNetwork([48, 48]);
    const settings = await settingsFor(fixed);
    assert.equal(settings.inputSize, 48);
    assert.equal(settings.scale, 1);
    assert.deepEqual(settings.outputs, [
      { name: "vector", window: 0, pooling: "mean" },
    ]);
    const without = (...names: string[]): Network => ({
      ...fixed,
      outputs: fixed.outputs.filter(({ name }) => !names.includes(name)),
    });
    const tokens = await settingsFor(without("vector"));
    assert.equal(tokens.outputs[0]!.name, "tokens");
    const maps = await settingsFor(without("vector", "tokens", "s4"));
    assert.deepEqual(maps.outputs, [
      { name: "s8", window: 48, pooling: "mean" },
    ]);
  },
);

testEncoder("a vector of any size is that of 224 px", async () => {
  const { outputs, ...network } = fixtureNetwork();
  const vector = outputs.filter(({ name }) => name === "vector");
  const settings = await settingsFor({ ...network, outputs: vector });
  assert.equal(settings.inputSize, 224);
  assert.equal(settings.channels, 5);
});

testEncoder(
  "without metadata, ImageNet's; of bytes, divided by 255",
  async () => {
    const { metadata: _, ...network } = fixtureNetwork();
    const plain = await settingsFor(network);
    assert.deepEqual(plain.mean, [0.485, 0.456, 0.406]);
    const bytes = await settingsFor({
      ...network,
      metadata: { mean: "[51, 0, 255]", std: "[255,51,102]", range: "[0,255]" },
    });
    assert.deepEqual(bytes.mean, [0.2, 0, 1]);
    assert.deepEqual(bytes.deviation, [1, 0.2, 0.4]);
  },
);

testEncoder("metadata that cannot be followed are named", async () => {
  const network = fixtureNetwork();
  for (
    const [metadata, message] of [
      [{ channels: "BGR" }, /its metadata ask for BGR; export it for RGB/],
      [{ mean: "0.5" }, /its metadata have mean = 0\.5; it must be three/],
      [{ std: "[1, 2]" }, /its metadata have std = \[1, 2\]; it must be three/],
    ] as const
  ) {
    await assert.rejects(settingsFor({ ...network, metadata }), {
      name: "EncoderError",
      message,
    });
  }
});

testEncoder("the report of the fixture", async () => {
  const report = await inspectEncoder(FIXTURE, { threads: 1 });
  assert.equal(report.producer, "zoomin 1");
  assert.equal(report.opset, 17);
  assert.equal(report.metadata.source, "random weights");
  assert.deepEqual(report.input.shape, ["n", 3, "height", "width"]);
  assert.deepEqual(
    report.outputs.map(({ name, kind, channels, stride }) => [
      name,
      kind,
      channels,
      stride,
    ]),
    [
      ["s4", "maps", 8, 4],
      ["s8", "maps", 12, 8],
      ["vector", "vector", 5, null],
      ["tokens", "tokens", 12, null],
    ],
  );
  assert.ok(report.milliseconds > 0);
  assert.equal(report.bytes, (await Deno.stat(FIXTURE)).size);
  const signal = AbortSignal.abort(new Error("enough"));
  await assert.rejects(inspectEncoder(FIXTURE, { signal }), /enough/);
});

testEncoder(
  "EfficientNet-Lite0 is recognised, and works as it is",
  async () => {
    const settings = await encoderSettings(LITE0!);
    assert.deepEqual(settings, LITE0_SETTINGS);
    const encoder = await openOnnxEncoder(settings, { engine: "wasm" });
    const data = new Float32Array(64 * 64 * 3).map((_, i) =>
      (i * i % 251) / 250
    );
    const picture = { data, count: 1, height: 64, width: 64 };
    const one = await encoder.features(picture, [[{ x: 32, y: 32 }]]);
    const again = await encoder.features(picture, [[{ x: 32, y: 32 }]]);
    assert.equal(one.length, 472);
    assert.equal(maxError(one, again), 0);
    await encoder.dispose();
  },
  { ignore: LITE0 === undefined },
);

testEncoder(
  "the whole image is seen at half scale, at the place itself",
  async () => {
    const { scale, outputs } = await encoderSettings(FIXTURE, "large");
    assert.equal(scale, 1);
    assert.ok(outputs.every(({ window }) => window === 0));
    const { scale: half, ...rest } = (await overviewSettings(FIXTURE))!;
    assert.equal(half, 0.5);
    assert.deepEqual(rest.outputs, outputs);
    const closeUp = (await closeUpSettings(FIXTURE))!;
    assert.deepEqual(closeUp, { inputSize: 64, ...rest });
  },
);
