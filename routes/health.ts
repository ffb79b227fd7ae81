/**
 * Probes and metrics, for load balancers and Prometheus.
 *
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { Server } from "../lib/serve/server.ts";
import { type Env, newRoutes } from "./env.ts";

const health = z.object({
  live: z.boolean(),
  ready: z.boolean(),
  engine: z.string().nullable(),
  model: z.string().nullable().openapi({ description: "The default model" }),
  reason: z.string().optional().openapi({ description: "Reason if not ready" }),
}).openapi("Health");

const answer = (description: string) => ({
  description,
  content: { "application/json": { schema: health } },
});

/** `/livez`, `/readyz`, `/healthz`, `/metrics`. */
export function healthRoutes(server: Server): OpenAPIHono<Env> {
  const routes = newRoutes();
  const state = () => {
    const reason = server.notReady;
    return {
      live: true,
      ready: reason === undefined,
      engine: server.engine.status?.reason ?? null,
      model: server.models.defaultName ?? null,
      ...(reason !== undefined && { reason }),
    };
  };
  routes.openapi(
    createRoute({
      method: "get",
      path: "/livez",
      security: [],
      summary: "Liveness: the process answers",
      responses: { 200: answer("It does") },
    }),
    (c) => c.json(state(), 200),
  );
  for (const path of ["/readyz", "/healthz"]) {
    routes.openapi(
      createRoute({
        method: "get",
        path,
        security: [],
        summary:
          "Readiness: the engine passed its self-test, work is accepted, and the default model is loaded",
        responses: { 200: answer("Ready"), 503: answer("Not ready") },
      }),
      (c) => {
        const now = state();
        return now.ready
          ? c.json(now, 200)
          : c.json(now, 503, { "retry-after": "5" });
      },
    );
  }
  routes.openapi(
    createRoute({
      method: "get",
      path: "/metrics",
      summary: "Metrics for Prometheus",
      responses: {
        200: {
          description: "Text exposition format",
          content: { "text/plain": { schema: z.string() } },
        },
      },
    }),
    async (c) =>
      c.text(await server.metrics.text(), 200, {
        "content-type": server.metrics.contentType,
      }),
  );
  return routes;
}
