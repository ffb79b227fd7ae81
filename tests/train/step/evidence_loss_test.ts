import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import { randomKey, RandomStream } from "../../../kernels/random.ts";
import { Memory } from "../../../lib/memory.ts";
import { lookWhole } from "../../../lib/model/look/whole.ts";
import type { WholeLook } from "../../../lib/model/look/whole_look.ts";
import type { Model } from "../../../lib/model/model.ts";
import { disposeParameters } from "../../../lib/model/parameters.ts";
import { score } from "../../../lib/model/zoom_in.ts";
import type { Draws } from "../../../lib/sampling/expectation.ts";
import { disposeBackward } from "../../../lib/train/step/backward.ts";
import { evidenceLoss } from "../../../lib/train/step/evidence_loss.ts";
import { backward } from "../../../lib/train/step/micro_batch.ts";
import { testOnEngines, testOnWasm } from "../../engines.ts";
import { normals } from "../../finite_differences.ts";
import {
  noiseImage,
  toyModel,
  type ToyOptions,
  trainedParameters,
} from "../../model/toy.ts";
import { figuresOfPass } from "../passes.ts";

const SMOOTHING = 0.05, BACKGROUND_PROPOSAL = 0.2;

/** Sets of classes; the background is not always the first, nor always there. */
const SETS: Record<string, { classes: string[]; background: string | null }> = {
  "two classes": { classes: ["none", "one"], background: "none" },
  "background last": { classes: ["one", "none"], background: "none" },
  "four classes": { classes: ["A", "B", "none", "C"], background: "none" },
  "three without background": { classes: ["A", "B", "C"], background: null },
  "a background of other data": { classes: ["A", "B"], background: "none" },
};

/** Draws of three images: their tiles, and the sub-tiles of each. */
const DRAWS: Draws = {
  samples: 4,
  rowOf: Int32Array.of(0, 0, 1, 2, 2),
  counts: Int32Array.of(3, 1, 4, 2, 2),
  drawn: Int32Array.of(3, 1, 2, 2, 1),
};
const SUB_TILES = 9;

/** Tile and image of each sub-tile. */
function placesOf({ rowOf, drawn }: Draws): { tile: number; row: number }[] {
  return [...drawn].flatMap((count, tile) =>
    Array.from({ length: count }, () => ({ tile, row: rowOf[tile]! }))
  );
}

/** Numbers of a look that was scored, `own` classes with a logit. */
function scored(own: number, seed: number) {
  const stream = new RandomStream(randomKey(seed));
  const shares = Array.from(
    { length: SUB_TILES },
    () => Array.from({ length: own }, () => stream.uniform()),
  );
  return {
    evidence: Array.from(
      { length: 3 },
      (_, row) => [...normals(own, seed + 10 + row)],
    ),
    logits: Array.from(
      { length: SUB_TILES },
      (_, s) => [...normals(own, seed + 20 + s)],
    ),
    shares,
    tiles: Array.from({ length: 5 }, () => 0.05 + stream.uniform()),
    subTiles: Array.from({ length: SUB_TILES }, () => 0.05 + stream.uniform()),
  };
}

/** The loss by plain loops; `labels` of three images of a batch of `of`. */
function lossByLoops(
  { classes, background }: typeof SETS[string],
  { evidence, logits, shares, tiles, subTiles }: ReturnType<typeof scored>,
  { labels, of, weights }: { labels: number[]; of: number; weights: number[] },
): number {
  const own = classes.filter((name) => name !== background);
  const places = placesOf(DRAWS);
  let loss = 0;
  labels.forEach((label, row) => {
    const all = classes.map((name) =>
      name === background ? 0 : evidence[row]![own.indexOf(name)]!
    );
    const sum = all.reduce((sum, z) => sum + Math.exp(z), 0);
    classes.forEach((_, k) => {
      const target = k === label
        ? 1 - SMOOTHING
        : SMOOTHING / (classes.length - 1);
      loss -= weights[label]! * target * Math.log(Math.exp(all[k]!) / sum) / of;
    });
    const isBackground = classes[label] === background;
    const mine = [...places.keys()].filter((s) => places[s]!.row === row);
    for (const s of mine) {
      if (isBackground) {
        for (const z of logits[s]!) {
          loss += Math.log(1 + Math.exp(z)) / own.length / mine.length / of;
        }
      }
      const p = isBackground
        ? shares[s]!.reduce((a, b) => a + b) / own.length
        : shares[s]![own.indexOf(classes[label]!)]!;
      const attention = tiles[places[s]!.tile]! * subTiles[s]!;
      const weight = isBackground ? BACKGROUND_PROPOSAL : 1;
      loss -= weight * p * Math.log(attention) / of;
    }
  });
  return loss;
}

testOnEngines("the loss of evidence is that of plain loops", async () => {
  for (const [name, set] of Object.entries(SETS)) {
    const { classes, background } = set;
    const model = {
      config: { ...toyModelConfig(), referenceClass: background },
      classes,
    };
    const own = classes.filter((name) => name !== background);
    const numbers = scored(own.length, 3);
    const first = Math.max(0, classes.indexOf(background ?? ""));
    const labels = [classes.length - 1, first, 1];
    const weights = classes.map((_, k) => 0.5 + k);
    const table = numbers.evidence.map((row) =>
      classes.map((name) => name === background ? 0 : row[own.indexOf(name)]!)
    );
    const found = tf.tidy(() =>
      evidenceLoss(model, { draws: DRAWS }, {
        logits: tf.tensor2d(table),
        evidence: {
          logits: tf.tensor2d(numbers.logits),
          shares: tf.tensor2d(numbers.shares),
        },
        attention: {
          tiles: tf.tensor1d(numbers.tiles),
          subTiles: tf.tensor1d(numbers.subTiles),
        },
      }, {
        goals: labels.map((label) => [label]),
        of: 5,
        classWeights: weights,
      })
    );
    const [value] = await found.data();
    found.dispose();
    const expected = lossByLoops(set, numbers, { labels, of: 5, weights });
    assert.ok(Math.abs(value! - expected) < 1e-4, `${name}: ${value}`);
  }
});

/** The configuration of a toy under the head `evidence`. */
function toyModelConfig(): Model["config"] {
  const model = toyModel({ network: { head: "evidence" } });
  disposeParameters(model.parameters);
  return model.config;
}

const EXPLORATION = 0.3;
// So short that few ReLUs change sides.
const STEP = 3e-4;

/** A look at one image of each class. */
async function lookAtEach(model: Model, samples: number): Promise<WholeLook> {
  const images = model.classes.map((_, i) => ({
    pyramid: noiseImage({ width: 61, height: 47 }, 3 + i),
    key: randomKey(5, i),
  }));
  return await lookWhole(model, images, {
    samples,
    draws: "seeded",
    training: true,
    exploration: EXPLORATION,
    memory: new Memory(),
  });
}

/** The loss of a look as a function of the parameters, its shares held fixed. */
async function lossOf(model: Model, look: WholeLook, shares: tf.Tensor2D) {
  const { entropyWeight } = model.config.training;
  const of = model.classes.length;
  const loss = tf.tidy(() => {
    const { logits, evidence, attention } = score(model, look);
    const fixed = { logits: evidence!.logits, shares };
    const labels = {
      goals: model.classes.map((_, i) => [i]),
      of,
      classWeights: model.classes.map(() => 1),
    };
    return tf.add(
      evidenceLoss(model, look, { logits, evidence: fixed, attention }, labels),
      look.entropies(attention, entropyWeight / of).regulariser,
    );
  });
  const [value] = await loss.data();
  loss.dispose();
  return value!;
}

/** Biases other than 0: where an image ends, the inputs of the ReLUs are those. */
function awayFromKinks(model: Model): void {
  let seed = 0;
  for (const [name, variable] of trainedParameters(model)) {
    if (!name.endsWith("/bias")) continue;
    const values = normals(variable.size, 50 + seed++, 0.3);
    tf.tidy(() => variable.assign(tf.tensor(values, variable.shape)));
  }
}

/** Fails if a step's gradients are not the slopes of the loss along them. */
async function assertSlopes(
  options: ToyOptions,
  { samples, tolerance }: { samples: number; tolerance: number },
) {
  const model = toyModel({
    network: {
      head: "evidence",
      evidence: { sharpness: 2, objects: 3 },
    },
    training: { entropyWeight: 0.02 },
    peak: 3,
    ...options,
  });
  awayFromKinks(model);
  const look = await lookAtEach(model, samples);
  const shares = tf.tidy(() => tf.clone(score(model, look).evidence!.shares));
  const pass = await backward(model, look, {
    goals: model.classes.map((_, i) => [i]),
    of: model.classes.length,
    classWeights: model.classes.map(() => 1),
    freezeAttention: false,
  });
  const figures = await figuresOfPass(model, pass);
  const base = await lossOf(model, look, shares);
  assert.ok(Math.abs(figures.loss - base) < 1e-4 * Math.abs(base));
  // Both losses of a slope are rounded to float32.
  const rounding = base * 2 ** -23 / STEP;
  const trained = trainedParameters(model);
  assert.deepEqual(
    [...pass.gradients.keys()].sort(),
    [...trained.keys()].sort(),
  );
  for (const [name, gradient] of pass.gradients) {
    const slope = await gradient.data();
    const length = Math.hypot(...slope);
    if (/conv3.bias/.test(name)) continue; // 0 but for rounding: a shift
    assert.ok(length > 0, `${name} has no gradient`);
    const variable = trained.get(name)!;
    const before = tf.clone(variable);
    const moved = async (by: number) => {
      tf.tidy(() =>
        variable.assign(tf.add(before, tf.mul(gradient, by / length)))
      );
      return await lossOf(model, look, shares);
    };
    const found = (await moved(STEP) - await moved(-STEP)) / (2 * STEP);
    variable.assign(before);
    before.dispose();
    assert.ok(
      Math.abs(found - length) < tolerance * length + rounding,
      `${name}: slope ${found}, gradient ${length}`,
    );
  }
  shares.dispose();
  disposeBackward(pass);
  look.dispose();
  disposeParameters(model.parameters);
}

for (const [name, { classes, background }] of Object.entries(SETS)) {
  testOnWasm(
    `gradients of evidence are the loss's slopes: ${name}`,
    () =>
      assertSlopes(
        { classes, referenceClass: background },
        { samples: 6, tolerance: 0.01 },
      ),
  );
}

testOnEngines(
  "gradients of evidence with a support, and of one draw",
  async () => {
    const view = { tileStride: 16, subTileStride: 5, support: 12 };
    await assertSlopes({ view }, { samples: 5, tolerance: 0.01 });
    await assertSlopes({}, { samples: 1, tolerance: 0.01 });
  },
);

testOnWasm(
  "the log's cosine is one, whatever the length of features",
  async () => {
    const model = toyModel({
      network: { head: "evidence", unitLength: false },
      classes: ["A", "B"],
      referenceClass: null,
    });
    const look = await lookAtEach(model, 4);
    const found = tf.tidy(() => score(model, look).features);
    const rows = await found.array();
    found.dispose();
    const dot = (a: number[], b: number[]) =>
      a.reduce((sum, x, i) => sum + x * b[i]!, 0);
    let sum = 0, pairs = 0;
    rows.forEach((a, i) =>
      rows.forEach((b, j) => {
        if (i === j) return;
        const lengths = Math.sqrt(dot(a, a) * dot(b, b));
        if (lengths > 0) sum += dot(a, b) / lengths; // 0: outside the image
        pairs++;
      })
    );
    const pass = await backward(model, look, {
      goals: [[0], [1]],
      of: 2,
      classWeights: [1, 1],
      freezeAttention: false,
    });
    const { cosine } = await figuresOfPass(model, pass);
    const error = Math.abs(cosine - sum / pairs);
    assert.ok(error < 1e-4, `${cosine}, not ${sum / pairs}`);
    disposeBackward(pass);
    look.dispose();
    disposeParameters(model.parameters);
  },
);

testOnWasm("evidence of one draw is finite, its share 1", async () => {
  const model = toyModel({ network: { head: "evidence" }, peak: 40 });
  const look = await lookAtEach(model, 1);
  const { logits, weights } = tf.tidy(() => {
    const { logits, weights } = score(model, look);
    return { logits, weights };
  });
  assert.ok((await logits.data()).every(Number.isFinite));
  assert.deepEqual([...await weights.data()], [1, 1]);
  tf.dispose([logits, weights]);
  look.dispose();
  disposeParameters(model.parameters);
});

testOnWasm(
  "evidence of C objects takes C in place of all locations",
  async () => {
    const logitsOf = async (objects: number | null) => {
      const model = toyModel({
        network: { head: "evidence", evidence: { sharpness: 2, objects } },
      });
      const bias = model.parameters.get("g/bias")!;
      tf.tidy(() => bias.assign(tf.zerosLike(bias)));
      const look = await lookAtEach(model, 6);
      const logits = tf.tidy(() => score(model, look).logits);
      const values = await logits.array();
      const [all] = look.proposed!.locations;
      logits.dispose();
      look.dispose();
      disposeParameters(model.parameters);
      return { values, all: all! };
    };
    const { values, all } = await logitsOf(null);
    const few = await logitsOf(3);
    few.values.forEach(([, E], image) => {
      const expected = values[image]![1]! + Math.log(all / 3) / 2;
      assert.ok(Math.abs(E! - expected) < 1e-5);
    });
  },
);

testOnWasm("logits of evidence are in the order of the classes", async () => {
  const made = async (classes: string[]) => {
    const model = toyModel({
      network: { head: "evidence" },
      classes,
      referenceClass: "none",
    });
    const look = await lookAtEach({ ...model, classes: ["one image"] }, 6);
    const logits = tf.tidy(() => score(model, look).logits);
    const [row] = await logits.array();
    logits.dispose();
    look.dispose();
    disposeParameters(model.parameters);
    return row!;
  };
  const [none, A, B] = await made(["none", "A", "B"]);
  assert.equal(none, 0);
  assert.ok(A !== B && A !== 0 && B !== 0);
  assert.deepEqual(await made(["A", "none", "B"]), [A, 0, B]);
  assert.deepEqual(await made(["A", "B", "none"]), [A, B, 0]);
});
