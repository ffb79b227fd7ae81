/**
 * Frozen features of a run, alone or shared with other hosts.
 *
 * @module
 */
import { openFeatures } from "../../serve/jobs/features.ts";
import type { NatsPlace } from "../../serve/jobs/nats/place.ts";
import { type FeatureCache, featureCache } from "../../train/runs/training.ts";

/** The frozen features in a folder, if there is one, and of other hosts. */
export async function openFeatureFolder(
  folder: string | undefined,
  { shared, remark }: {
    /** Where other hosts find them, if they do. */
    shared: NatsPlace | undefined;
    remark: (text: string) => void;
  },
): Promise<FeatureCache | undefined> {
  return shared === undefined || folder === undefined
    ? featureCache(folder, remark)
    : await openFeatures({ folder, jobs: shared }, remark);
}
