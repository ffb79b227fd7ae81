/**
 * `/v1/jobs`: state, progress and results of jobs.
 *
 * @module
 */
import {
  createRoute,
  type RouteConfig,
  type RouteHandler,
  z,
} from "@hono/zod-openapi";
import { streamSSE } from "hono/streaming";
import { setTimeout as pause } from "node:timers/promises";
import type { Caller } from "../lib/serve/auth.ts";
import { ConflictError } from "../lib/serve/errors.ts";
import { RESULT_FILE, RESULTS_FILE } from "../lib/serve/jobs/files.ts";
import type { Jobs } from "../lib/serve/jobs/jobs.ts";
import type { Job } from "../lib/serve/jobs/store.ts";
import { ORIGINS, regionsOf } from "../lib/serve/geojson.ts";
import {
  classificationSchema,
  crossValidatedSchema,
  jobListSchema,
  jobQuerySchema,
  jobSchema,
  trainedSchema,
} from "../lib/serve/schemas.ts";
import type { Server } from "../lib/serve/server.ts";
import { type Env, newRoutes } from "./env.ts";
import { jobDocument, jobPath } from "./job_document.ts";
import { assertRole } from "./middleware.ts";
import { acceptedJob, failures, json } from "./responses.ts";

const params = z.object({ id: z.uuid() });
const image = z.string().regex(/^\d{1,9}$/).transform(Number).optional()
  .openapi({
    type: "integer",
    minimum: 0,
    maximum: 999_999_999,
    description: "Index in a batch, counted from 0",
  });

// Interval of reading a job during a stream: another process that shares the
// store may be the one that runs it.
const LOOK_EVERY_MS = 200;
// Comments tell proxies that the connection is alive.
const COMMENT_EVERY_MS = 15_000;

const listRoute = createRoute({
  method: "get",
  path: "/v1/jobs",
  summary: "Jobs by pages, the latest first",
  request: { query: jobQuerySchema },
  responses: {
    200: json("Jobs, latest first", jobListSchema),
    ...failures(400),
  },
});

const getRoute = createRoute({
  method: "get",
  path: "/v1/jobs/{id}",
  summary: "State of a job",
  request: { params },
  responses: { 200: json("The job", jobSchema), ...failures(400, 404) },
});

const cancelRoute = createRoute({
  method: "post",
  path: "/v1/jobs/{id}/cancel",
  summary: "Stop a job at its next step; saved work stays",
  request: { params },
  responses: { 200: json("The job", jobSchema), ...failures(400, 404, 507) },
});

const resumeRoute = createRoute({
  method: "post",
  path: "/v1/jobs/{id}/resume",
  summary: "Continue a cancelled or failed job",
  request: { params },
  responses: { 202: acceptedJob, ...failures(400, 404, 409, 507) },
});

/** Schemas of a job's file or stream, by content type. */
type Content = Record<string, { schema: z.ZodType | PlainSchema }>;

/** A schema that zod cannot express. */
interface PlainSchema {
  type: "string" | "object";
  format?: string;
  description?: string;
}

const binary: PlainSchema = { type: "string", format: "binary" };
const lines: PlainSchema = {
  type: "string",
  description: "One JSON document a line",
};

/** Declares a route to a file or a stream of a job. */
const fileRoute = <Name extends string, Query extends z.ZodRawShape>(
  name: Name,
  { content, summary, query }: {
    content: Content;
    summary: string;
    query: Query;
  },
) =>
  createRoute({
    method: "get",
    path: `/v1/jobs/{id}/${name}` as const,
    summary,
    request: { params, query: z.object(query) },
    responses: {
      200: { description: summary, content },
      ...failures(400, 404, 409),
    },
  });

const eventsRoute = fileRoute("events", {
  content: { "text/event-stream": { schema: { type: "string" } } },
  summary: "Progress of a job as server-sent events",
  query: {},
});

const resultRoute = fileRoute("result", {
  content: {
    "application/json": {
      schema: z.union([
        classificationSchema,
        trainedSchema,
        crossValidatedSchema,
      ]),
    },
    "application/x-ndjson": { schema: lines },
  },
  summary: "Result of a job; of a batch, one JSON line an image",
  query: {},
});

const heatmapRoute = fileRoute("heatmap.png", {
  content: { "image/png": { schema: binary } },
  summary: "Heat map of an image that a job classified",
  query: { image },
});

const regionsRoute = fileRoute("regions.geojson", {
  content: { "application/geo+json": { schema: { type: "object" } } },
  summary: "Tiles and sub-tiles of an image that a job classified",
  query: { image, origin: z.enum(ORIGINS).optional() },
});

const logRoute = fileRoute("log", {
  content: { "application/x-ndjson": { schema: lines } },
  summary:
    "Log of a training job: one JSON line an epoch, and one a fold that is done",
  query: {},
});

const reportRoute = fileRoute("report", {
  content: { "text/html": { schema: { type: "string" } } },
  summary: "Report of a training job: one page that loads nothing",
  query: {},
});

const removeRoute = createRoute({
  method: "delete",
  path: "/v1/jobs/{id}",
  summary: "Remove a job that has ended, and its files; its model stays",
  request: { params },
  responses: {
    204: { description: "Removed" },
    ...failures(400, 404, 409),
  },
});

/** Routes under `/v1/jobs`. */
// deno-lint-ignore explicit-module-boundary-types -- the client infers it
export function jobRoutes(server: Server) {
  const { jobs } = server;
  return newRoutes()
    .openapi(listRoute, listJobs(jobs))
    .openapi(getRoute, getJob(jobs))
    .openapi(cancelRoute, cancelJob(jobs))
    .openapi(resumeRoute, resumeJob(jobs))
    .openapi(eventsRoute, sendEvents(server))
    .openapi(resultRoute, sendResult(jobs))
    .openapi(heatmapRoute, sendHeatmap(jobs))
    .openapi(regionsRoute, sendRegions(jobs))
    .openapi(logRoute, sendLog(jobs))
    .openapi(reportRoute, sendReport(jobs))
    .openapi(removeRoute, removeJob(jobs));
}

type Handler<Route extends RouteConfig> = RouteHandler<Route, Env>;

function listJobs(jobs: Jobs): Handler<typeof listRoute> {
  return async (c) => {
    const query = c.req.valid("query");
    const { jobs: found, next } = await jobs.list(query, c.get("caller"));
    return c.json({ jobs: found.map(jobDocument), next }, 200);
  };
}

function getJob(jobs: Jobs): Handler<typeof getRoute> {
  return async (c) => {
    const job = await jobs.get(c.req.valid("param").id, c.get("caller"));
    return c.json(jobDocument(job), 200);
  };
}

function cancelJob(jobs: Jobs): Handler<typeof cancelRoute> {
  return async (c) => {
    const job = await jobs.cancel(c.req.valid("param").id, c.get("caller"));
    return c.json(jobDocument(job), 200);
  };
}

function resumeJob(jobs: Jobs): Handler<typeof resumeRoute> {
  return async (c) => {
    const { id } = c.req.valid("param");
    const caller = c.get("caller");
    if ((await jobs.get(id, caller)).kind === "train") assertRole(c, "train");
    const job = await jobs.resume(id, caller);
    return c.json(jobDocument(job), 202, { location: jobPath(job.id) });
  };
}

function sendEvents({ jobs, draining }: Server): Handler<typeof eventsRoute> {
  return async (c) => {
    const { id } = c.req.valid("param");
    const caller = c.get("caller");
    await jobs.get(id, caller); // 404 before the stream begins
    return streamSSE(c, async (stream) => {
      let last = "", sent = performance.now();
      while (!stream.aborted && !draining.aborted) {
        const job = await jobs.get(id, caller);
        const data = JSON.stringify(jobDocument(job));
        if (data !== last) {
          const event = eventOf(job);
          await stream.writeSSE({ event, data });
          [last, sent] = [data, performance.now()];
        } else if (performance.now() - sent > COMMENT_EVERY_MS) {
          await stream.write(": still there\n\n");
          sent = performance.now();
        }
        if (job.finishedAt !== null) return;
        await pause(LOOK_EVERY_MS);
      }
    });
  };
}

function sendResult(jobs: Jobs): Handler<typeof resultRoute> {
  return async (c) => {
    const job = await succeeded(
      jobs,
      c.req.valid("param").id,
      c.get("caller"),
    );
    const isBatch = job.kind === "batch";
    const file = isBatch ? RESULTS_FILE : RESULT_FILE;
    return c.body(await jobs.open(job, file), 200, {
      "content-type": isBatch ? "application/x-ndjson" : "application/json",
    });
  };
}

function sendHeatmap(jobs: Jobs): Handler<typeof heatmapRoute> {
  return async (c) => {
    const job = await succeeded(
      jobs,
      c.req.valid("param").id,
      c.get("caller"),
    );
    const heatmap = await jobs.openHeatmap(job, c.req.valid("query").image);
    return c.body(heatmap, 200, { "content-type": "image/png" });
  };
}

function sendRegions(jobs: Jobs): Handler<typeof regionsRoute> {
  return async (c) => {
    const job = await succeeded(
      jobs,
      c.req.valid("param").id,
      c.get("caller"),
    );
    const { image, origin = "level0" } = c.req.valid("query");
    const result = await jobs.classified(job, image);
    return c.body(JSON.stringify(regionsOf(result, origin)), 200, {
      "content-type": "application/geo+json",
    });
  };
}

function sendLog(jobs: Jobs): Handler<typeof logRoute> {
  return async (c) => {
    const job = await jobs.get(c.req.valid("param").id, c.get("caller"));
    return c.body(await jobs.openLog(job), 200, {
      "content-type": "application/x-ndjson",
    });
  };
}

function sendReport(jobs: Jobs): Handler<typeof reportRoute> {
  return async (c) => {
    const job = await succeeded(
      jobs,
      c.req.valid("param").id,
      c.get("caller"),
    );
    return c.body(await jobs.openReport(job), 200, {
      "content-type": "text/html; charset=utf-8",
    });
  };
}

function removeJob(jobs: Jobs): Handler<typeof removeRoute> {
  return async (c) => {
    await jobs.remove(c.req.valid("param").id, c.get("caller"));
    return c.body(null, 204);
  };
}

/** Finds a job that succeeded. @throws {ConflictError} If it did not. */
async function succeeded(
  jobs: Jobs,
  id: string,
  caller: Caller,
): Promise<Job> {
  const job = await jobs.get(id, caller);
  if (job.state === "succeeded") return job;
  throw new ConflictError(
    `The job has no result, because it is ${job.state}${
      job.error ? `: ${job.error}` : ""
    }`,
  );
}

/** Name of the event that reports a job's state. */
function eventOf({ state, finishedAt }: Job): string {
  if (finishedAt !== null) return "end";
  return state === "running" ? "progress" : "state";
}
