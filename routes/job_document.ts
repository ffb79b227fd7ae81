/**
 * JSON documents of jobs for callers.
 *
 * @module
 */
import type { JobDocument } from "../lib/serve/documents.ts";
import type { Job } from "../lib/serve/jobs/store.ts";

/** A job without its request and owner, with links. */
export function jobDocument(
  { request: _request, owner: _owner, ...job }: Job,
): JobDocument {
  return { ...job, links: linksOf(job) };
}

/** URL path of a job. */
export function jobPath(id: string): string {
  return `/v1/jobs/${id}`;
}

function linksOf({ id, kind, state }: Omit<Job, "request" | "owner">) {
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
    if (kind === "classify") {
      links.heatmap = `${self}/heatmap.png`;
      links.regions = `${self}/regions.geojson`;
    }
  }
  return links;
}
