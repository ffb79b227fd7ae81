/**
 * `/v1/workers`: the processes that do jobs.
 *
 * @module
 */
import { createRoute } from "@hono/zod-openapi";
import { workerListSchema } from "../lib/serve/schemas.ts";
import type { Server } from "../lib/serve/server.ts";
import { newRoutes } from "./env.ts";
import { allowed } from "./middleware.ts";
import { failures, json } from "./responses.ts";

const listRoute = createRoute({
  method: "get",
  path: "/v1/workers",
  summary: "The processes that do jobs, of all hosts that share them",
  description: "Role: admin",
  middleware: allowed("admin"),
  responses: { 200: json("The workers", workerListSchema), ...failures(503) },
});

/** Routes under `/v1/workers`. */
// deno-lint-ignore explicit-module-boundary-types -- the client infers it
export function workerRoutes({ workers }: Server) {
  return newRoutes().openapi(listRoute, async (c) => {
    const list = await workers.list();
    return c.json({
      workers: list.map(({ kinds, running, ...worker }) => ({
        ...worker,
        kinds: [...kinds],
        running: [...running],
      })),
    }, 200);
  });
}
