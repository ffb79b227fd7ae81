/**
 * Recording a pass: its gradients, and what else of it stays on the engine until
 * the step is done.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { ConfigError } from "../errors.ts";
import type { Drawn } from "../model/look/draws.ts";
import type { Model } from "../model/model.ts";
import {
  hasBatchStatistics,
  type StatisticUpdates,
} from "../model/networks.ts";
import { readFeatures, type ScoreOptions } from "../model/zoom_in.ts";
import { addFeatureGradients } from "./block_gradients.ts";

/** Gradients of some images of the batch, and what their log needs. */
export interface BackwardPass {
  gradients: Map<string, tf.Tensor>;
  report: tf.Tensor1D;
  updates: StatisticUpdates;
  classes: number[];
}

/** Frees what a pass holds on the engine. */
export function disposeBackward(
  { gradients, report, updates }:
    & Pick<BackwardPass, "gradients" | "updates">
    & {
      report: tf.Tensor1D | undefined;
    },
): void {
  tf.dispose([...gradients.values(), report, ...updates.values()]);
}

/** A pass as it is made. */
export interface BackwardDraft extends Omit<BackwardPass, "report"> {
  report: tf.Tensor1D | undefined;
}

/** What `make` makes a pass of; nothing is left on the engine if it fails. */
export async function runBackward(
  planned: Drawn,
  classes: readonly number[],
  make: (pass: BackwardDraft) => Promise<void>,
): Promise<BackwardPass> {
  const pass: BackwardDraft = {
    gradients: new Map(),
    report: undefined,
    updates: new Map(),
    classes: [...classes],
  };
  try {
    await make(pass);
    return { ...pass, report: pass.report! };
  } catch (error) {
    disposeBackward(pass);
    throw error;
  } finally {
    planned.dispose();
  }
}

/**
 * Computes a loss and adds its gradients at the parameters `names` to a pass.
 * Sub-tiles that are not held together are read twice: for their features, which
 * the loss then starts from, and again to go on from the gradients at those.
 *
 * @returns the gradients at `leaves`.
 */
export async function record(
  model: Model,
  planned: Drawn,
  pass: BackwardDraft,
  { names, leaves = [], loss }: {
    names: readonly string[];
    leaves?: readonly tf.Variable[];
    loss: (how: ScoreOptions) => tf.Scalar;
  },
): Promise<Float32Array[]> {
  const { updates, gradients } = pass;
  const read = planned.subTiles
    ? undefined
    : await featureVariable(model, planned, updates);
  const recorded = names.filter((name) => !(read && isFeature(name)));
  const variables = recorded.map((name) => model.parameters.get(name)!);
  let grads: tf.NamedTensorMap = {};
  try {
    const all = [...variables, ...leaves, ...read ? [read] : []];
    const computed = tf.variableGrads(() => {
      const value = loss({ read, updates });
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
      await addFeatureGradients(gradients, model, planned, {
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
 * @throws {ConfigError} If f learns from statistics of all of them.
 */
async function featureVariable(
  model: Model,
  planned: Drawn,
  updates: StatisticUpdates,
): Promise<tf.Variable<tf.Rank.R2>> {
  const { features } = model.config.network;
  if (hasBatchStatistics[features]) {
    throw new ConfigError(
      `Cannot train network.features=${features}: its batch statistics need all ${planned.locations.length} sub-tiles of a micro-batch at once, ${
        howToFit(planned.togetherBytes)
      }`,
    );
  }
  const read = await readFeatures(model, planned, { updates });
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
