import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import {
  ATTENTION_RADIUS,
  attentionLogits,
  featureChannels,
  features,
  type FeatureSettings,
  type StatisticUpdates,
} from "../../lib/model/networks.ts";
import { parameterSpecs } from "./specs.ts";
import { classify } from "../../lib/model/head.ts";
import {
  disposeParameters,
  initialParameters,
  isTrained,
  type Parameters,
  type ParameterSpec,
} from "../../lib/model/parameters.ts";
import { minSubTile, type TrainedFeatures } from "../../lib/model/config.ts";
import { maxError, testOnEngines } from "../engines.ts";
import { normals, normalTensor } from "../finite_differences.ts";

const NETWORKS = ["lenet", "resnet", "ats"] as const;

/** The published settings of a trained f. */
function settings(features: TrainedFeatures): FeatureSettings {
  return { features, pooling: "mean", unitLength: true };
}

/** Numbers that training changes in one of the four networks. */
function trainedSize(features: TrainedFeatures, net: string): number {
  return parameterSpecs(features, 2)
    .filter((spec) => spec.name.startsWith(`${net}/`) && isTrained(spec))
    .reduce((sum, { shape }) => sum + tf.util.sizeFromShape(shape), 0);
}

Deno.test("the networks have as many parameters as published", () => {
  for (const network of NETWORKS) {
    assert.equal(trainedSize(network, "a"), 881);
    assert.equal(trainedSize(network, "b"), 881);
  }
  assert.equal(trainedSize("lenet", "f"), 45_984);
  assert.equal(trainedSize("lenet", "g"), 48 * 2 + 2);
  // conv3x3 3->48, 3 blocks of 2 x (48 x 48 x 9 + 48), 1x1 shortcut, 2 norms; a norm
  assert.equal(
    trainedSize("resnet", "f"),
    1344 + 3 * (2 * 20_784 + 2352 + 2 * 96) + 96,
  );
  // conv7x7 3->32, three conv3x3 32->32
  assert.equal(trainedSize("ats", "f"), 4736 + 3 * 9248);
  assert.equal(trainedSize("ats", "g"), 32 * 2 + 2);
});

Deno.test("parameters of all networks have names of their own", () => {
  for (const network of NETWORKS) {
    const names = parameterSpecs(network, 10).map(({ name }) => name);
    assert.equal(new Set(names).size, names.length);
  }
});

function parametersOf(network: TrainedFeatures, classes = 2) {
  const specs = parameterSpecs(network, classes);
  return initialParameters(specs, { initialisation: "he", seed: 1 });
}

/** Fails if the gradient's length is not the slope of the loss along itself. */
async function assertSlope(
  loss: () => tf.Scalar,
  variables: tf.Variable[],
  message = "",
): Promise<void> {
  const { value, grads } = tf.variableGrads(loss, variables);
  const square = tf.tidy(() =>
    tf.sum(
      tf.stack(
        variables.map(({ name }) => tf.sum(tf.square(grads[name]!))),
      ),
    )
  );
  const length = Math.sqrt((await square.data())[0]!);
  const lossAt = async (shift: number) => {
    const start = variables.map((variable) => variable.clone());
    const moved = tf.tidy(() => {
      for (const variable of variables) {
        const by = tf.mul(grads[variable.name]!, shift / length);
        variable.assign(tf.add(variable, by));
      }
      return loss();
    });
    variables.forEach((variable, i) => variable.assign(start[i]!));
    const result = (await moved.data())[0]!;
    tf.dispose([moved, ...start]);
    return result;
  };
  const step = 2e-3; // short of most kinks of ReLU and pooling
  const slope = (await lossAt(step) - await lossAt(-step)) / (2 * step);
  const error = Math.abs(slope / length - 1);
  assert.ok(
    error < 0.02,
    `${message} ${slope}, not ${length}`,
  );
  tf.dispose([value, square, ...Object.values(grads)]);
}

// Sub-tiles of the published experiments, px. On webgpu the smallest two.
const SIZES = { wasm: [27, 32, 50, 100], webgpu: [27, 32] };

for (const network of NETWORKS) {
  testOnEngines(
    `${network}: features and gradient of any sub-tile`,
    async ({ backend }) => {
      const parameters = parametersOf(network);
      const trained = parameterSpecs(network, 2).filter(({ name }) =>
        name.startsWith("f/")
      ).filter(isTrained);
      for (const size of SIZES[backend]) {
        const x = normalTensor<tf.Rank.R4>([1, size, size, 3], size);
        const direction = normalTensor<tf.Rank.R2>(
          [1, featureChannels[network]],
          2,
        );
        const { value, grads } = tf.variableGrads(
          () =>
            tf.sum(
              tf.mul(features(parameters, settings(network), x), direction),
            ) as tf.Scalar,
          trained.map(({ name }) => parameters.get(name)!),
        );
        assert.ok(Number.isFinite((await value.data())[0]));
        for (const { name, shape } of trained) {
          const gradient = grads[parameters.get(name)!.name]!;
          assert.deepEqual(gradient.shape, shape);
          const values = await gradient.data();
          assert.ok(values.every(Number.isFinite), name);
          assert.ok(values.some((value) => value !== 0), name);
        }
        tf.dispose([x, direction, value, ...Object.values(grads)]);
      }
      disposeParameters(parameters);
    },
  );

  testOnEngines(
    `${network}: the gradient is the slope along itself`,
    async () => {
      const parameters = parametersOf(network);
      const x = normalTensor<tf.Rank.R4>([3, 16, 15, 3], 1);
      const direction = normalTensor<tf.Rank.R2>(
        [3, featureChannels[network]],
        2,
      );
      const trained = parameterSpecs(network, 2).filter(isTrained)
        .filter(({ name }) => name.startsWith("f/"));
      const variables = trained.map(({ name }) => parameters.get(name)!);
      for (const training of network === "resnet" ? [false, true] : [false]) {
        const loss = () =>
          tf.sum(tf.mul(
            features(
              parameters,
              settings(network),
              x,
              training ? { updates: new Map() } : {},
            ),
            direction,
          )) as tf.Scalar;
        await assertSlope(loss, variables, `training ${training}`);
      }
      tf.dispose([x, direction]);
      disposeParameters(parameters);
    },
  );

  testOnEngines(
    `${network}: features have unit length, image by image`,
    async () => {
      const parameters = parametersOf(network);
      const x = normalTensor<tf.Rank.R4>([4, 21, 21, 3], 3);
      const both = tf.tidy(() => [
        features(parameters, settings(network), x),
        features(
          parameters,
          settings(network),
          tf.slice(x, [2, 0, 0, 0], [1, -1, -1, -1]),
        ),
      ]) as [tf.Tensor2D, tf.Tensor2D];
      const all = await both[0].array();
      for (const row of all) assert.ok(Math.abs(Math.hypot(...row) - 1) < 1e-5);
      assert.ok(maxError(await both[1].data(), all[2]!) < 1e-5);
      tf.dispose([x, ...both]);
      disposeParameters(parameters);
    },
  );
}

testOnEngines("training moves the statistics a tenth of the way", async () => {
  const parameters = parametersOf("resnet");
  const x = normalTensor<tf.Rank.R4>([2, 12, 12, 3], 4);
  const updates: StatisticUpdates = new Map();
  const first = tf.tidy(() => {
    features(parameters, settings("resnet"), x, { updates });
    for (const update of updates.values()) tf.keep(update);
    // The input of the first normalisation: the first convolution.
    const h = tf.conv2d(
      x,
      parameters.get("f/conv1/weight") as tf.Tensor4D,
      1,
      "same",
    );
    const { mean, variance } = momentsOf(h);
    return { mean, variance };
  });
  const statistics = parameterSpecs("resnet", 2)
    .filter((spec) => !isTrained(spec)).map(({ name }) => name);
  assert.deepEqual([...updates.keys()].sort(), statistics.sort());
  const mean = await first.mean.data(), variance = await first.variance.data();
  const movedMean = await updates.get("f/block1/norm1/movingMean")!.data();
  const movedVariance = await updates.get("f/block1/norm1/movingVariance")!
    .data();
  assert.ok(maxError(movedMean, mean.map((m) => 0.1 * m)) < 1e-5); // from 0
  assert.ok(maxError(movedVariance, variance.map((v) => 0.9 + 0.1 * v)) < 1e-5);
  tf.dispose([x, ...Object.values(first), ...updates.values()]);
  disposeParameters(parameters);
});

function momentsOf(x: tf.Tensor4D) {
  const mean = tf.mean(x, [0, 1, 2]);
  return { mean, variance: tf.mean(tf.square(tf.sub(x, mean)), [0, 1, 2]) };
}

testOnEngines("attention has one logit a pixel, from 7 x 7 px", async () => {
  const parameters = parametersOf("lenet");
  assert.equal(ATTENTION_RADIUS, 3);
  for (const net of ["a", "b"] as const) {
    const values = normals(2 * 9 * 11 * 3, 5);
    const logitsOf = async (data: Float32Array) => {
      const logits = tf.tidy(() =>
        attentionLogits(parameters, net, tf.tensor4d(data, [2, 9, 11, 3]))
      );
      assert.deepEqual(logits.shape, [2, 9, 11]);
      const result = await logits.data();
      logits.dispose();
      return result;
    };
    const before = await logitsOf(values);
    values[((9 + 4) * 11 + 5) * 3] = 9; // image 1, row 4, column 5
    const after = await logitsOf(values);
    let changed = 0;
    after.forEach((value, at) => {
      const image = Math.floor(at / 99), row = Math.floor(at / 11) % 9;
      const near = image === 1 && Math.abs(row - 4) <= 3 &&
        Math.abs(at % 11 - 5) <= 3;
      if (Math.abs(value - before[at]!) > 1e-6) {
        assert.ok(near, `${net}: image ${image}, ${row}, ${at % 11}`);
        changed++;
      }
    });
    assert.ok(changed > 20);
  }
  disposeParameters(parameters);
});

testOnEngines("the classifier is linear", async () => {
  const parameters = parametersOf("lenet", 3);
  const bias = parameters.get("g/bias")!;
  tf.tidy(() => bias.assign(tf.tensor1d([1, 2, 3])));
  const x = normalTensor<tf.Rank.R2>([2, 48], 6);
  const logits = tf.tidy(() => classify(parameters, x));
  const weight = await parameters.get("g/weight")!.array() as number[][];
  const rows = await x.array();
  const expected = rows.flatMap((row) =>
    [0, 1, 2].map((c) =>
      row.reduce((sum, value, k) => sum + value * weight[k]![c]!, c + 1)
    )
  );
  assert.ok(maxError(await logits.data(), expected) < 1e-5);
  tf.dispose([x, logits]);
  disposeParameters(parameters);
});

testOnEngines("a parameter that is missing is named", () => {
  const none: Parameters = new Map();
  const spec: ParameterSpec = parameterSpecs("lenet", 2)[0]!;
  assert.throws(
    () => tf.tidy(() => attentionLogits(none, "a", tf.zeros([1, 2, 2, 3]))),
    new RegExp(`^RangeError: Cannot find the parameter "${spec.name}"`),
  );
});

testOnEngines(
  "centred features: less the moving mean, then of unit length",
  async () => {
    const specs = parameterSpecs("lenet", 2, { centreFeatures: true });
    const parameters = initialParameters(specs, {
      initialisation: "he",
      seed: 5,
    });
    const plain = new Map(
      [...parameters].filter(([name]) => name !== "f/centre"),
    );
    const x = normalTensor([6, 16, 16, 3], 7) as tf.Tensor4D;
    const updates: StatisticUpdates = new Map();
    const cosine = (rows: tf.Tensor2D) =>
      tf.tidy(() => {
        const [count] = rows.shape;
        const length = tf.sum(tf.square(tf.sum(rows, 0))).dataSync()[0]!;
        return (length - count) / (count * (count - 1));
      });
    const before = tf.tidy(() => features(plain, settings("lenet"), x));
    const first = tf.tidy(() => {
      const rows = features(parameters, settings("lenet"), x, { updates });
      for (const update of updates.values()) tf.keep(update);
      return rows;
    });
    const mean = await updates.get("f/centre")!.data(); // 0.1 x the batch's mean
    tf.tidy(() =>
      parameters.get("f/centre")!.assign(tf.mul(updates.get("f/centre")!, 10))
    );
    const after = tf.tidy(() => features(parameters, settings("lenet"), x));
    assert.ok(mean.some((value) => value > 0));
    // A centre of zero changes nothing.
    assert.ok(maxError(await first.data(), await before.data()) < 1e-6);
    if (tf.getBackend() === "wasm") {
      assert.ok(cosine(before) > 0.8, `${cosine(before)}`);
      assert.ok(cosine(after) < 0.1, `${cosine(after)}`);
    }
    const lengths = tf.tidy(() => tf.sum(tf.square(after), 1));
    assert.ok(maxError(await lengths.data(), new Array(6).fill(1)) < 1e-5);
    tf.dispose([x, before, first, after, lengths, ...updates.values()]);
    disposeParameters(parameters);
  },
);

testOnEngines(
  "each network reads the least sub-tile that it may get",
  async () => {
    for (const network of NETWORKS) {
      const parameters = parametersOf(network);
      const read = async (side: number) => {
        const subTiles = tf.ones<tf.Rank.R4>([2, side, side, 3]);
        const read = tf.tidy(() =>
          features(parameters, settings(network), subTiles)
        );
        const values = await read.data();
        tf.dispose([subTiles, read]);
        return values;
      };
      const least = minSubTile[network];
      assert.ok((await read(least)).every(Number.isFinite), network);
      if (least > 1) {
        assert.throws(
          () =>
            tf.tidy(() =>
              features(
                parameters,
                settings(network),
                tf.ones([2, least - 1, least - 1, 3]),
              )
            ),
          /nothing is left/,
        );
      }
      disposeParameters(parameters);
    }
  },
);

testOnEngines("max pooling: the largest px of each channel", async () => {
  const parameters = parametersOf("ats"); // ends in a ReLU, without a pool
  const x = normalTensor<tf.Rank.R4>([2, 15, 14, 3], 5);
  const of = (pooling: FeatureSettings["pooling"], unitLength: boolean) =>
    tf.tidy(() =>
      features(parameters, { features: "ats", pooling, unitLength }, x)
    );
  const [mean, largest, unit] = [
    of("mean", false),
    of("max", false),
    of("max", true),
  ];
  const values = await largest.data();
  const means = await mean.data();
  assert.ok(values.every((value, i) => value >= means[i]!));
  assert.ok(values.some((value, i) => value > 2 * means[i]!));
  for (const [row, features] of (await unit.array()).entries()) {
    const own = values.subarray(row * 32, (row + 1) * 32);
    const length = Math.hypot(...own);
    assert.ok(maxError(features, own.map((value) => value / length)) < 1e-4);
  }
  tf.dispose([x, mean, largest, unit]);
  disposeParameters(parameters);
});

testOnEngines(
  "max pooling: the gradient is the slope along itself",
  async () => {
    for (const unitLength of [false, true]) {
      const parameters = parametersOf("lenet");
      const x = normalTensor<tf.Rank.R4>([3, 16, 15, 3], 1);
      const direction = normalTensor<tf.Rank.R2>([3, 48], 2);
      const names = parameterSpecs("lenet", 2).filter(isTrained)
        .filter(({ name }) => name.startsWith("f/"));
      const variables = names.map(({ name }) => parameters.get(name)!);
      const loss = () =>
        tf.sum(tf.mul(
          features(
            parameters,
            { features: "lenet", pooling: "max", unitLength },
            x,
          ),
          direction,
        )) as tf.Scalar;
      await assertSlope(loss, variables);
      tf.dispose([x, direction]);
      disposeParameters(parameters);
    }
  },
);
