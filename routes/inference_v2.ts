/**
 * The Open Inference Protocol, version 2, beside our own routes: what serving
 * platforms speak.
 *
 * An image is an element of the input `image` (BYTES: its file in base64) or
 * of the input `uri` (BYTES: an address or a path). The outputs are `label`
 * (BYTES) and `probabilities` (FP32), one row an image.
 *
 * Source: kserve/open-inference-protocol, specification/protocol/
 * inference_rest.md.
 *
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { InputError } from "../lib/serve/errors.ts";
import type { HeldImage } from "../lib/serve/images.ts";
import type { ModelEntry } from "../lib/serve/models.ts";
import type { Classified } from "../lib/serve/predictor.ts";
import { closedObject, modelName, optionShape } from "../lib/serve/schemas.ts";
import type { Server } from "../lib/serve/server.ts";
import { type Env, newRoutes } from "./env.ts";
import { failures, json } from "./responses.ts";
import project from "../deno.json" with { type: "json" };

const MAX_IMAGES = 16;
const OUTPUTS = ["label", "probabilities"] as const;

const tensorSchema = z.object({
  name: z.string(),
  datatype: z.string(),
  shape: z.array(z.number().int()),
});

const inputSchema = z.object({
  name: z.enum(["image", "uri"]),
  datatype: z.literal("BYTES"),
  shape: z.array(z.number().int().min(1).max(MAX_IMAGES)).length(1),
  data: z.array(z.string().min(1)).min(1).max(MAX_IMAGES),
  parameters: z.looseObject({}).optional(),
});

const inferSchema = z.object({
  id: z.string().max(200).optional(),
  parameters: closedObject({
    samples: optionShape.samples,
    draws: optionShape.draws,
    seed: optionShape.seed,
  }).optional(),
  inputs: z.array(inputSchema).length(1),
  outputs: z.array(z.looseObject({ name: z.enum(OUTPUTS) })).optional()
    .openapi({ description: "Those that are wanted; all if none is named" }),
}).openapi("InferRequest");

const outputSchema = z.object({
  ...tensorSchema.shape,
  data: z.array(z.union([z.string(), z.number()])),
});

const inferResponseSchema = z.object({
  id: z.string(),
  model_name: z.string(),
  model_version: z.string(),
  outputs: z.array(outputSchema),
}).openapi("InferResponse");

const modelMetadataSchema = z.object({
  name: z.string(),
  versions: z.array(z.string()),
  platform: z.string(),
  inputs: z.array(tensorSchema),
  outputs: z.array(tensorSchema),
}).openapi("ModelMetadata");

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

/** `/v2` and what is under it. */
export function inferenceRoutes(server: Server): OpenAPIHono<Env> {
  const { models } = server;
  const routes = newRoutes()
    .openapi(
      createRoute({
        method: "get",
        path: "/v2",
        summary: "The server's name and version",
        responses: { 200: json("The server", serverSchema), ...failures() },
      }),
      (c) =>
        c.json(
          { name: "zoomin", version: project.version, extensions: [] },
          200,
        ),
    )
    .openapi(
      createRoute({
        method: "get",
        path: "/v2/health/live",
        summary: "Whether the process answers",
        responses: { 200: json("It does", live) },
      }),
      (c) => c.json({ live: true }, 200),
    )
    .openapi(
      createRoute({
        method: "get",
        path: "/v2/health/ready",
        summary: "Whether work is taken",
        responses: { 200: json("It is", ready), 503: json("It is not", ready) },
      }),
      (c) =>
        server.notReady === undefined
          ? c.json({ ready: true }, 200)
          : c.json({ ready: false }, 503),
    );
  // Every route of a model is there with and without its version.
  const places = [
    { base: "/v2/models/{model}", params: ofModel },
    { base: "/v2/models/{model}/versions/{version}", params: ofVersion },
  ] as const;
  for (const { base, params } of places) {
    const find = ({ model, version }: { model: string; version?: string }) =>
      models.get(model, version);
    routes
      .openapi(
        createRoute({
          method: "get",
          path: base,
          summary: "A model's inputs and outputs",
          request: { params },
          responses: {
            200: json("The model", modelMetadataSchema),
            ...failures(400, 404),
          },
        }),
        (c) => c.json(metadata(find(c.req.valid("param"))), 200),
      )
      .openapi(
        createRoute({
          method: "get",
          path: `${base}/ready`,
          summary: "Whether a model is loaded",
          request: { params },
          responses: {
            200: json("It is", modelReady),
            503: json("It is not", modelReady),
            ...failures(400, 404),
          },
        }),
        (c) => {
          const model = find(c.req.valid("param"));
          const { name } = model;
          return server.notReady === undefined && models.isLoaded(model)
            ? c.json({ name, ready: true }, 200)
            : c.json({ name, ready: false }, 503);
        },
      )
      .openapi(
        createRoute({
          method: "post",
          path: `${base}/infer`,
          summary: "Classify images",
          request: {
            params,
            body: {
              required: true,
              content: { "application/json": { schema: inferSchema } },
            },
          },
          responses: {
            200: json("One row an image", inferResponseSchema),
            ...failures(400, 404, 408, 409, 413, 415, 422, 429, 502, 503, 504),
          },
        }),
        async (c) => {
          const { model: name, version } = c.req.valid("param") as {
            model: string;
            version?: string;
          };
          const model = models.loaded(name, version);
          const request = c.req.valid("json");
          const results = await infer(server, model, request, c.req.raw.signal);
          return c.json({
            id: request.id ?? c.get("requestId"),
            model_name: model.name,
            model_version: model.version,
            outputs: outputsOf(model, results)
              .filter(({ name }) => isWanted(name, request)),
          }, 200);
        },
      );
  }
  return routes;
}

function metadata({ name, version, info }: ModelEntry) {
  return {
    name,
    versions: [version],
    platform: "zoomin",
    inputs: [
      { name: "image", datatype: "BYTES", shape: [-1] },
      { name: "uri", datatype: "BYTES", shape: [-1] },
    ],
    outputs: [
      { name: "label", datatype: "BYTES", shape: [-1] },
      {
        name: "probabilities",
        datatype: "FP32",
        shape: [-1, info.classes.length],
      },
    ],
  };
}

/** Classifies every image of a request; the first one that fails fails all. */
async function infer(
  { predictor, images, uploads }: Server,
  model: ModelEntry,
  { inputs: [input], parameters }: z.infer<typeof inferSchema>,
  signal: AbortSignal,
): Promise<Classified[]> {
  const { name, data, shape } = input!;
  if (shape[0] !== data.length) {
    throw new InputError(
      "inputs.0.shape",
      `Cannot take ${data.length} images as a shape of [${shape}]`,
    );
  }
  using _place = predictor.enter();
  const { seed = 0, ...how } = parameters ?? {};
  const hold = async (value: string): Promise<HeldImage> =>
    name === "uri"
      ? await images.named(
        URL.canParse(value) ? { uri: value } : { path: value },
      )
      : images.uploaded(
        await uploads.receive(new Blob([decoded(value)]).stream(), { signal }),
      );
  return await Promise.all(data.map(async (value) => {
    await using image = await hold(value);
    const options = { ...how, seed };
    return (await predictor.classify(image, model, options, signal)).result;
  }));
}

function decoded(base64: string): Uint8Array<ArrayBuffer> {
  try {
    return Uint8Array.fromBase64(base64);
  } catch (cause) {
    throw new InputError(
      "inputs.0.data",
      `Cannot read an image from base64: ${(cause as Error).message}`,
      { cause },
    );
  }
}

function isWanted(
  output: string,
  { outputs = [] }: z.infer<typeof inferSchema>,
): boolean {
  return outputs.length === 0 || outputs.some(({ name }) => name === output);
}

function outputsOf({ info: { classes } }: ModelEntry, results: Classified[]) {
  return [
    {
      name: "label",
      datatype: "BYTES",
      shape: [results.length],
      data: results.map(({ label }) => label),
    },
    {
      name: "probabilities",
      datatype: "FP32",
      shape: [results.length, classes.length],
      data: results.flatMap(({ probabilities }) =>
        classes.map((name) => probabilities[name]!)
      ),
    },
  ];
}
