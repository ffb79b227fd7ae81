/**
 * The two networks of {@linkcode ./networks.ts} forward, beside ONNX Runtime on
 * one thread of the CPU: its file holds the same weights, and the results are
 * compared.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { Session } from "../../lib/encoder/onnx/runtime.ts";
import type { Engine } from "../../lib/engine/select.ts";
import { attentionLogits, features } from "../../lib/model/networks.ts";
import {
  disposeParameters,
  initialParameters,
  type Parameters,
} from "../../lib/model/parameters.ts";
import { preset } from "../../lib/model/presets.ts";
import {
  onnxFile,
  type Operation,
  type Weights,
} from "../encoder/onnx_files.ts";
import { normalTensor } from "../finite_differences.ts";
import { parameterSpecs } from "../model/specs.ts";
import { type Bench, type Benchmark, timed } from "./measure.ts";

/** A network: its input, its layers, and what follows each of them. */
interface Chain {
  input: [number, number, number, number];
  layers: readonly { name: string; kernel: number; relu: boolean }[];
  /** Layers are pooled, and the last one's mean has unit length. */
  isPooled: boolean;
  forward(parameters: Parameters, images: tf.Tensor4D): tf.Tensor;
}

const CHAINS: Record<string, Chain> = {
  attention: {
    input: [1, 512, 512, 3],
    layers: [1, 2, 3].map((i) => ({
      name: `a/conv${i}`,
      kernel: 3,
      relu: i < 3,
    })),
    isPooled: false,
    forward: (parameters, images) => attentionLogits(parameters, "a", images),
  },
  feature: {
    input: [32, 27, 27, 3],
    layers: [1, 2].map((i) => ({ name: `f/conv${i}`, kernel: 5, relu: true })),
    isPooled: true,
    forward: (parameters, images) =>
      features(parameters, preset("needle").network, images),
  },
};

export const onnxRuntimeBenchmarks: Record<string, Benchmark> = {
  "onnxruntime-attention": (engine) => besideOnnxRuntime(engine, "attention"),
  "onnxruntime-feature": (engine) => besideOnnxRuntime(engine, "feature"),
};

async function besideOnnxRuntime(
  { backend }: Engine,
  net: string,
): Promise<Bench> {
  if (backend !== "wasm") return { subjects: [], dispose() {} };
  const chain = CHAINS[net]!;
  const parameters = initialParameters(parameterSpecs("lenet", 2), {
    initialisation: "he",
    seed: 1,
  });
  const images = normalTensor(chain.input, 2) as tf.Tensor4D;
  const folder = await Deno.makeTempDir({ prefix: "zoomin-bench-" });
  const path = join(folder, "network.onnx");
  await Deno.writeFile(path, onnxFile(await networkOf(chain, parameters)));
  const session = await Session.open(path, { engine: "wasm", threads: 1 });
  const [n, height, width, channels] = chain.input;
  const planes = tf.transpose(images, [0, 3, 1, 2]);
  const feed = {
    name: "x",
    data: await planes.data() as Float32Array,
    dims: [n, channels, height, width],
  };
  planes.dispose();
  const ours = async () => {
    const result = tf.tidy(() => chain.forward(parameters, images));
    const values = await result.data();
    result.dispose();
    return values;
  };
  const theirs = async () => (await session.run(feed, ["y"])).get("y")!;
  await assertEqual(await ours(), await theirs());
  return {
    subjects: [{
      ours: () => timed(async () => void await ours()),
      stock: () => timed(async () => void await theirs()),
      note: `${chain.input.join("x")}, forward; stock: ONNX Runtime, 1 thread`,
    }],
    dispose() {
      images.dispose();
      disposeParameters(parameters);
      session.dispose();
      Deno.removeSync(folder, { recursive: true });
    },
  };
}

async function networkOf(chain: Chain, parameters: Parameters) {
  const weights: Weights[] = [],
    operations: (Operation & { outputs: string[] })[] = [];
  let last = "x";
  const add = (op: string, inputs: string[], attributes = {}) => {
    const name = `${op}${operations.length}`;
    operations.push({
      op,
      inputs: [last, ...inputs],
      outputs: [name],
      attributes,
    });
    last = name;
  };
  for (const { name, kernel, relu } of chain.layers) {
    const filter = parameters.get(`${name}/weight`)!;
    const [, , from, to] = filter.shape as [number, number, number, number];
    const turned = tf.tidy(() => tf.transpose(filter, [3, 2, 0, 1]));
    const values = [...await turned.data()];
    turned.dispose();
    const bias = [...await parameters.get(`${name}/bias`)!.data()];
    weights.push(
      { name: `${name}/w`, dims: [to, from, kernel, kernel], values },
      { name: `${name}/b`, dims: [to], values: bias },
    );
    const pad = (kernel - 1) / 2;
    add("Conv", [`${name}/w`, `${name}/b`], {
      kernel_shape: [kernel, kernel],
      pads: [pad, pad, pad, pad],
    });
    if (relu) add("Relu", []);
    if (chain.isPooled) {
      add("MaxPool", [], { kernel_shape: [2, 2], strides: [2, 2] });
    }
  }
  if (chain.isPooled) {
    add("GlobalAveragePool", []);
    add("LpNormalization", [], { axis: 1, p: 2 });
  }
  operations.at(-1)!.outputs = ["y"];
  const [n, height, width, channels] = chain.input;
  return {
    inputs: [{ name: "x", shape: [n, channels, height, width] }],
    outputs: [{ name: "y", shape: ["n", "c", "h", "w"] }],
    weights,
    operations,
  };
}

/** Compares ours, pixel by pixel, with planes. */
function assertEqual(
  ours: ArrayLike<number>,
  { data, dims: [n = 1, channels = 1, height = 1, width = 1] }: {
    data: Float32Array;
    dims: readonly number[];
  },
): void {
  assert.equal(ours.length, data.length);
  const places = height * width;
  let worst = 0;
  for (let image = 0; image < n; image++) {
    for (let c = 0; c < channels; c++) {
      for (let at = 0; at < places; at++) {
        const mine = ours[(image * places + at) * channels + c]!;
        worst = Math.max(
          worst,
          Math.abs(mine - data[(image * channels + c) * places + at]!),
        );
      }
    }
  }
  assert.ok(worst < 1e-3, `results differ by ${worst}`);
}
