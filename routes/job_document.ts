/**
 * JSON documents of jobs for callers.
 *
 * @module
 */
import type { JobDocument } from "../lib/serve/documents.ts";
import { basename } from "node:path";
import { withoutSecrets } from "../lib/serve/intake/guarded_fetch.ts";
import type { BatchJobRequest } from "../lib/serve/jobs/batch.ts";
import type { ClassifyJobRequest } from "../lib/serve/jobs/classify.ts";
import type { Job } from "../lib/serve/jobs/store.ts";
import type { TrainJobRequest } from "../lib/serve/jobs/train.ts";

/**
 * A job with links, without its owner, and its request without what must not
 * be told.
 */
export function jobDocument(
  { request, owner: _owner, losses: _losses, trace: _trace, ...job }: Job,
): JobDocument {
  const asked = request as Request;
  return {
    ...job,
    kind: job.kind as JobDocument["kind"], // pieces have a store of their own
    model: asked.model ?? asked.name ?? "",
    request: told(asked),
    links: linksOf(job),
  };
}

/** Fields that requests of any kind may have. */
type Request = Partial<
  & Omit<ClassifyJobRequest, "heatmap">
  & BatchJobRequest
  & TrainJobRequest
>;

/**
 * The parts of a request that callers may see: paths are this machine's, URLs
 * may carry a key, and a configuration is long.
 */
function told(
  { config, model: _, name: __, uri, path, manifest, data, ...rest }: Request,
): Record<string, unknown> {
  return {
    ...rest,
    ...(uri !== undefined && { uri: withoutSecrets(uri) }),
    ...(path !== undefined && { path: basename(path) }),
    ...(manifest !== undefined && { manifest: basename(manifest) }),
    ...(data !== undefined && { data: basename(data) }),
    ...(config && { preset: config.preset, epochs: config.training.epochs }),
  };
}

/** URL path of a job. */
export function jobPath(id: string): string {
  return `/v1/jobs/${id}`;
}

function linksOf({ id, kind, state }: Pick<Job, "id" | "kind" | "state">) {
  const self = jobPath(id);
  const links: Record<string, string> = { self, events: `${self}/events` };
  if (kind === "train") links.log = `${self}/log`;
  if (state === "queued" || state === "running") {
    links.cancel = `${self}/cancel`;
  }
  if (state === "failed" || state === "cancelled") {
    links.resume = `${self}/resume`;
  }
  if (state === "succeeded") {
    links.result = `${self}/result`;
    if (kind === "train") links.report = `${self}/report`;
    if (kind === "classify") {
      links.heatmap = `${self}/heatmap.png`;
      links.regions = `${self}/regions.geojson`;
    }
  }
  return links;
}
