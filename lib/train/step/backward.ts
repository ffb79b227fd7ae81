/**
 * The backward pass of a micro-batch: its gradients, and all that stays on the
 * engine until the step is done.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { ConfigError } from "../../errors.ts";
import type { Look } from "../../model/look/look.ts";
import type { Model } from "../../model/model.ts";
import {
  hasBatchStatistics,
  type StatisticUpdates,
} from "../../model/networks.ts";
import type { Goal } from "../../target.ts";
import { readFeatures, type ScoreOptions } from "../../model/zoom_in.ts";
import { addFeatureGradients } from "./block_gradients.ts";

/** Gradients of a micro-batch, and its figures for the log. */
export interface BackwardPass {
  gradients: Map<string, tf.Tensor>;
  report: tf.Tensor1D;
  updates: StatisticUpdates;
  /** What the labels of its images say. */
  goals: Goal[];
}

/** Frees the tensors of a backward pass. */
export function disposeBackward(
  { gradients, report, updates }:
    & Pick<BackwardPass, "gradients" | "updates">
    & {
      report: tf.Tensor1D | undefined;
    },
): void {
  tf.dispose([...gradients.values(), report, ...updates.values()]);
}

/** A backward pass that is being computed. */
export interface BackwardDraft extends Omit<BackwardPass, "report"> {
  report: tf.Tensor1D | undefined;
}

/** Runs `make` on a fresh backward pass; frees its tensors if that fails. */
export async function runBackward(
  goals: readonly Goal[],
  make: (pass: BackwardDraft) => Promise<void>,
): Promise<BackwardPass> {
  const pass: BackwardDraft = {
    gradients: new Map(),
    report: undefined,
    updates: new Map(),
    goals: [...goals],
  };
  try {
    await make(pass);
    return { ...pass, report: pass.report! };
  } catch (error) {
    disposeBackward(pass);
    throw error;
  }
}

/**
 * Computes a loss and adds its gradients at the parameters `names`, as far as it
 * depends on them, to a backward pass. Sub-tiles that do not fit at once are read
 * twice: for their features, from which the loss is computed, and for the
 * gradients through them.
 *
 * @returns the gradients at `leaves`.
 */
export async function record(
  model: Model,
  look: Look,
  pass: BackwardDraft,
  { names, leaves = [], loss }: {
    names: readonly string[];
    leaves?: readonly tf.Variable[] | undefined;
    loss: (how: ScoreOptions) => tf.Scalar;
  },
): Promise<Float32Array[]> {
  const { updates, gradients } = pass;
  const read = look.subTiles
    ? undefined
    : await featureVariable(model, look, updates);
  const recorded = names.filter((name) => !(read && isFeature(name)));
  const variables = recorded.map((name) => model.parameters.get(name)!);
  let grads: tf.NamedTensorMap = {};
  try {
    const all = [...variables, ...leaves, ...read ? [read] : []];
    const computed = tf.variableGrads(() => {
      const value = loss({ read, updates, asDrawn: true });
      for (const update of updates.values()) tf.keep(update);
      return value;
    }, all);
    computed.value.dispose();
    grads = computed.grads;
    for (const [i, name] of recorded.entries()) {
      const gradient = grads[variables[i]!.name];
      if (gradient) gradients.set(name, gradient);
    }
    const upstream = await Promise.all(
      leaves.map(({ name }) => grads[name]?.data()),
    );
    if (read) {
      await addFeatureGradients(gradients, model, look, {
        names: names.filter(isFeature),
        upstream: grads[read.name] as tf.Tensor2D,
      });
    }
    return upstream as Float32Array[];
  } finally {
    tf.dispose(
      [...leaves, ...read ? [read] : []].map(({ name }) => grads[name]),
    );
    read?.dispose();
  }
}

/**
 * Features of all sub-tiles as a variable.
 *
 * @throws {ConfigError} If f uses batch statistics of all of them.
 */
async function featureVariable(
  model: Model,
  look: Look,
  updates: StatisticUpdates,
): Promise<tf.Variable<tf.Rank.R2>> {
  const { features } = model.config.network;
  if (hasBatchStatistics[features]) {
    throw new ConfigError(
      `Cannot train network.features=${features}: its batch statistics need all ${look.locations.length} sub-tiles of a micro-batch at once, ${
        howToFit(look.togetherBytes)
      }`,
    );
  }
  const read = await readFeatures(model, look, { updates });
  const variable = tf.variable(read);
  read.dispose();
  return variable;
}

function howToFit(bytes: number): string {
  const fewer = "lower training.batchSize or view.samples";
  return Number.isFinite(bytes)
    ? `more than the memory bound holds; set --memory to ${
      Math.ceil(bytes / 1e6)
    }MB or more a worker, or ${fewer}`
    : `more than this GPU binds at once; ${fewer}`;
}

/** True for the name of a parameter of a or b. */
export function isAttention(name: string): boolean {
  return name.startsWith("a/") || name.startsWith("b/");
}

function isFeature(name: string): boolean {
  return name.startsWith("f/");
}
