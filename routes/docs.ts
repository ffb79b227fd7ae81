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

/**
 * The document, as generators of clients need it: every operation has an id and
 * a group, and alternatives of fields are objects of their own.
 */
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
      operation.tags = [groupOf(path)];
    }
  }
  separateAlternatives(document.components?.schemas as Schemas);
  return document;
}

type Schemas = Record<string, ObjectSchema>;

/** Fields of an object's schema that matter here. */
interface ObjectSchema {
  properties?: Record<string, unknown>;
  required?: string[];
  oneOf?: unknown[];
}

/**
 * Replaces each object that has just one of some fields, such as ClassifyByName,
 * by the choice between objects that have it: ClassifyByUri, ClassifyByPath.
 */
function separateAlternatives(schemas: Schemas): void {
  for (
    const [name, { properties, oneOf, ...rest }] of Object.entries(schemas)
  ) {
    if (!properties || !oneOf) continue;
    const fields = (oneOf as { required: [string] }[])
      .map(({ required: [field] }) => field);
    const choices = fields.map((field) => {
      const others = fields.filter((other) => other !== field);
      const choice = name.replace(/(ByName)?$/, `By${capitalised(field)}`);
      schemas[choice] = {
        ...rest,
        properties: Object.fromEntries(
          Object.entries(properties).filter(([key]) => !others.includes(key)),
        ),
        required: [...rest.required ?? [], field],
      };
      return { $ref: `#/components/schemas/${choice}` };
    });
    schemas[name] = { oneOf: choices };
  }
}

/** Group of a route: the word behind /v1. */
function groupOf(path: string): string {
  if (path.startsWith("/v2")) return "inference";
  return /^\/v1\/(\w+)/.exec(path)?.[1] ?? "monitoring";
}

/** Such as getJobsByIdEvents of GET /v1/jobs/{id}/events. */
function operationIdOf(method: string, path: string): string {
  const words = path.replace(/^\/v1(?=\/)/, "")
    .replaceAll(/\{(\w+)\}/g, "by-$1")
    .split(/[^A-Za-z0-9]+/);
  return method + words.map(capitalised).join("");
}

function capitalised(word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1);
}
