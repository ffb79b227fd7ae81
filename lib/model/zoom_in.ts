/**
 * The Zoom-In network: look at a small view, draw tiles, look closer, draw
 * sub-tiles, read only those, and classify (Kong & Henao, CVPR 2022).
 *
 * A forward pass has two halves, because tfjs records no gradient across an
 * await: `lookAt` looks, draws and reads; {@linkcode score} computes the logits of
 * the draws, inside or outside a gradient. It has two steps: the features of the
 * sub-tiles that were drawn, and {@linkcode classifyDrawn}, the head that combines
 * them. Sub-tiles that do not fit at once are read before, by
 * {@linkcode readFeatures}.
 *
 *     B images, G representations (one an image, one more for each contrastive
 *     draw), T tiles and S sub-tiles of all of them, K features
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { evidence, evidenceOffsets, rowsOf } from "../sampling/evidence.ts";
import { type Draws, expectation } from "../sampling/expectation.ts";
import type { Config } from "./config.ts";
import type { Drawn, SubTiles } from "./look/draws.ts";
import { overPlaces } from "./look/places.ts";
import type { Attention, Look } from "./look/look.ts";
import { instancePooling } from "./mil_pooling.ts";
import { classify, correctedEvidence, hiddenFeatures } from "./head.ts";
import { turn } from "../turn.ts";
import type { Model } from "./model.ts";
import {
  features,
  meanUpdates,
  type Mode,
  type StatisticUpdates,
} from "./networks.ts";

/** Result of {@linkcode classifyDrawn}. */
export interface Classified {
  logits: tf.Tensor2D; // [G, classes]
  /** Weight of each sub-tile in the result of its representation, `[S]`. */
  weights: tf.Tensor1D;
  /** Under the head `evidence`: what it is made of. */
  evidence?: SubTileEvidence;
}

/** What the evidence of each class is made of; no background class. */
export type SubTileEvidence = { // no interface: tfjs takes it for a container
  logits: tf.Tensor2D; // [S, classes]
  /** Share of each sub-tile in the evidence, `[S, classes]`; no gradient. */
  shares: tf.Tensor2D;
};

/** Result of {@linkcode score}. All tensors belong to the caller. */
export interface Scores extends Classified {
  attention: Attention;
  features: tf.Tensor2D; // [S, K]
}

/** Options of {@linkcode score}. */
export interface ScoreOptions extends Mode {
  /** Features of the sub-tiles `[S, K]`; computed here, at once, if omitted. */
  read?: tf.Tensor2D | undefined;
  /** The parameters are those that the look drew by. */
  asDrawn?: boolean;
  /**
   * Under the head `evidence`: output whose evidence the weights of the sub-tiles
   * are shares of; that with the most if omitted.
   */
  output?: number | undefined;
}

/** The logits of a look's draws. */
export function score(
  model: Model,
  look: Look,
  { read, asDrawn, output, ...mode }: ScoreOptions = {},
): Scores {
  const { parameters, config: { network } } = model;
  const attention = look.attend(asDrawn);
  const found = read ??
    features(parameters, network, look.subTiles!, mode);
  return {
    ...classifyDrawn(model, look, { attention, features: found }, output),
    attention,
    features: found,
  };
}

/** The head: logits of draws whose attention and features are given. */
export function classifyDrawn(
  model: Model,
  drawn: Drawn,
  { attention, features }: Pick<Scores, "attention" | "features">,
  output?: number,
): Classified {
  const { parameters, config } = model;
  if (config.network.head === "evidence") {
    return classifyByEvidence(model, drawn, features, output);
  }
  const { representation, weights } = config.network.attention === "instances"
    ? instancePooling(parameters, features, drawn.draws)
    : expectation(
      {
        features,
        subTileAttention: turnedSubTiles(attention.subTiles, drawn),
        tileAttention: turnedTiles(attention.tiles, drawn),
      },
      drawn.draws,
      config.training.gradient,
    );
  return { logits: classify(parameters, representation), weights };
}

/** The head `evidence`; the logit of a background class is 0. */
function classifyByEvidence(
  { parameters, config, classes }: Model,
  { draws, proposed }: Drawn,
  features: tf.Tensor2D,
  output: number | undefined,
): Classified {
  const { places: side, evidence: { sharpness, objects } } = config.network;
  const { locations, ...proposals } = proposed!;
  const offsets = evidenceOffsets({
    draws,
    ...proposals,
    locations: locations.map((all) => objects ?? all),
  });
  const ofSubTiles = overPlaces(
    classify(parameters, hiddenFeatures(parameters, features)),
    { places: side ** 2, sharpness },
  );
  const found = evidence(ofSubTiles, offsets, draws, sharpness);
  const corrected = correctedEvidence(parameters, found.evidence);
  return {
    logits: withBackground(corrected, config, classes),
    weights: output === undefined
      ? strongestShares(found, draws)
      : tf.reshape(tf.slice(found.shares, [0, output], [-1, 1]), [-1]),
    evidence: { logits: ofSubTiles, shares: found.shares },
  };
}

/** Evidence `[G, classes without background]` with a 0 for the background. */
function withBackground(
  evidence: tf.Tensor2D,
  { referenceClass }: Config,
  classes: readonly string[],
): tf.Tensor2D {
  const at = classes.indexOf(referenceClass ?? "");
  if (at < 0) return evidence;
  const place = tf.tensor2d(
    Float32Array.from(
      { length: (classes.length - 1) * classes.length },
      (_, i) => {
        const [from, to] = [Math.floor(i / classes.length), i % classes.length];
        return to === (from < at ? from : from + 1) ? 1 : 0;
      },
    ),
    [classes.length - 1, classes.length],
  );
  return tf.matMul(evidence, place);
}

/** Shares in the evidence of each row's strongest class, `[S]`. */
function strongestShares(
  { evidence, shares }: { evidence: tf.Tensor2D; shares: tf.Tensor2D },
  draws: Draws,
): tf.Tensor1D {
  // No one-hot: that of one class alone is an error.
  const strongest = tf.equal(
    tf.expandDims(tf.argMax(evidence, 1), 1),
    tf.range(0, evidence.shape[1], 1, "int32"),
  );
  const ofSubTiles = tf.gather(
    tf.cast(strongest, "float32"),
    tf.tensor1d(rowsOf(draws), "int32"),
  );
  return tf.sum(tf.mul(shares, ofSubTiles), 1);
}

// Of sub-tiles that wasm reads without a pause: some 50 ms.
const SLICE_PIXELS = 2 ** 17;

/**
 * Features of all sub-tiles outside a gradient, batch by batch.
 *
 * @param options the mode of all of them: the updates are those of one batch.
 */
export async function readFeatures(
  { parameters, config }: Model,
  drawn: SubTiles,
  { updates, signal }: Mode & { signal?: AbortSignal | undefined } = {},
): Promise<tf.Tensor2D> {
  if (drawn.frozen) return await drawn.frozen();
  const parts: tf.Tensor2D[] = [];
  const ofParts: StatisticUpdates[] = [];
  try {
    for await (const batch of drawn.subTileBatches()) {
      const own: StatisticUpdates = new Map();
      const mode = updates ? { updates: own } : {};
      for (const [first, count] of slicesOf(batch, updates !== undefined)) {
        await turn(signal);
        parts.push(tf.tidy(() => {
          const slice = count === batch.shape[0]
            ? batch
            : tf.slice4d(batch, [first, 0, 0, 0], [count, -1, -1, -1]);
          const part = features(parameters, config.network, slice, mode);
          for (const update of own.values()) tf.keep(update);
          return part;
        }));
      }
      ofParts.push(own);
    }
    const counts = parts.map(({ shape }) => shape[0]);
    for (const [name, update] of meanUpdates(ofParts, counts)) {
      updates?.set(name, update);
    }
    return tf.concat2d(parts, 0);
  } finally {
    tf.dispose([...parts, ...ofParts.flatMap((own) => [...own.values()])]);
  }
}

/** Sub-tiles of a batch that are read at once: the first, and how many. */
function slicesOf(
  { shape: [count, height, width] }: tf.Tensor4D,
  isWhole: boolean,
): [first: number, count: number][] {
  const most = isWhole || tf.getBackend() !== "wasm"
    ? count
    : Math.max(1, Math.floor(SLICE_PIXELS / (height * width)));
  return Array.from(
    { length: Math.ceil(count / most) },
    (_, i) => [i * most, Math.min(most, count - i * most)],
  );
}

/** Attention of drawn tiles, inverted for a contrastive draw. */
function turnedTiles(attention: tf.Tensor1D, drawn: Drawn): tf.Tensor1D {
  const { glimpses, draws } = drawn;
  return turnedWhere(
    attention,
    Array.from(draws.rowOf, (row) => glimpses[row]!),
  );
}

/** Attention of drawn sub-tiles, inverted for a contrastive draw. */
function turnedSubTiles(
  attention: tf.Tensor1D,
  { glimpses, draws, subTileMap }: Drawn,
): tf.Tensor1D {
  const locations = subTileMap.rows * subTileMap.columns;
  const ofEach = Array.from(draws.drawn).flatMap((drawn, tile) => {
    const { contrastive } = glimpses[draws.rowOf[tile]!]!;
    return new Array<Turn>(drawn).fill({ contrastive, locations });
  });
  return turnedWhere(attention, ofEach);
}

/** A location's kind of draw, and the number of locations of its map. */
interface Turn {
  contrastive: boolean;
  locations: number;
}

/**
 * (1 - p) / (n - 1) for a contrastive draw, which is where the network does not
 * look (section 2.3); p for others, and for the only location of a map.
 */
function turnedWhere(
  attention: tf.Tensor1D,
  turns: readonly Turn[],
): tf.Tensor1D {
  const isTurned = ({ contrastive, locations }: Turn) =>
    contrastive && locations > 1;
  if (!turns.some(isTurned)) return attention;
  const share = turns.map((turn) =>
    isTurned(turn) ? 1 / (turn.locations - 1) : 0
  );
  const factor = turns.map((turn, i) => isTurned(turn) ? -share[i]! : 1);
  return tf.add(tf.mul(attention, tf.tensor1d(factor)), tf.tensor1d(share));
}
