/**
 * Attention over the sub-tiles that were read, instead of over where to read:
 * attention-based multiple-instance learning (Ilse, Tomczak & Welling, ICML 2018,
 * eq. 7 and 8), the method to compare with when every sub-tile is affordable.
 *
 *     F = sum_k a_k f_k,   a = softmax over an image's sub-tiles of w tanh(V f_k)
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { attentionSoftmax } from "../../kernels/softmax/softmax.ts";
import type { Draws } from "../sampling/expectation.ts";
import type { Parameters, ParameterSpec } from "./parameters.ts";

const HIDDEN = 128; // units of V, as theirs
// Added to the logit of another image's sub-tile: its attention is 0 in float32.
const ELSEWHERE = -1e4;

/** The parameters V and w for features of `channels` channels. */
export function instanceSpecs(channels: number): ParameterSpec[] {
  const hidden = { fanIn: channels, kind: "weight" } as const;
  return [
    { ...hidden, name: "g/hidden/weight", shape: [channels, HIDDEN] },
    { ...hidden, name: "g/hidden/bias", shape: [HIDDEN], kind: "bias" },
    {
      name: "g/attention/weight",
      shape: [HIDDEN, 1],
      kind: "weight",
      fanIn: HIDDEN,
    },
  ];
}

/**
 * The representation F of each row.
 *
 * @param features `[S, K]` of the sub-tiles.
 * @returns F `[rows, K]` and the attention of each sub-tile in its row `[S]`.
 */
export function instancePooling(
  parameters: Parameters,
  features: tf.Tensor2D,
  { rowOf, drawn }: Pick<Draws, "rowOf" | "drawn">,
): { representation: tf.Tensor2D; weights: tf.Tensor1D } {
  const parameter = (name: string) => parameters.get(name) as tf.Tensor2D;
  const hidden = tf.tanh(tf.add(
    tf.matMul(features, parameter("g/hidden/weight")),
    parameter("g/hidden/bias"),
  ));
  const logits = tf.matMul(
    hidden as tf.Tensor2D,
    parameter("g/attention/weight"),
  ); // [S, 1]
  const attention = attentionSoftmax(
    tf.add(tf.reshape(logits, [1, -1]), otherRows(rowOf, drawn)),
  ); // [rows, S]
  return {
    representation: tf.matMul(attention, features),
    weights: tf.sum(attention, 0),
  };
}

/** 0 if a sub-tile belongs to the row, else -1e4, no attention: `[rows, S]`. */
function otherRows(rowOf: Int32Array, drawn: Int32Array): tf.Tensor2D {
  const rowOfSubTile = Array.from(drawn).flatMap((count, tile) =>
    new Array<number>(count).fill(rowOf[tile]!)
  );
  const rows = Math.max(...rowOf) + 1;
  return tf.tensor2d(
    Array.from(
      { length: rows },
      (_, row) => rowOfSubTile.map((own) => own === row ? 0 : ELSEWHERE),
    ),
  );
}
