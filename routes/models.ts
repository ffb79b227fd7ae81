/**
 * `/v1/models`: the models, their state and the default.
 *
 * @module
 */
import { createRoute, z } from "@hono/zod-openapi";
import type { ModelEntry } from "../lib/serve/models.ts";
import {
  modelListSchema,
  modelName,
  modelSchema,
} from "../lib/serve/schemas.ts";
import type { Server } from "../lib/serve/server.ts";
import { newRoutes } from "./env.ts";
import { allowed } from "./middleware.ts";
import { failures, json } from "./responses.ts";

const params = z.object({ name: modelName });

const listRoute = createRoute({
  method: "get",
  path: "/v1/models",
  summary: "All models that are in the folder now",
  responses: { 200: json("The models", modelListSchema), ...failures(503) },
});

const getRoute = createRoute({
  method: "get",
  path: "/v1/models/{name}",
  summary: "A model: configuration, metrics, hash",
  request: { params },
  responses: { 200: json("The model", modelSchema), ...failures(400, 404) },
});

const removeRoute = createRoute({
  method: "delete",
  path: "/v1/models/{name}",
  summary: "Unload a model and remove its files",
  description: "Role: admin",
  middleware: allowed("admin"),
  request: { params },
  responses: {
    204: { description: "Removed" },
    ...failures(400, 404, 409, 503),
  },
});

/** Declares a route that changes the state of a model. */
const actionRoute = <Action extends string>(action: Action, summary: string) =>
  createRoute({
    method: "post",
    path: `/v1/models/{name}/${action}` as const,
    summary,
    description: "Role: admin",
    middleware: allowed("admin"),
    request: { params },
    responses: {
      200: json("The model", modelSchema),
      ...failures(400, 404, 409, 503),
    },
  });

/** Routes under `/v1/models`. */
// deno-lint-ignore explicit-module-boundary-types -- the client infers it
export function modelRoutes({ models }: Server) {
  const document = (model: ModelEntry): z.infer<typeof modelSchema> => {
    const { name, version, info } = model;
    const { sha256, config, calibration, epoch, ...facts } = info;
    const { parameterCount, metrics } = facts;
    return {
      name,
      version,
      sha256,
      state: models.isLoaded(model) ? "loaded" : "unloaded",
      default: name === models.defaultName,
      classes: [...info.classes],
      epoch,
      parameterCount,
      metrics,
      calibration,
      config,
    };
  };
  return newRoutes()
    .openapi(listRoute, async (c) => {
      await models.refresh();
      return c.json({
        models: models.models.map(document),
        faults: [...models.faults],
      }, 200);
    })
    .openapi(
      getRoute,
      (c) => c.json(document(models.get(c.req.valid("param").name)), 200),
    )
    .openapi(removeRoute, async (c) => {
      await models.remove(c.req.valid("param").name);
      return c.body(null, 204);
    })
    .openapi(
      actionRoute("load", "Load a model onto the engine"),
      async (c) =>
        c.json(document(await models.load(c.req.valid("param").name)), 200),
    )
    .openapi(
      actionRoute(
        "unload",
        "Free a model in this server; it stays in the folder",
      ),
      async (c) =>
        c.json(document(await models.unload(c.req.valid("param").name)), 200),
    )
    .openapi(
      actionRoute(
        "default",
        "Make a model the default of requests that name none",
      ),
      async (c) =>
        c.json(
          document(await models.makeDefault(c.req.valid("param").name)),
          200,
        ),
    );
}
