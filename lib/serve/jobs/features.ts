/**
 * Frozen features of trainings that are jobs, shared with other hosts.
 *
 * @module
 */
import {
  type CachePlace,
  type FeatureCache,
  featureCache,
  sharedFeatureCache,
} from "../../train/runs/training.ts";
import type { NatsPlace } from "./nats/place.ts";

/** Where a host keeps frozen features, as plain data. */
export interface FeaturePlace {
  folder: string;
  /** Where other hosts find them. */
  jobs: NatsPlace;
}

/**
 * Opens the features of a host; those of its folder alone if NATS is away.
 *
 * @param remark told what the user should know of them.
 */
export async function openFeatures(
  { folder, jobs }: FeaturePlace,
  remark?: (text: string) => void,
): Promise<FeatureCache | undefined> {
  // Loaded only here: most trainings share nothing.
  const { NatsFeatures } = await import("./nats/features.ts");
  const store = await NatsFeatures.open(jobs, remark);
  return store === undefined
    ? featureCache(folder, remark)
    : sharedFeatureCache(folder, { store, place: jobs, remark });
}

/** Opens the features of a host in a Worker of a run. */
export async function openPlace(
  { folder, shared }: CachePlace,
): Promise<FeatureCache | undefined> {
  return shared === undefined
    ? featureCache(folder)
    : await openFeatures({ folder, jobs: shared as NatsPlace });
}
