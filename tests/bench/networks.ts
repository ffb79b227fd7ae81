/**
 * The two networks that a step spends its time in, forward, and forward with
 * all gradients of the weights:
 *
 * - attention: 3x3, 3-8-8-1, on 1x512x512x3;
 * - feature: 5x5, 3-36, pool, 36-48, pool, on 32x27x27x3.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { preset } from "../../lib/model/presets.ts";
import { attentionLogits, features } from "../../lib/model/networks.ts";
import { parameterSpecs } from "../model/specs.ts";
import {
  disposeParameters,
  initialParameters,
} from "../../lib/model/parameters.ts";
import { normalTensor } from "../finite_differences.ts";
import { type Bench, type Benchmark, timed } from "./measure.ts";
import { besideStock } from "./stock.ts";

type Net = "attention" | "feature";
type Shape4D = [number, number, number, number];

const INPUTS: Record<Net, Shape4D> = {
  attention: [1, 512, 512, 3],
  feature: [32, 27, 27, 3],
};

export const networkBenchmarks: Record<string, Benchmark> = {
  "attention-forward": () => bench("attention", false),
  "attention-gradient": () => bench("attention", true),
  "feature-forward": () => bench("feature", false),
  "feature-gradient": () => bench("feature", true),
};

function bench(net: Net, backward: boolean): Bench {
  const parameters = initialParameters(parameterSpecs("lenet", 2), {
    initialisation: "he",
    seed: 1,
  });
  const images = normalTensor(INPUTS[net], 2) as tf.Tensor4D;
  const prefix = net === "attention" ? "a/" : "f/";
  const weights = [...parameters]
    .filter(([name]) => name.startsWith(prefix))
    .map(([, variable]) => variable);
  const output = () =>
    net === "attention"
      ? attentionLogits(parameters, "a", images)
      : features(parameters, preset("needle").network, images);
  const once = () =>
    timed(async () => {
      const results = tf.tidy(() =>
        backward
          ? Object.values(
            tf.variableGrads(() => tf.sum(output()), weights).grads,
          )
          : [output()]
      );
      await results.at(-1)!.data();
      tf.dispose(results);
    });
  return {
    subjects: [{
      ...besideStock(
        once,
        `${INPUTS[net].join("x")}, ${
          backward ? "forward and backward" : "forward"
        }`,
      ),
      operations: operationsOf(net, backward),
    }],
    dispose() {
      images.dispose();
      disposeParameters(parameters);
    },
  };
}

/** Two for each product: the image's own gradient is not computed. */
function operationsOf(net: Net, backward: boolean): number {
  const [n, height, width] = INPUTS[net];
  const pooled = (side: number, layer: number) => Math.floor(side / 2 ** layer);
  const layers = CONVOLUTIONS[net].map(({ kernel, inputs, outputs }, i) => {
    const places = net === "attention"
      ? height * width
      : pooled(height, i) * pooled(width, i);
    const directions = backward ? (i === 0 ? 2 : 3) : 1;
    return 2 * n * places * kernel ** 2 * inputs * outputs * directions;
  });
  return layers.reduce((sum, one) => sum + one, 0);
}

const CONVOLUTIONS = {
  attention: [
    { kernel: 3, inputs: 3, outputs: 8 },
    { kernel: 3, inputs: 8, outputs: 8 },
    { kernel: 3, inputs: 8, outputs: 1 },
  ],
  feature: [
    { kernel: 5, inputs: 3, outputs: 36 },
    { kernel: 5, inputs: 36, outputs: 48 },
  ],
} as const;
