/**
 * `/openapi.json`, and `/docs` to read it in a browser, which fetches nothing
 * from other sites.
 *
 * @module
 */
import type { OpenAPIHono } from "@hono/zod-openapi";
import { html } from "hono/html";
import project from "../deno.json" with { type: "json" };
import type { Env } from "./env.ts";

const START = `SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#docs",
  deepLinking: true,
});
`;

const page = html`<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width">
    <title>zoomin</title>
    <link rel="stylesheet" href="docs/swagger-ui.css">
  </head>
  <body>
    <div id="docs"></div>
    <script src="docs/swagger-ui.js"></script>
    <script src="docs/start.js"></script>
  </body>
</html>`;

/** Adds the OpenAPI document of all routes in `app`, and its page. */
export function addDocs(app: OpenAPIHono<Env>): void {
  app.openAPIRegistry.registerComponent("securitySchemes", "token", {
    type: "http",
    scheme: "bearer",
    description:
      "`Authorization: Bearer TOKEN`, a token of the server's --token-file. Its role is classify (images, tables, models to read, one's own jobs), train (these, and training) or admin (all). A server without tokens serves its machine only.",
  });
  app.get("/openapi.json", (c) => c.json(documentOf(app)));
  app.get("/docs", (c) => c.html(page));
  app.get("/docs/start.js", (c) => c.body(START, 200, javascript));
  app.get("/docs/swagger-ui.js", async (c) => {
    // Several megabytes, so read only on request.
    const { default: script } = await import(
      "swagger-ui-dist/swagger-ui-bundle.js",
      { with: { type: "text" } }
    );
    return c.body(script, 200, javascript);
  });
  app.get("/docs/swagger-ui.css", async (c) => {
    const { default: style } = await import(
      "swagger-ui-dist/swagger-ui.css",
      { with: { type: "text" } }
    );
    return c.body(style, 200, { "content-type": "text/css" });
  });
}

const javascript = { "content-type": "text/javascript" };

/** The document, in which every operation has an id, as generators need. */
function documentOf(app: OpenAPIHono<Env>) {
  const document = app.getOpenAPI31Document({
    openapi: "3.1.0",
    info: {
      title: "zoomin",
      version: project.version,
      description: "Classifies huge images by tiny objects",
    },
    security: [{ token: [] }, {}],
  });
  for (const [path, item] of Object.entries(document.paths ?? {})) {
    for (const [method, operation] of Object.entries(item)) {
      operation.operationId = operationIdOf(method, path);
    }
  }
  return document;
}

/** Such as getJobsByIdEvents of GET /v1/jobs/{id}/events. */
function operationIdOf(method: string, path: string): string {
  const words = path.replace(/^\/v1(?=\/)/, "")
    .replaceAll(/\{(\w+)\}/g, "by-$1")
    .split(/[^A-Za-z0-9]+/);
  return method +
    words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join("");
}
