/**
 * The dense teacher: a small head on frozen features, trained by the label of an
 * image on random locations of all of it, so that its evidence is exact
 * multiple-instance learning.
 *
 * @module
 */
import { randomKey, RandomStream } from "../../../kernels/random.ts";
import type { EvidenceConfig, TrainingConfig } from "../../model/config.ts";
import type { Target } from "../../model/targets/target.ts";
import type { Goal } from "../../target.ts";
import { ArrayAdamW, clipNorm } from "./head/array_adamw.ts";
import {
  bagLosses,
  type KnownLocations,
  type LabelledBag,
  objectLoss,
} from "./head/bag_loss.ts";
import {
  addGradients,
  forward,
  type HeadArrays,
  type HeadPass,
  headShape,
  zerosLike,
} from "./head/head_arrays.ts";
import { oneCycle } from "./head/one_cycle.ts";

/** All locations of an image. */
export interface Bag {
  /** What the label of the image says. */
  goal: Goal;
  /** Locations that count. */
  locations: number;
  /** G: what their sum is divided by, as with the draws. */
  total: number;
  /**
   * Projected features `[locations, components]` of the image as it is, and of each copy
   * with changed colours.
   */
  copies: readonly Float32Array[];
  /** 1 where an object lies, 0 elsewhere, `[locations]`; null: unknown. */
  objects: Uint8Array | null;
}

/** What a teacher learns to say, and how. */
export interface TeacherOptions {
  target: Target;
  evidence: EvidenceConfig;
  training: Pick<
    TrainingConfig,
    "epochs" | "batchSize" | "learningRate" | "weightDecay" | "clipNorm"
  >;
  /** Locations of an image that a step sees. */
  locations: number;
  /** How many of them are those with the largest logits so far. */
  strongest: number;
  /** Weight of the loss of annotated locations. */
  objectWeight: number;
  /** Leaves out a quarter of the inputs and hidden units. */
  dropout: boolean;
  /** Weight of each class in the loss. */
  classWeights: readonly number[];
  seed: number;
  /** Awaited before each step. */
  beforeStep?: () => Promise<void>;
  /** Called after each step. */
  onStep?: (progress: StepProgress) => void;
}

/** Progress of an epoch. */
export interface StepProgress {
  epoch: number;
  /** Steps done in this epoch, and all of them. */
  step: number;
  steps: number;
  /** Mean over the epoch so far. */
  loss: number;
  /** NaN if the target has none. */
  accuracy: number;
}

/** Figures of an epoch. */
export interface TeacherEpoch {
  epoch: number;
  loss: number;
  /** NaN if the target has none. */
  accuracy: number;
  /** Mean norm of the gradient, before clipping. */
  gradientNorm: number;
}

// Share of the steps in which the learning rate rises.
const RISING = 0.15;
// Annotated images that a step looks at beside its batch: they are few, and a
// batch would often have none.
const ANNOTATED = 4;
// Share of their locations that are on objects, as far as there are so many.
const ON_OBJECTS = 1 / 2;
// Epochs after which the locations with the largest logits are found again.
const LOOK_AGAIN = 3;
// Word of the random keys.
const TEACHER = 106;

/** Trains `head` in place, epoch by epoch. */
export async function* teacherEpochs(
  head: HeadArrays,
  bags: readonly Bag[],
  options: TeacherOptions,
): AsyncGenerator<TeacherEpoch> {
  const { training: { epochs, batchSize }, seed } = options;
  const optimizer = new ArrayAdamW(head);
  const steps = Math.ceil(bags.length / batchSize);
  const strongest = new Map<Bag, Uint32Array>();
  for (let epoch = 1; epoch <= epochs; epoch++) {
    const random = new RandomStream(randomKey(seed, TEACHER, epoch));
    const order = random.shuffle([...bags]);
    const sums = { loss: 0, right: 0, images: 0, norm: 0 };
    if (options.strongest > 0 && epoch % LOOK_AGAIN === 1 && epoch > 1) {
      for (const bag of bags) {
        await options.beforeStep?.();
        strongest.set(bag, strongestPlaces(head, bag, options.strongest));
      }
    }
    for (let step = 0; step < steps; step++) {
      await options.beforeStep?.();
      const batch = order.slice(step * batchSize, (step + 1) * batchSize);
      const annotated = someAnnotated(bags, random);
      const done = (epoch - 1) * steps + step;
      const report = moveHead(
        head,
        optimizer,
        { batch, annotated, strongest },
        {
          ...options,
          random,
          rate: oneCycle(done, epochs * steps, RISING),
        },
      );
      sums.loss += report.loss * batch.length;
      sums.right += report.right;
      sums.images += batch.length;
      sums.norm += report.norm / steps;
      options.onStep?.({
        epoch,
        step: step + 1,
        steps,
        loss: sums.loss / sums.images,
        accuracy: sums.right / sums.images,
      });
    }
    yield {
      epoch,
      loss: sums.loss / sums.images,
      accuracy: sums.right / sums.images,
      gradientNorm: sums.norm,
    };
  }
}

/** Up to {@linkcode ANNOTATED} random images that have annotated objects. */
function someAnnotated(bags: readonly Bag[], random: RandomStream): Bag[] {
  const all = bags.filter(({ objects }) => objects?.includes(1));
  return random.shuffle(all).slice(0, ANNOTATED);
}

/** The images of a step. */
interface StepBags {
  batch: readonly Bag[];
  annotated: readonly Bag[];
  /** The locations of a bag with the largest logits, as far as they are known. */
  strongest?: ReadonlyMap<Bag, Uint32Array>;
}

interface StepSettings extends TeacherOptions {
  random: RandomStream;
  /** Factor of the learning rate. */
  rate: number;
}

function moveHead(
  head: HeadArrays,
  optimizer: ArrayAdamW<keyof HeadArrays>,
  bags: StepBags,
  settings: StepSettings,
): { loss: number; right: number; norm: number } {
  const { gradients, ...report } = stepGradients(head, bags, settings);
  const { learningRate, weightDecay, clipNorm: most } = settings.training;
  const norm = clipNorm(gradients, most);
  optimizer.step(gradients, {
    learningRate: learningRate * settings.rate,
    weightDecay,
  });
  return { ...report, norm };
}

/** Rows of a bag that a step sees, and their pass. */
interface SeenBag {
  bag: Bag;
  pass: HeadPass;
  /** 1 on an object, `[n]`; null: unknown. */
  objects: Uint8Array | null;
  gradient: Float64Array;
}

/** The loss of a step, and its gradients. */
export function stepGradients(
  head: HeadArrays,
  { batch, annotated, strongest }: StepBags,
  settings: Omit<StepSettings, "rate">,
): { loss: number; right: number; gradients: HeadArrays } {
  const { evidence, target, classWeights, objectWeight, dropout } = settings;
  const { outputs } = headShape(head);
  const see = (bag: Bag, places: Uint32Array) =>
    seen(head, bag, places, settings);
  const shown: SeenBag[] = [], labelled: LabelledBag[] = [];
  for (const bag of batch) {
    const { places, shift } = bagPlaces(bag, strongest?.get(bag), settings);
    const own = see(bag, places);
    shown.push(own);
    labelled.push({
      logits: own.pass.logits
        .map((z, i) => z + shift(Math.floor(i / outputs))),
      bagging: { ...evidence, locations: places.length, total: bag.total },
      goal: bag.goal,
      weight: target.weight(bag.goal, classWeights) / batch.length,
    });
  }
  const parts = bagLosses(labelled, target);
  const bags = shown.map((own, i) => ({
    ...own,
    gradient: parts[i]!.gradient,
  }));
  let loss = parts.reduce((sum, part) => sum + part.loss, 0);
  const right = parts.reduce((sum, part) => sum + (part.right ?? NaN), 0);
  const close = annotated.map((bag) => see(bag, objectPlaces(bag, settings)));
  loss += addObjectLoss([...bags, ...close], outputs, {
    target,
    weight: objectWeight,
  });
  const gradients = zerosLike(head);
  for (const { pass, gradient } of [...bags, ...close]) {
    addGradients(gradients, head, pass, {
      upstream: gradient,
      dropout,
    });
  }
  return { loss, right, gradients };
}

function seen(
  head: HeadArrays,
  bag: Bag,
  places: Uint32Array,
  { random, dropout }: Omit<StepSettings, "rate">,
): SeenBag {
  const { components, outputs } = headShape(head);
  const features = bag.copies[random.below(bag.copies.length)]!;
  const inputs = new Float32Array(places.length * components);
  places.forEach((place, i) =>
    inputs.set(
      features.subarray(place * components, (place + 1) * components),
      i * components,
    )
  );
  const { objects } = bag;
  return {
    bag,
    pass: forward(head, inputs, dropout ? random : undefined),
    objects: objects && Uint8Array.from(places, (place) => objects[place]!),
    gradient: new Float64Array(places.length * outputs),
  };
}

/** Adds the gradients of annotated locations; returns their loss. */
function addObjectLoss(
  bags: readonly SeenBag[],
  outputs: number,
  { target, weight }: { target: Target; weight: number },
): number {
  const known = bags.filter(({ objects }) => objects !== null);
  if (known.length === 0) return 0;
  const { loss, gradients } = objectLoss(
    known.map(({ bag, pass, objects }): KnownLocations => ({
      logits: pass.logits,
      objects: objects!,
      output: target.shown(bag.goal)[0] ?? null,
    })),
    outputs,
  );
  known.forEach(({ gradient }, i) =>
    gradients[i]!.forEach((value, at) => gradient[at]! += weight * value)
  );
  return weight * loss;
}

/** The locations of a bag with the largest logits of any class. */
function strongestPlaces(
  head: HeadArrays,
  { copies, locations }: Bag,
  count: number,
): Uint32Array {
  const { outputs } = headShape(head);
  const { logits } = forward(head, copies[0]!);
  const largest = Float64Array.from(
    { length: locations },
    (_, place) =>
      logits.subarray(place * outputs, (place + 1) * outputs)
        .reduce((most, z) => Math.max(most, z)),
  );
  return indices(locations)
    .sort((a, b) => largest[b]! - largest[a]! || a - b).slice(0, count);
}

/**
 * Locations of a bag that a step sees, each at most once: the strongest, which
 * stand for themselves, and random ones, which stand for all others. Without the
 * strongest a step would miss a rare object, and raise what lies elsewhere in the
 * name of its class.
 *
 * @returns also what to add to the logits of place i, so that a sum of exp(r z)
 *   over the places is that over all locations.
 */
function bagPlaces(
  { locations: all }: Bag,
  strongest: Uint32Array = new Uint32Array(),
  { locations, random, evidence: { sharpness } }: Omit<StepSettings, "rate">,
): { places: Uint32Array; shift: (i: number) => number } {
  const known = new Set(strongest);
  const every = indices(all);
  const rest = known.size > 0
    ? every.filter((place) => !known.has(place))
    : every;
  const total = rest.length;
  const others = chosen(rest, Math.max(1, locations - known.size), random);
  const shift = Math.log(total / others.length) / sharpness;
  return {
    places: Uint32Array.from([...strongest, ...others]),
    shift: (i) => i < strongest.length ? 0 : shift,
  };
}

/** Random locations, up to half of them on objects. */
function objectPlaces(
  bag: Bag,
  { locations, random }: Omit<StepSettings, "rate">,
): Uint32Array {
  const objects = bag.objects!;
  const all = indices(objects.length);
  const on = all.filter((place) => objects[place] === 1);
  const off = all.filter((place) => objects[place] !== 1);
  const first = chosen(on, Math.ceil(locations * ON_OBJECTS), random);
  const rest = chosen(off, locations - first.length, random);
  return Uint32Array.from([...first, ...rest]);
}

function indices(count: number): Uint32Array {
  const all = new Uint32Array(count);
  for (let i = 0; i < count; i++) all[i] = i; // `from` takes ten times as long
  return all;
}

/** `count` random ones of `from`, or all; `from` is reordered. */
function chosen(
  from: Uint32Array,
  count: number,
  random: RandomStream,
): Uint32Array {
  if (count >= from.length) return from;
  for (let i = 0; i < count; i++) { // Fisher and Yates, as far as needed
    const j = i + random.below(from.length - i);
    [from[i], from[j]] = [from[j]!, from[i]!];
  }
  return from.subarray(0, count);
}
