/**
 * `/v1/annotations`: objects of the images of a table, read and drawn anew. What
 * is drawn is kept by the server; the folders of data stay as they are.
 *
 * @module
 */
import { createRoute, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import {
  objectsSchema,
  tableImageQuerySchema,
  tableQuerySchema,
  tableRowsSchema,
} from "../lib/serve/schemas.ts";
import type { Server } from "../lib/serve/server.ts";
import { type Env, newRoutes } from "./env.ts";
import { allowed } from "./middleware.ts";
import { failures, json } from "./responses.ts";

const description = "Role: train";
const middleware = allowed("train");

const rowsRoute = createRoute({
  method: "get",
  path: "/v1/annotations",
  summary: "Images of a table, and which are annotated",
  description,
  middleware,
  request: { query: tableQuerySchema },
  responses: {
    200: json("The first images", tableRowsSchema),
    ...failures(400),
  },
});

const tagged = {
  ...json("The objects; their ETag changes with them", objectsSchema),
  headers: {
    ETag: { description: "Tag", schema: { type: "string" as const } },
  },
};

const getRoute = createRoute({
  method: "get",
  path: "/v1/annotations/image",
  summary: "Objects of an image: those saved, else those of the table",
  description,
  middleware,
  request: { query: tableImageQuerySchema },
  responses: { 200: tagged, ...failures(400, 404) },
});

const putRoute = createRoute({
  method: "put",
  path: "/v1/annotations/image",
  summary: "Save the objects of an image, in the place of the table's own",
  description,
  middleware,
  request: {
    query: tableImageQuerySchema,
    headers: z.object({
      "if-match": z.string().min(1).max(1000).openapi({
        description: 'ETag of the objects that are replaced, or "*" for any',
      }),
    }),
    body: {
      required: true,
      content: { "application/json": { schema: objectsSchema } },
    },
  },
  responses: { 200: tagged, ...failures(400, 404, 408, 412, 413, 415, 507) },
});

const csvRoute = createRoute({
  method: "get",
  path: "/v1/annotations/boxes.csv",
  summary:
    "All objects of a table, as train --boxes reads them; of polygons, the bounding box",
  description,
  middleware,
  request: { query: tableQuerySchema },
  responses: {
    200: {
      description: "image,left,top,right,bottom,type",
      content: { "text/csv": { schema: { type: "string" as const } } },
    },
    ...failures(400),
  },
});

/** Routes of annotations. */
// deno-lint-ignore explicit-module-boundary-types -- the client infers it
export function annotationRoutes({ annotations }: Server) {
  return newRoutes()
    .openapi(rowsRoute, async (c) => {
      const { table } = c.req.valid("query");
      return c.json(await annotations.rows(table, signalOf(c)), 200);
    })
    .openapi(getRoute, async (c) => {
      const place = c.req.valid("query");
      const { objects, etag } = await annotations.objects(place, signalOf(c));
      return c.json({ objects }, 200, { etag });
    })
    .openapi(putRoute, async (c) => {
      const { objects } = c.req.valid("json");
      const etag = await annotations.replace(c.req.valid("query"), {
        objects,
        known: matchedTags(c.req.valid("header")["if-match"]),
        signal: signalOf(c),
      });
      return c.json({ objects }, 200, { etag });
    })
    .openapi(csvRoute, async (c) => {
      const { table } = c.req.valid("query");
      return c.body(await annotations.csv(table, signalOf(c)), 200, {
        "content-type": "text/csv; charset=utf-8",
        "content-disposition": 'attachment; filename="boxes.csv"',
      });
    });
}

/**
 * Tags of If-Match (RFC 9110, section 13.1.1), which compares by strong ones
 * alone; "*" if any will do.
 */
function matchedTags(header: string): string[] | "*" {
  if (header.trim() === "*") return "*";
  return (header.match(/(W\/)?"[^"]*"/g) ?? [])
    .filter((tag) => tag.startsWith('"'));
}

function signalOf(c: Context<Env>): AbortSignal {
  return c.req.raw.signal;
}
