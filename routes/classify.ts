/**
 * `POST /v1/classify`: an image's label and the regions that were examined.
 *
 * The image is the body, the part `file` of a form, or named in JSON. The
 * answer is JSON, the heat map (`Accept: image/png`) or the regions
 * (`Accept: application/geo+json`); or a job, if the image is large or the
 * caller prefers one.
 *
 * @module
 */
import { createRoute, z } from "@hono/zod-openapi";
import type { Context, MiddlewareHandler } from "hono";
import { accepts } from "hono/accepts";
import { regionsOf } from "../lib/serve/geojson.ts";
import { MediaTypeError } from "../lib/serve/errors.ts";
import type { HeldImage } from "../lib/serve/intake/images.ts";
import { bodyBegins } from "../lib/serve/intake/paced_body.ts";
import type { Accepted } from "../lib/serve/jobs/jobs.ts";
import type { HowToClassify } from "../lib/serve/predictor.ts";
import {
  classificationSchema,
  type ClassifyByName,
  classifyByNameSchema,
  type ClassifyQuery,
  classifyQuerySchema,
  parsed,
} from "../lib/serve/schemas.ts";
import type { Server } from "../lib/serve/server.ts";
import type { Upload } from "../lib/serve/intake/uploads.ts";
import { type Env, newRoutes } from "./env.ts";
import { jobDocument, jobPath } from "./job_document.ts";
import { announcedBytes, isJson } from "./middleware.ts";
import { acceptedJob, failures } from "./responses.ts";

const PNG = "image/png", GEOJSON = "application/geo+json";
const JSON_TYPE = "application/json";

const binary = { type: "string", format: "binary" } as const;

const TAKEN = /^(image\/|application\/octet-stream\b|multipart\/form-data\b)/i;

/**
 * Refuses unsupported types with the full list, because the framework names
 * JSON alone.
 */
const typed: MiddlewareHandler<Env> = async function assertType(c, next) {
  const type = c.req.header("content-type") ?? "";
  if (!isJson(type) && !TAKEN.test(type)) {
    const fault = type === ""
      ? "The request has no Content-Type"
      : `The Content-Type "${type}" is not supported`;
    throw new MediaTypeError(
      `${fault}: send an image as image/png, image/tiff... or application/octet-stream, a form as multipart/form-data, or JSON as application/json`,
    );
  }
  await next();
};

const headers = z.object({
  prefer: z.string().max(1000).optional().openapi({
    description: '"respond-async": respond with a job at once',
    example: "respond-async",
  }),
  "idempotency-key": z.string().min(1).max(255).optional().openapi({
    description: "A repeated request with the same key returns the first job",
  }),
});

const route = createRoute({
  method: "post",
  path: "/v1/classify",
  summary: "Classify an image",
  middleware: typed,
  request: {
    query: classifyQuerySchema,
    headers,
    body: {
      content: {
        [JSON_TYPE]: { schema: classifyByNameSchema },
        "multipart/form-data": {
          schema: {
            type: "object" as const,
            required: ["file"],
            properties: { file: binary },
            description: "Options as fields, before or after the file",
          },
        },
        "image/*": { schema: binary },
        "application/octet-stream": { schema: binary },
      },
    },
  },
  responses: {
    200: {
      description: "Label, probabilities and examined regions",
      content: {
        [JSON_TYPE]: { schema: classificationSchema },
        [PNG]: { schema: binary },
        [GEOJSON]: { schema: { type: "object" as const } },
      },
    },
    202: acceptedJob,
    ...failures(400, 404, 408, 409, 413, 415, 422, 429, 502, 503, 504, 507),
  },
});

/** A received request, before classification. */
interface Received {
  how: HowToClassify & { model?: string | undefined };
  /** Undefined if only the job will look for it. */
  image: HeldImage | undefined;
  asJob(): Promise<Accepted>;
}

/** `/v1/classify`. */
// deno-lint-ignore explicit-module-boundary-types -- the client infers it
export function classifyRoutes(server: Server) {
  const { predictor, limits, models } = server;
  return newRoutes().openapi(route, async (c) => {
    const { signal } = c.req.raw;
    const wantsJob = /\brespond-async\b/i.test(c.req.header("prefer") ?? "");
    if (!isJson(c.req.header("content-type") ?? "")) { // which is read by now
      await bodyBegins(c.env, { pace: limits.pace, signal });
    }
    using _place = predictor.enter();
    const received = await receive(server, c, {
      query: c.req.valid("query"),
      // Validated, but untyped beside bodies that are not JSON.
      named: c.req.valid("json" as never) as ClassifyByName,
      wantsJob,
    });
    await using image = received.image;
    if (!image || wantsJob || image.bytes > limits.jobBytes) {
      const { job, isNew } = await received.asJob();
      if (wantsJob) c.header("preference-applied", "respond-async");
      if (!isNew) c.header("idempotency-replayed", "true");
      return c.json(jobDocument(job), 202, { location: jobPath(job.id) });
    }
    const { model: name, ...how } = received.how;
    const type = accepts(c, {
      header: "Accept",
      supports: [JSON_TYPE, PNG, GEOJSON],
      default: JSON_TYPE,
    });
    const { result, heatmap } = await predictor.classify(
      image,
      models.loaded(name),
      { ...how, heatmap: type === PNG },
      signal,
    );
    if (heatmap) return c.body(heatmap, 200, { "content-type": PNG });
    if (type === GEOJSON) {
      return c.body(JSON.stringify(regionsOf(result)), 200, {
        "content-type": GEOJSON,
      });
    }
    return c.json({ id: c.get("requestId"), ...result }, 200);
  });
}

/** Receives the image by body, form or name. */
async function receive(
  { images, uploads, kept, jobs }: Server,
  c: Context<Env>,
  { query, named, wantsJob }: {
    query: ClassifyQuery;
    named: ClassifyByName;
    wantsJob: boolean;
  },
): Promise<Received> {
  const { body, signal } = c.req.raw;
  const type = c.req.header("content-type") ?? "";
  const options = {
    key: c.req.header("idempotency-key"),
    caller: c.get("caller"),
  };
  if (isJson(type)) {
    const { upload, ...asked } = { ...query, ...named };
    const { uri, path, seed = 0, ...how } = asked;
    if (upload !== undefined) {
      const name = { uri, path, upload };
      return {
        how: { seed, ...how },
        image: await images.seen(name, options.caller),
        asJob: async () => {
          const copy = await uploads.copy(kept.get(upload, options.caller));
          return await jobs.classifyUpload(
            copy,
            { seed, ...how },
            options,
          );
        },
      };
    }
    // An earlier job of the key may outlive its image.
    const isOfJob = wantsJob || await jobs.isKnown(asked, options);
    return {
      how: { seed, ...how },
      image: isOfJob ? undefined : await images.named({ uri, path }),
      asJob: () => jobs.classifyNamed(asked, options),
    };
  }
  const announced = announcedBytes(c);
  const ofUpload = (upload: Upload, { seed = 0, ...rest }: ClassifyQuery) => {
    const how = { seed, ...rest };
    return {
      how,
      image: images.uploaded(upload),
      asJob: () => jobs.classifyUpload(upload, how, options),
    };
  };
  if (/^multipart\/form-data\b/i.test(type)) {
    const { file, fields } = await uploads.receiveForm(body, {
      contentType: type,
      announced,
      signal,
    });
    try {
      return ofUpload(file, {
        ...query,
        ...parsed(classifyQuerySchema, fields),
      });
    } catch (error) {
      await uploads.remove(file);
      throw error;
    }
  }
  return ofUpload(
    await uploads.receive(body, { announced, signal }),
    query,
  );
}
