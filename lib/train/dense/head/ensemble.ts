/**
 * Heads that learn apart from the same images, and their mean. On few images a
 * head depends on its seed; the mean of several does less, and is as fast as one
 * head with as many hidden units.
 *
 * @module
 */
import { randomKey } from "../../../../kernels/random.ts";
import { type HeadArrays, headShape } from "./head_arrays.ts";

const MEMBER = 114; // word of the random keys

/** The seed of a head; the first has that of the run. */
export function memberSeed(seed: number, member: number): number {
  return member === 0 ? seed : randomKey(seed, MEMBER, member)[0];
}

/**
 * The head whose logits are the mean of those of `heads`: their hidden units side
 * by side.
 *
 * @param heads at least one, all of one shape.
 */
export function meanHead(heads: readonly HeadArrays[]): HeadArrays {
  const { components, hidden } = headShape(heads[0]!);
  const count = heads.length;
  const rows = Array.from({ length: components }, (_, row) => row);
  const ofAll = (name: keyof HeadArrays) => heads.map((head) => head[name]);
  const mean = (values: Float64Array) => values.map((value) => value / count);
  const sum = heads[0]!["g/bias"].map((_, output) =>
    heads.reduce((total, head) => total + head["g/bias"][output]!, 0)
  );
  return {
    "g/hidden/weight": joined(
      rows.flatMap((row) =>
        ofAll("g/hidden/weight").map((weight) =>
          weight.subarray(row * hidden, (row + 1) * hidden)
        )
      ),
    ),
    "g/hidden/bias": joined(ofAll("g/hidden/bias")),
    "g/weight": mean(joined(ofAll("g/weight"))),
    "g/bias": mean(sum),
  };
}

function joined(parts: readonly Float64Array[]): Float64Array {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const all = new Float64Array(length);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
