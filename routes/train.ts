/**
 * `POST /v1/train`, `/v1/batch` and `/v1/jobs`: requests that become jobs.
 *
 * @module
 */
import { createRoute, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import type { Accepted, AcceptOptions, Jobs } from "../lib/serve/jobs/jobs.ts";
import {
  batchSchema,
  type NewJobRequest,
  newJobSchema,
  trainSchema,
} from "../lib/serve/schemas.ts";
import type { Role } from "../lib/serve/auth.ts";
import type { Server } from "../lib/serve/server.ts";
import { type Env, newRoutes } from "./env.ts";
import { jobDocument, jobPath } from "./job_document.ts";
import { allowed, assertRole } from "./middleware.ts";
import { acceptedJob, failures } from "./responses.ts";

const headers = z.object({
  "idempotency-key": z.string().min(1).max(255).optional().openapi({
    description: "A repeated request with the same key returns the first job",
  }),
});

/** Declares a route that accepts a job. */
const acceptRoute = <Path extends string, Schema extends z.ZodType>(
  path: Path,
  schema: Schema,
  { summary, role }: { summary: string; role: Role },
) =>
  createRoute({
    method: "post",
    path,
    summary,
    description: `Role: ${role}`,
    middleware: allowed(role),
    request: {
      headers,
      body: { required: true, content: { "application/json": { schema } } },
    },
    responses: {
      202: acceptedJob,
      ...failures(400, 404, 408, 409, 413, 415, 429, 503, 507),
    },
  });

/** Routes that accept jobs. */
// deno-lint-ignore explicit-module-boundary-types -- the client infers it
export function acceptRoutes({ jobs }: Server) {
  return newRoutes()
    .openapi(
      acceptRoute("/v1/train", trainSchema, {
        summary: "Train a model",
        role: "train",
      }),
      async (c) =>
        answer(c, await jobs.train(c.req.valid("json"), optionsOf(c))),
    )
    .openapi(
      acceptRoute("/v1/batch", batchSchema, {
        summary: "Classify the images of a table",
        role: "classify",
      }),
      async (c) =>
        answer(c, await jobs.batch(c.req.valid("json"), optionsOf(c))),
    )
    .openapi(
      acceptRoute("/v1/jobs", newJobSchema, {
        summary: "Any job, by its kind; to train needs the role train",
        role: "classify",
      }),
      async (c) => {
        const job = c.req.valid("json");
        if (job.kind === "train") assertRole(c, "train");
        return answer(c, await accept(jobs, job, optionsOf(c)));
      },
    );
}

function accept(
  jobs: Jobs,
  job: NewJobRequest,
  options: AcceptOptions,
): Promise<Accepted> {
  switch (job.kind) {
    case "train": {
      const { kind: _, ...request } = job;
      return jobs.train(request, options);
    }
    case "batch": {
      const { kind: _, ...request } = job;
      return jobs.batch(request, options);
    }
    case "classify": {
      const { kind: _, ...request } = job;
      return jobs.classifyNamed(request, options);
    }
    default:
      return job satisfies never;
  }
}

function optionsOf(c: Context<Env>): AcceptOptions {
  return {
    key: c.req.header("idempotency-key"),
    caller: c.get("caller"),
    signal: c.req.raw.signal,
  };
}

function answer(c: Context<Env>, { job, isNew }: Accepted) {
  if (!isNew) c.header("idempotency-replayed", "true");
  return c.json(jobDocument(job), 202, { location: jobPath(job.id) });
}
