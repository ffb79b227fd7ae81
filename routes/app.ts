/**
 * All routes with their middleware.
 *
 * @module
 */
import type { OpenAPIHono } from "@hono/zod-openapi";
import { setTimeout } from "node:timers/promises";
import { BusyError, NotFoundError } from "../lib/serve/errors.ts";
import type { Server } from "../lib/serve/server.ts";
import { annotationRoutes } from "./annotations.ts";
import { classifyRoutes } from "./classify.ts";
import { addDocs } from "./docs.ts";
import { type Env, newRoutes } from "./env.ts";
import { errorResponse } from "./errors.ts";
import { healthRoutes } from "./health.ts";
import { imageRoutes } from "./images.ts";
import { inferenceRoutes } from "./inference_v2.ts";
import { jobRoutes } from "./jobs.ts";
import {
  boundedJson,
  dropBody,
  guarded,
  headed,
  observed,
  secured,
  unpacked,
} from "./middleware.ts";
import { modelRoutes } from "./models.ts";
import { acceptRoutes } from "./train.ts";
import { addViewer } from "./viewer.ts";
import { workerRoutes } from "./workers.ts";

/** Creates the app that handles the server's requests. */
// deno-lint-ignore explicit-module-boundary-types -- the client infers it
export function createApp(server: Server) {
  const app = newRoutes();
  app.use(
    headed(), // outermost: the others still change the answer
    observed(server),
    secured(),
    guarded(server),
    unpacked(),
    boundedJson(server),
  );
  const routes = app
    .route("/", classifyRoutes(server))
    .route("/", imageRoutes(server))
    .route("/", annotationRoutes(server))
    .route("/", modelRoutes(server))
    .route("/", jobRoutes(server))
    .route("/", acceptRoutes(server))
    .route("/", workerRoutes(server));
  app.route("/", healthRoutes(server));
  app.route("/", inferenceRoutes(server));
  addDocs(app);
  addViewer(app, server);
  app.onError(async (error, c) => {
    if (error instanceof BusyError) {
      dropBody(c);
      await pause(server, c.req.raw.signal);
    }
    return errorResponse(error, c, server);
  });
  const methods = methodsOf(app);
  app.notFound((c) => {
    const allowed = methods(c.req.path);
    if (allowed.length === 0) {
      throw new NotFoundError(
        `There is no route ${c.req.path}: /docs lists all routes`,
      );
    }
    return c.json(
      {
        error: `${c.req.path} does not allow ${c.req.method}: use ${
          allowed.join(", ")
        }`,
        requestId: c.get("requestId"),
      },
      405,
      { allow: allowed.join(", ") },
    );
  });
  return routes;
}

/**
 * Holds a refusal back: clients that do not heed Retry-After would else take
 * the time of those who are served.
 */
async function pause(
  { draining, limits: { refusalMs } }: Server,
  left: AbortSignal,
): Promise<void> {
  const signal = AbortSignal.any([draining, left]);
  await setTimeout(refusalMs, undefined, { signal }).catch(() => {}); // told now
}

/** The app's type, from which the client's type is derived. */
export type App = ReturnType<typeof createApp>;

/** Methods that a path allows; none if there is no such path. */
function methodsOf(app: OpenAPIHono<Env>): (path: string) => string[] {
  const routes = app.routes
    .filter(({ method, path }) => method !== "ALL" && !path.includes("*"))
    .map(({ method, path }) => ({
      method,
      pattern: new URLPattern({ pathname: path }),
    }));
  return function methods(pathname) {
    const found = routes
      .filter(({ pattern }) => pattern.test({ pathname }))
      .flatMap(({ method }) => method === "GET" ? ["GET", "HEAD"] : [method]);
    return [...new Set(found)];
  };
}
