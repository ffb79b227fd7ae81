/**
 * The prediction of several models: the mean of their probabilities, each
 * calibrated on its own (deep ensembles: Lakshminarayanan et al., NeurIPS 2017).
 *
 * @module
 */
import type { ModelReference } from "../model/checkpoint.ts";
import type { ModelClassification } from "./classification.ts";
import type { PredictedGroup } from "./groups/groups.ts";
import { meanOf } from "./groups/pooling.ts";
import { argmax } from "./metrics.ts";

/** An image as several models classify it, without the regions of each. */
export type EnsembleClassification = Omit<
  ModelClassification,
  "tiles" | "subTiles" | "object"
>;

/** Adds up what models say of images, one model after the other. */
export class EnsembleMean {
  readonly #model: ModelReference;
  readonly #members: number;
  readonly #sums: (EnsembleClassification | undefined)[] = [];
  readonly #added: number[] = [];

  /** @param members number of models. */
  constructor(model: ModelReference, members: number) {
    this.#model = model;
    this.#members = members;
  }

  /**
   * Adds what one model says of the image at `place`; returns the mean once all
   * have been added.
   */
  add(
    place: number,
    { tiles: _, subTiles: __, object: ___, ...own }: ModelClassification,
  ): EnsembleClassification | undefined {
    const before = this.#sums[place];
    const sum = before === undefined ? own : {
      ...own,
      probabilities: sumOf(before.probabilities, own.probabilities),
      timings: sumOf(before.timings, own.timings),
      bytesRead: before.bytesRead + own.bytesRead,
      requests: before.requests + own.requests,
    };
    this.#sums[place] = sum;
    this.#added[place] = (this.#added[place] ?? 0) + 1;
    if (this.#added[place]! < this.#members) return undefined;
    this.#sums[place] = undefined;
    const names = Object.keys(sum.probabilities);
    const mean = names.map((name) => sum.probabilities[name]! / this.#members);
    return {
      ...sum,
      model: this.#model,
      label: names[argmax(mean)]!,
      probabilities: Object.fromEntries(
        names.map((name, c) => [name, mean[c]!]),
      ),
    };
  }
}

function sumOf(
  a: Readonly<Record<string, number>>,
  b: Readonly<Record<string, number>>,
): Record<string, number> {
  return Object.fromEntries(
    Object.entries(a).map(([name, value]) => [name, value + b[name]!]),
  );
}

/**
 * The mean of several models' predictions of the same groups.
 *
 * @param members the groups by model.
 */
export function meanGroups(
  members: readonly (readonly PredictedGroup[])[],
  classes: readonly string[],
): PredictedGroup[] {
  return members[0]!.map((group, i) => {
    const mean = meanOf(
      members.map((groups) =>
        classes.map((name) => groups[i]!.classification.probabilities[name]!)
      ),
    );
    return {
      ...group,
      classification: {
        label: classes[argmax(mean)]!,
        probabilities: Object.fromEntries(
          classes.map((name, c) => [name, mean[c]!]),
        ),
      },
    };
  });
}
