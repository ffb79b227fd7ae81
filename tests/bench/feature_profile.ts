/**
 * Time of the feature network's forward pass on webgpu, layer by layer, beside
 * the device's peak rate of multiply-adds: alone, and with
 * weights that are read from a buffer, each for the 4 pixels that a convolution
 * has in hand.
 *
 * A layer is timed on its own, until one value of its result is read back.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { CONV } from "../../kernels/conv/conv.ts";
import { Kernel, type TfjsWebGpuInternals } from "../../kernels/gpu.ts";
import { maxPool } from "../../kernels/pool/max_pool.ts";
import type { Engine } from "../../lib/engine/select.ts";
import { unitRows } from "../../kernels/unit_rows/unit_rows.ts";
import { normalTensor } from "../finite_differences.ts";
import { type Bench, type Benchmark, sideBySide, timed } from "./measure.ts";

export const featureProfileBenchmarks: Record<string, Benchmark> = {
  "profile-feature-forward": profileFeatureForward,
};

const BATCH = 32, KERNEL = 5;

/** One layer: its input, what it computes, and its multiply-adds. */
interface Layer {
  name: string;
  compute: () => tf.Tensor;
  products: number;
}

async function profileFeatureForward({ backend }: Engine): Promise<Bench> {
  if (backend !== "webgpu") return { subjects: [], dispose() {} };
  const tensors: tf.Tensor[] = [];
  const tensor = (...shape: number[]) => {
    tensors.push(normalTensor(shape, tensors.length + 1));
    return tensors.at(-1)!;
  };
  const conv = (side: number, inputs: number, outputs: number): Layer => {
    const x = tensor(BATCH, side, side, inputs), bias = tensor(outputs);
    const filter = tensor(KERNEL, KERNEL, inputs, outputs);
    return {
      name: `conv ${KERNEL}x${KERNEL}, ${inputs} to ${outputs}`,
      compute: () =>
        tf.engine().runKernel(CONV, { x, filter, bias }, {
          stride: 1,
          padding: 2,
          relu: true,
        }),
      products: BATCH * (side * KERNEL) ** 2 * inputs * outputs,
    };
  };
  const pool = (side: number, channels: number): Layer => {
    const x = tensor(BATCH, side, side, channels) as tf.Tensor4D;
    return {
      name: `max pool of ${side}x${side}x${channels}`,
      compute: () => maxPool(x),
      products: 0,
    };
  };
  const last = tensor(BATCH, 6, 6, 48) as tf.Tensor4D;
  const layers: Layer[] = [
    conv(27, 3, 36),
    pool(27, 36),
    conv(13, 36, 48),
    pool(13, 48),
    {
      name: "mean and norm",
      compute: () => {
        const mean = tf.reshape(tf.avgPool(last, 6, 1, "valid"), [BATCH, -1]);
        return unitRows(mean as tf.Tensor2D);
      },
      products: 0,
    },
    multiplyAdds("multiply-adds alone", { perWeight: Infinity }),
    multiplyAdds("multiply-adds, a weight of a buffer for every 4", {
      perWeight: 4,
    }),
  ];
  const times: number[] = [];
  for (const { compute } of layers) {
    const { oursMs } = await sideBySide({
      ours: () => firstValue(compute),
      note: "",
    });
    times.push(oursMs);
  }
  tf.dispose(tensors);
  return {
    subjects: layers.map(({ name, products }, i) => ({
      ours: () => Promise.resolve(times[i]!),
      note: products === 0 ? name : `${name}: ${rate(products, times[i]!)}`,
    })),
    dispose() {},
  };
}

function firstValue(compute: () => tf.Tensor): Promise<number> {
  return timed(async () => {
    const value = tf.tidy(() => {
      const all = tf.reshape(compute(), [-1]);
      return tf.slice(all, [0], [1]);
    });
    await value.data();
    value.dispose();
  });
}

function rate(products: number, ms: number): string {
  return `${(2 * products / ms / 1e6).toFixed(0)} GFLOP/s`;
}

const GROUP = 64, GROUPS = 1000;
// Few enough for registers, and independent: none waits for another.
const SUMS = 16, ROUNDS = 192, WEIGHTS = 256;

function multiplyAdds(
  name: string,
  { perWeight }: { perWeight: number },
): Layer {
  const kernel = new Kernel(name, multiplyAddsCode(perWeight));
  return {
    name,
    compute: () => {
      const backend = tf.backend() as unknown as TfjsWebGpuInternals;
      const out = backend.makeTensorInfo([GROUPS * GROUP], "float32");
      kernel.run(backend, {
        params: new Uint32Array([GROUPS]),
        inputs: [tf.ones([WEIGHTS])],
        outputs: [out],
        groups: GROUPS,
      });
      return tf.engine().makeTensorFromTensorInfo(out);
    },
    products: GROUPS * GROUP * SUMS * ROUNDS,
  };
}

/** A straight line: no early return, for the reasons of webgpu/plan.ts. */
function multiplyAddsCode(perWeight: number): string {
  const lines = Array.from({ length: SUMS * ROUNDS }, (_, i) => {
    const weight = Number.isFinite(perWeight)
      ? `weights[${Math.floor(i / perWeight) % WEIGHTS}]`
      : "weight";
    return `  sum${i % SUMS} += x${i % 4} * ${weight};`;
  });
  const sums = Array.from({ length: SUMS }, (_, k) => k);
  return `
@group(0) @binding(0) var<uniform> groups: u32;
@group(0) @binding(1) var<storage, read> weights: array<f32, ${WEIGHTS}>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(${GROUP})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let x0 = f32(id.x % groups);
  let x1 = x0 + 1.0;
  let x2 = x0 + 2.0;
  let x3 = x0 + 3.0;
  let weight = weights[id.x % ${WEIGHTS}u];
${sums.map((k) => `  var sum${k} = f32(id.x + ${k}u);`).join("\n")}
${lines.join("\n")}
  y[id.x] = ${sums.map((k) => `sum${k}`).join(" + ")};
}
`;
}
