import assert from "node:assert/strict";
import { randomKey, RandomStream } from "../../../kernels/random.ts";
import { entriesOf } from "../../../lib/train/dense/head/array_adamw.ts";
import {
  bagLosses,
  evidenceShares,
} from "../../../lib/train/dense/head/bag_loss.ts";
import {
  forward,
  type HeadArrays,
} from "../../../lib/train/dense/head/head_arrays.ts";
import {
  type Bag,
  stepGradients,
  type TeacherEpoch,
  teacherEpochs,
  type TeacherOptions,
} from "../../../lib/train/dense/teacher.ts";
import { relativeError } from "../../finite_differences.ts";
import { toyBag, toyHead, toyTarget } from "./toy_head.ts";
import { evidenceOf } from "../../../lib/train/dense/head/bag_loss.ts";
import { countedConcordance } from "../../../lib/eval/targets/concordance.ts";
import { preset } from "../../../lib/model/presets.ts";
import { targetOf } from "../../../lib/model/targets/targets.ts";
import type { TargetName } from "../../../lib/target.ts";

const OPTIONS: TeacherOptions = {
  target: toyTarget(2, 0),
  evidence: { sharpness: 2, objects: null },
  training: {
    epochs: 30,
    batchSize: 8,
    learningRate: 0.02,
    weightDecay: 0.01,
    clipNorm: 5,
  },
  locations: 20,
  strongest: 0,
  objectWeight: 1,
  dropout: true,
  classWeights: [1, 1],
  seed: 3,
};

/** Bags of 60 locations; in those of class 1, three have an object. */
function bags(count: number, seed = 0): Bag[] {
  return Array.from({ length: count }, (_, i) => {
    const random = new RandomStream(randomKey(i, seed));
    const marked = [0, 1, 2].map(() => random.below(60));
    return toyBag({
      classIndex: i % 2,
      locations: 60,
      components: 6,
      marked: i % 2 === 1 ? marked : [],
      copies: 2,
    }, 1000 * seed + i);
  });
}

async function trained(
  head: HeadArrays,
  own: readonly Bag[],
  options: Partial<TeacherOptions> = {},
): Promise<TeacherEpoch[]> {
  return await Array.fromAsync(
    teacherEpochs(head, own, { ...OPTIONS, ...options }),
  );
}

function accuracy(head: HeadArrays, own: readonly Bag[]): number {
  const right = own.filter(({ copies, locations, total, goal }) => {
    const { logits } = forward(head, Float32Array.from(copies[0]!));
    const bagging = { ...OPTIONS.evidence, locations, total };
    const [loss] = bagLosses(
      [{ logits, bagging, goal, weight: 1 }],
      OPTIONS.target,
    );
    return loss!.right === 1;
  });
  return right.length / own.length;
}

Deno.test("the teacher learns from labels alone, and finds the objects", async () => {
  const head = toyHead(6, 8, 1);
  const epochs = await trained(head, bags(60));
  assert.equal(epochs.length, 30);
  assert.ok(epochs.at(-1)!.loss < epochs[0]!.loss);
  const fresh = bags(40, 7);
  assert.ok(accuracy(head, fresh) > 0.9);
  const positive = fresh.filter(({ goal }) => goal[0] === 1);
  for (const { copies: [features] } of positive) {
    const { logits } = forward(head, Float32Array.from(features!));
    const shares = evidenceShares(logits, 1, { sharpness: 2, output: 0 });
    const best = shares.indexOf(Math.max(...shares));
    assert.ok(features![best * 6]! > 1.5, "the largest share is on an object");
  }
});

Deno.test("the teacher is the same under the same seed alone", async () => {
  const run = async (seed: number) => {
    const head = toyHead(6, 8, 1);
    const training = { ...OPTIONS.training, epochs: 2 };
    await trained(head, bags(20), { seed, training });
    return head;
  };
  assert.deepEqual(await run(1), await run(1));
  assert.notDeepEqual(await run(1), await run(2));
});

Deno.test("the teacher finds rare objects once a few are annotated", async () => {
  const own = bags(40).map((bag, i): Bag => ({
    ...bag,
    objects: bag.goal[0] === 0
      ? new Uint8Array(60)
      : i < 8
      ? Uint8Array.from({ length: 60 }, (_, p) =>
        bag.copies[0]![p * 6] === 3 ? 1 : 0)
      : null,
  }));
  const head = toyHead(6, 8, 1);
  await trained(head, own);
  const features = bags(2, 9)[1]!.copies[0]!;
  const { logits } = forward(head, Float32Array.from(features));
  logits.forEach((z, place) =>
    assert.equal(z > 0, features[place * 6] === 3, `z = ${z} of ${place}`)
  );
});

for (const boxes of [false, true]) {
  Deno.test(`a step has the gradient of its differences, objects ${boxes}`, () => {
    const [a, b, c] = bags(3);
    const batch = boxes
      ? [{ ...a!, objects: new Uint8Array(60) }, b!]
      : [a!, b!, c!];
    const objects = Uint8Array.from({ length: 60 }, (_, i) => i % 9 ? 0 : 1);
    const annotated = boxes ? [{ ...b!, objects }] : [];
    const head = toyHead(6, 5, 1);
    const run = () =>
      stepGradients(head, { batch, annotated }, {
        ...OPTIONS,
        dropout: false,
        classWeights: [1, 2],
        random: new RandomStream(randomKey(4)),
      });
    const { gradients } = run();
    for (const [name, values] of entriesOf(head)) {
      const expected = Array.from(values, (value, i) => {
        const at = (by: number) => {
          values[i] = value + by;
          const { loss } = run();
          values[i] = value;
          return loss;
        };
        return (at(1e-3) - at(-1e-3)) / 2e-3;
      });
      assert.ok(relativeError(gradients[name], expected) < 2e-3, name);
    }
  });
}

Deno.test("with dropout the gradient is that of the same dropout", () => {
  const head = toyHead(6, 5, 1);
  const batch = bags(2);
  const run = () =>
    stepGradients(head, { batch, annotated: [] }, {
      ...OPTIONS,
      random: new RandomStream(randomKey(4)),
    });
  const { gradients } = run();
  const weight = head["g/hidden/weight"];
  const expected = Array.from(weight, (value, i) => {
    const at = (by: number) => {
      weight[i] = value + by;
      const { loss } = run();
      weight[i] = value;
      return loss;
    };
    return (at(1e-3) - at(-1e-3)) / 2e-3;
  });
  assert.ok(relativeError(gradients["g/hidden/weight"], expected) < 2e-3);
});

Deno.test("without dropout a step is that of the head as it is", () => {
  const head = toyHead(6, 5, 1);
  const batch = bags(2);
  const step = (dropout: boolean, seed: number) =>
    stepGradients(head, { batch, annotated: [] }, {
      ...OPTIONS,
      locations: 60,
      dropout,
      random: new RandomStream(randomKey(seed)),
    }).loss;
  // All locations, of copies that are alike: nothing else is random.
  for (const bag of batch) bag.copies = [bag.copies[0]!];
  assert.equal(step(false, 1), step(false, 2));
  assert.notEqual(step(true, 1), step(true, 2));
});

Deno.test("the strongest locations and others, which stand for the rest, are all of them", () => {
  const head = toyHead(6, 5, 1);
  const batch = bags(4);
  for (const bag of batch) bag.copies = [bag.copies[0]!];
  const loss = (strongest: Map<Bag, Uint32Array>, locations: number) =>
    stepGradients(head, { batch, annotated: [], strongest }, {
      ...OPTIONS,
      locations,
      dropout: false,
      random: new RandomStream(randomKey(4)),
    }).loss;
  const known = new Map(batch.map((bag) => [bag, Uint32Array.of(7, 3, 50)]));
  const all = loss(new Map(), 60);
  assert.ok(Math.abs(loss(known, 60) - all) < 1e-12);
  assert.ok(Math.abs(loss(known, 40) - all) < 0.1);
});

Deno.test("the loss of annotated locations has its weight", () => {
  const head = toyHead(6, 5, 1);
  const [, bag] = bags(2);
  const objects = Uint8Array.from({ length: 60 }, (_, i) => i % 9 ? 0 : 1);
  const step = (objectWeight: number) =>
    stepGradients(head, { batch: [], annotated: [{ ...bag!, objects }] }, {
      ...OPTIONS,
      objectWeight,
      dropout: false,
      random: new RandomStream(randomKey(4)),
    });
  const [one, third] = [step(1), step(1 / 3)];
  assert.ok(Math.abs(third.loss - one.loss / 3) < 1e-12);
  assert.ok(
    relativeError(
      third.gradients["g/weight"].map((value) => 3 * value),
      one.gradients["g/weight"],
    ) < 1e-12,
  );
});

Deno.test("the strongest locations are looked for after three epochs", async () => {
  const losses = async (strongest: number) => {
    const training = { ...OPTIONS.training, epochs: 5 };
    const head = toyHead(6, 8, 1);
    const epochs = await trained(head, bags(20), { strongest, training });
    return epochs.map(({ loss }) => loss);
  };
  const [without, found] = [await losses(0), await losses(3)];
  assert.deepEqual(found.slice(0, 3), without.slice(0, 3));
  assert.notEqual(found[3], without[3]);
});

/** The target of a network with evidence. */
function otherTarget(target: TargetName, classes: string[]) {
  const { network } = preset("objects");
  return targetOf({
    config: {
      target,
      referenceClass: null,
      network: { ...network, head: "evidence" },
    },
    classes,
  });
}

/** Evidence of a bag by `head`. */
function evidenceIn(head: HeadArrays, bag: Bag, outputs: number) {
  const { copies: [features], locations, total } = bag;
  const { logits } = forward(head, Float32Array.from(features!));
  const bagging = { ...OPTIONS.evidence, locations, total };
  return evidenceOf(logits, outputs, bagging);
}

Deno.test("the teacher tells two kinds of objects apart, of which any may be there", async () => {
  const bagOf = (i: number, seed: number): Bag => {
    const random = new RandomStream(randomKey(i, seed));
    const goal = [i & 1, i >> 1 & 1];
    const own = toyBag(
      { classIndex: 0, locations: 60, components: 6 },
      i + 1000 * seed,
    );
    goal.forEach((shown, kind) => {
      for (let n = 0; n < 3 && shown; n++) {
        own.copies[0]![random.below(60) * 6 + kind] = 3;
      }
    });
    return { ...own, goal };
  };
  const head = toyHead(6, 8, 2);
  const target = otherTarget("labels", ["a", "b"]);
  await trained(head, Array.from({ length: 80 }, (_, i) => bagOf(i, 1)), {
    target,
  });
  const fresh = Array.from({ length: 40 }, (_, i) => bagOf(i, 2));
  const right = fresh.map((bag) =>
    target.right(evidenceIn(head, bag, 2), bag.goal)!
  );
  const mean = right.reduce((sum, share) => sum + share, 0) / right.length;
  assert.ok(mean > 0.9, `${mean} right`);
});

Deno.test("the teacher ranks images by the time to their event", async () => {
  const bagOf = (i: number, seed: number): Bag => {
    const random = new RandomStream(randomKey(i, seed));
    const objects = i % 4;
    const marked = Array.from({ length: 3 * objects }, () => random.below(60));
    const time = -Math.log(1 - random.uniform()) / 4 ** objects;
    return {
      ...toyBag(
        { classIndex: 0, locations: 60, components: 6, marked },
        i + 1000 * seed,
      ),
      goal: [time, i % 5 === 0 ? 0 : 1],
    };
  };
  const head = toyHead(6, 8, 1);
  const epochs = await trained(
    head,
    Array.from({ length: 80 }, (_, i) => bagOf(i, 1)),
    { target: otherTarget("survival", ["risk"]) },
  );
  assert.ok(Number.isNaN(epochs[0]!.accuracy));
  const fresh = Array.from({ length: 60 }, (_, i) => bagOf(i, 2));
  const concordance = countedConcordance({
    goals: fresh.map(({ goal }) => goal),
    risks: fresh.map((bag) => evidenceIn(head, bag, 1)[0]!),
  })(new Int32Array(60).fill(1));
  assert.ok(concordance! > 0.7, `${concordance}`);
});
