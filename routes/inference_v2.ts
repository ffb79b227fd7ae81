/**
 * The Open Inference Protocol, version 2, of serving platforms such as Triton
 * and KServe, with the extension that sends tensors as bytes.
 *
 * An image is an element of the input `image` (BYTES: its file, in JSON as
 * base64) or of the input `uri` (BYTES: a URL or a path), or a row of the
 * input `pixels` (UINT8). The outputs are `label` (BYTES) and `probabilities`
 * (FP32), one row an image.
 *
 * Sources: lib/serve/inference/schemas.ts.
 *
 * @module
 */
import {
  createRoute,
  type OpenAPIHono,
  type RouteConfig,
  type RouteHandler,
  z,
} from "@hono/zod-openapi";
import type { Context } from "hono";
import { accepts } from "hono/accepts";
import { MediaTypeError } from "../lib/serve/errors.ts";
import { receiveImages } from "../lib/serve/inference/inputs.ts";
import {
  type EncodedOutputs,
  encodeOutputs,
  outputMetadata,
} from "../lib/serve/inference/outputs.ts";
import { awaitRoom, receiveRequest } from "../lib/serve/inference/request.ts";
import {
  BINARY_EXTENSION,
  HEADER_LENGTH,
  type InferRequest,
  inferResponseSchema,
  inferSchema,
  INPUTS,
  modelMetadataSchema,
} from "../lib/serve/inference/schemas.ts";
import type { HeldImage } from "../lib/serve/intake/images.ts";
import { bodyBegins } from "../lib/serve/intake/paced_body.ts";
import type { ModelEntry } from "../lib/serve/models.ts";
import type { ModelClassification } from "../lib/serve/predictor.ts";
import { modelName } from "../lib/serve/schemas.ts";
import type { Server } from "../lib/serve/server.ts";
import { type Env, newRoutes } from "./env.ts";
import { announcedBytes, isJson } from "./middleware.ts";
import { failures, json } from "./responses.ts";
import project from "../deno.json" with { type: "json" };

const JSON_TYPE = "application/json", BYTES_TYPE = "application/octet-stream";

const serverSchema = z.object({
  name: z.string(),
  version: z.string(),
  extensions: z.array(z.string()),
});
const live = z.object({ live: z.boolean() });
const ready = z.object({ ready: z.boolean() });
const modelReady = z.object({ name: z.string(), ready: z.boolean() });

const ofModel = z.object({ model: modelName });
const ofVersion = z.object({ model: modelName, version: z.string().max(64) });

// Every route of a model exists with and without a version.
const PLACES = [
  { base: "/v2/models/{model}", params: ofModel },
  { base: "/v2/models/{model}/versions/{version}", params: ofVersion },
] as const;

type Place = (typeof PLACES)[number];
type Named = { model: string; version?: string };

const binary = { type: "string", format: "binary" } as const;

const serverRoute = createRoute({
  method: "get",
  path: "/v2",
  summary: "The server's name and version",
  responses: { 200: json("The server", serverSchema), ...failures() },
});

const liveRoute = createRoute({
  method: "get",
  path: "/v2/health/live",
  security: [],
  summary: "Liveness: the process answers",
  responses: { 200: json("Live", live) },
});

const readyRoute = createRoute({
  method: "get",
  path: "/v2/health/ready",
  security: [],
  summary: "Readiness: work is accepted",
  responses: { 200: json("Ready", ready), 503: json("Not ready", ready) },
});

function modelRoute({ base, params }: Place) {
  return createRoute({
    method: "get",
    path: base,
    summary: "A model's inputs and outputs",
    request: { params },
    responses: {
      200: json("The model; a request has one input", modelMetadataSchema),
      ...failures(400, 404),
    },
  });
}

function modelReadyRoute({ base, params }: Place) {
  return createRoute({
    method: "get",
    path: `${base}/ready`,
    summary: "Readiness of a model: it is loaded",
    request: { params },
    responses: {
      200: json("Ready", modelReady),
      503: json("Not ready", modelReady),
      ...failures(400, 404),
    },
  });
}

function inferRoute({ base, params }: Place) {
  return createRoute({
    method: "post",
    path: `${base}/infer`,
    summary: "Classify images",
    request: {
      params,
      headers: z.object({
        [HEADER_LENGTH]: z.string().optional().openapi({
          description:
            "Length of the JSON in bytes, if tensors follow it as bytes",
          pattern: "^[1-9][0-9]*$",
          example: "142",
        }),
      }),
      body: {
        content: {
          [JSON_TYPE]: {
            schema: { $ref: "#/components/schemas/InferRequest" },
          },
          [BYTES_TYPE]: { schema: binary },
        },
      },
    },
    responses: {
      200: {
        description: "One row an image",
        content: {
          [JSON_TYPE]: { schema: inferResponseSchema },
          [BYTES_TYPE]: { schema: binary },
        },
      },
      ...failures(400, 404, 408, 409, 413, 415, 422, 429, 502, 503, 504, 507),
    },
  });
}

/** Routes under `/v2`. */
export function inferenceRoutes(server: Server): OpenAPIHono<Env> {
  const routes = newRoutes();
  // The handler reads the body itself, because clients may send no content
  // type.
  routes.openAPIRegistry.register("InferRequest", inferSchema);
  routes
    .openapi(serverRoute, sendServer)
    .openapi(liveRoute, sendLive)
    .openapi(readyRoute, sendReady(server));
  for (const place of PLACES) {
    routes
      .openapi(modelRoute(place), sendMetadata(server))
      .openapi(modelReadyRoute(place), sendModelReady(server))
      .openapi(inferRoute(place), sendInference(server));
  }
  return routes;
}

/** Handler of a route that exists with and without a version. */
type ModelHandler<Route extends (place: Place) => RouteConfig> = RouteHandler<
  ReturnType<Route>,
  Env
>;

const sendServer: RouteHandler<typeof serverRoute, Env> = (c) =>
  c.json({
    name: "zoomin",
    version: project.version,
    extensions: [BINARY_EXTENSION],
  }, 200);

const sendLive: RouteHandler<typeof liveRoute, Env> = (c) =>
  c.json({ live: true }, 200);

function sendReady(server: Server): RouteHandler<typeof readyRoute, Env> {
  return (c) =>
    server.notReady === undefined
      ? c.json({ ready: true }, 200)
      : c.json({ ready: false }, 503);
}

function sendMetadata({ models }: Server): ModelHandler<typeof modelRoute> {
  return (c) => {
    const { model, version }: Named = c.req.valid("param");
    return c.json(metadata(models.get(model, version)), 200);
  };
}

function sendModelReady(
  server: Server,
): ModelHandler<typeof modelReadyRoute> {
  const { models } = server;
  return (c) => {
    const { model: wanted, version }: Named = c.req.valid("param");
    const model = models.get(wanted, version);
    const { name } = model;
    return server.notReady === undefined && models.isLoaded(model)
      ? c.json({ name, ready: true }, 200)
      : c.json({ name, ready: false }, 503);
  };
}

function sendInference(server: Server): ModelHandler<typeof inferRoute> {
  return async (c) => {
    const { model: name, version }: Named = c.req.valid("param");
    const model = server.models.loaded(name, version);
    using _held = server.models.hold(model);
    const { request, results } = await infer(c, server, model);
    const { outputs, tensors } = encodeOutputs(model, results, request);
    const document = {
      id: request.id ?? c.get("requestId"),
      model_name: model.name,
      model_version: model.version,
      outputs,
    };
    if (tensors.length === 0) return packed(c, c.json(document, 200));
    return packed(c, binaryAnswer(c, document, tensors));
  };
}

function metadata(model: ModelEntry) {
  return {
    name: model.name,
    versions: [model.version],
    platform: "zoomin",
    inputs: Object.entries(INPUTS).map(([name, { datatype, shape }]) => ({
      name,
      datatype,
      shape: [...shape],
    })),
    outputs: outputMetadata(model),
  };
}

/** Classifies every image of a request; one failure fails the request. */
async function infer(
  c: Context<Env>,
  { predictor, images, uploads, limits, json }: Server,
  model: ModelEntry,
): Promise<{ request: InferRequest; results: ModelClassification[] }> {
  assertType(c.req.header("content-type"));
  const { body, signal } = c.req.raw;
  const incoming = {
    body,
    signal,
    headerLength: c.req.header(HEADER_LENGTH),
    announced: announcedBytes(c),
    held: c.get("heldBody"),
  };
  // Both before it takes a place of others.
  await bodyBegins(c.env, { pace: limits.pace, signal });
  await awaitRoom(incoming, limits);
  using _place = predictor.enter();
  await using received = await receiveRequest(incoming, limits, json);
  await using held = new AsyncDisposableStack();
  const { request } = received;
  const receiver = { images, uploads, limits, held };
  const all = await receiveImages(request.inputs[0]!, received, receiver);
  const { samples, draws, seed = 0 } = request.parameters ?? {};
  const classify = async (image: HeldImage, signal: AbortSignal) => {
    const how = { samples, draws, seed };
    return (await predictor.classify(image, model, how, signal)).result;
  };
  return { request, results: await together(all, classify, signal) };
}

/**
 * Accepts JSON, bytes and no type at all, as clients of the protocol send them.
 */
function assertType(type = ""): void {
  if (
    type === "" || isJson(type) || /^application\/octet-stream\b/i.test(type)
  ) {
    return;
  }
  throw new MediaTypeError(
    `The Content-Type "${type}" is not supported: send ${JSON_TYPE}, or ${BYTES_TYPE} if tensors follow the JSON as bytes`,
  );
}

/** Runs `work` on all images at once; a failure aborts the others. */
async function together<T>(
  images: readonly HeldImage[],
  work: (image: HeldImage, signal: AbortSignal) => Promise<T>,
  signal: AbortSignal,
): Promise<T[]> {
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  const all = images.map((image) => work(image, either));
  try {
    return await Promise.all(all);
  } catch (error) {
    failed.abort();
    await Promise.allSettled(all); // so that their files are removed
    throw error;
  }
}

/** JSON, with the bytes of tensors after it. */
function binaryAnswer(
  c: Context<Env>,
  document: { outputs: EncodedOutputs["outputs"] },
  tensors: EncodedOutputs["tensors"],
) {
  const head = new TextEncoder().encode(JSON.stringify(document));
  c.header(HEADER_LENGTH, String(head.length));
  return c.body(new Blob([head, ...tensors]).stream(), 200, {
    "content-type": BYTES_TYPE,
  });
}

/** Compresses an answer as the caller's Accept-Encoding asks. */
function packed<Answer extends Response>(
  c: Context<Env>,
  answer: Answer,
): Answer {
  const encoding = accepts(c, {
    header: "Accept-Encoding",
    supports: ["gzip", "deflate", "identity"],
    default: "identity",
  });
  answer.headers.append("vary", "Accept-Encoding");
  if (encoding === "identity" || answer.body === null) return answer;
  const headers = new Headers(answer.headers);
  headers.set("content-encoding", encoding);
  headers.delete("content-length");
  const stream = new CompressionStream(encoding as CompressionFormat);
  return new Response(answer.body.pipeThrough(stream), {
    status: answer.status,
    headers,
  }) as Answer;
}
