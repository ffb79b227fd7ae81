/**
 * Images to look at: uploads that are kept, the folders of data, and pictures
 * of an image as deep zoom (DZI) and as rectangles.
 *
 * An image is named by `path`, `uri` or `upload` in the query of each request,
 * so that every request is checked, and a picture has one address.
 *
 * Source of DZI: "Deep Zoom File Format Overview", Microsoft, 2011.
 *
 * @module
 */
import { createRoute, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { MediaTypeError } from "../lib/serve/errors.ts";
import type { HeldImage } from "../lib/serve/intake/images.ts";
import {
  listingQuerySchema,
  listingSchema,
  regionQuerySchema,
  seenFactsSchema,
  seenNameSchema,
  uploadSchema,
} from "../lib/serve/schemas.ts";
import type { Server } from "../lib/serve/server.ts";
import {
  type CutTask,
  TILE_FORMATS,
  TILE_SIDE,
  type TileFormat,
} from "../lib/serve/tiles/protocol.ts";
import { type Env, newRoutes } from "./env.ts";
import { announcedBytes, isJson } from "./middleware.ts";
import { failures, json } from "./responses.ts";

const binary = { type: "string", format: "binary" } as const;
const XML = "application/xml";

const uploadRoute = createRoute({
  method: "post",
  path: "/v1/uploads",
  summary: "Keep an image for a while, to look at and to classify",
  request: {
    body: {
      content: {
        "application/octet-stream": { schema: binary },
        "image/*": { schema: binary },
      },
    },
  },
  responses: {
    201: json("The upload, which only its caller may use", uploadSchema),
    ...failures(400, 408, 413, 415, 507),
  },
});

const listRoute = createRoute({
  method: "get",
  path: "/v1/data",
  summary: "Images and folders in a folder of data",
  request: { query: listingQuerySchema },
  responses: {
    200: json("Folders first, then images, by name", listingSchema),
    ...failures(400),
  },
});

const OF_IMAGES = [400, 404, 415, 422, 502, 504] as const;

const factsRoute = createRoute({
  method: "get",
  path: "/v1/image",
  summary: "Size and levels of an image",
  request: { query: seenNameSchema },
  responses: {
    200: json("The image", seenFactsSchema),
    ...failures(...OF_IMAGES),
  },
});

const dziRoute = createRoute({
  method: "get",
  path: "/v1/image.dzi",
  summary: "Deep Zoom descriptor of an image",
  request: {
    query: seenNameSchema.extend({ format: z.enum(TILE_FORMATS).optional() }),
  },
  responses: {
    200: {
      description:
        "The descriptor; tiles are in image_files, by the same query",
      content: { [XML]: { schema: { type: "string" as const } } },
    },
    ...failures(...OF_IMAGES),
  },
});

const pictures = {
  200: {
    description: "The picture",
    content: {
      "image/jpeg": { schema: binary },
      "image/png": { schema: binary },
    },
  },
  304: { description: "The picture of If-None-Match" },
  ...failures(...OF_IMAGES),
};

const tileName = z.string().regex(/^\d{1,7}_\d{1,7}\.(jpeg|png)$/).openapi({
  description: "COLUMN_ROW.jpeg or .png",
  example: "0_0.jpeg",
});

const tileRoute = createRoute({
  method: "get",
  path: "/v1/image_files/{level}/{tile}",
  summary: "Tile of a deep zoom",
  request: {
    params: z.object({
      level: z.string().regex(/^\d{1,2}$/).transform(Number)
        .openapi({ type: "integer", minimum: 0, maximum: 99 }),
      tile: tileName,
    }),
    query: seenNameSchema.extend({ format: z.enum(TILE_FORMATS).optional() }),
  },
  responses: pictures,
});

const regionRoute = createRoute({
  method: "get",
  path: "/v1/image/region.png",
  summary: "Rectangle of an image at full resolution",
  request: { query: regionQuerySchema },
  responses: pictures,
});

/** Routes of images to look at. */
// deno-lint-ignore explicit-module-boundary-types -- the client infers it
export function imageRoutes(server: Server) {
  const { uploads, kept, sources, tiles, limits } = server;
  return newRoutes()
    .openapi(uploadRoute, async (c) => {
      const { body, signal } = c.req.raw;
      const type = c.req.header("content-type") ?? "";
      if (isJson(type) || /^multipart\//i.test(type)) {
        throw new MediaTypeError(
          `The Content-Type "${type}" is not supported: send the image as image/png, image/tiff... or application/octet-stream`,
        );
      }
      const announced = announcedBytes(c);
      const upload = await uploads.receive(body, { announced, signal });
      const id = await kept.keep(upload, c.get("caller"));
      const keptSeconds = limits.keptMs / 1000;
      return c.json({ upload: id, bytes: upload.bytes, keptSeconds }, 201);
    })
    .openapi(listRoute, async (c) => {
      const { folder = "" } = c.req.valid("query");
      return c.json(await sources.list(folder), 200);
    })
    .openapi(factsRoute, async (c) => {
      const image = await seenImage(server, c, c.req.valid("query"));
      const { etag: version, ...facts } = await tiles.describe(
        image,
        c.req.raw.signal,
      );
      const { name } = image;
      return c.json({
        ...facts,
        name,
        version,
        tileSide: TILE_SIDE,
        warnings: [...facts.warnings],
      }, 200);
    })
    .openapi(dziRoute, async (c) => {
      const { format = "jpeg", ...name } = c.req.valid("query");
      const image = await seenImage(server, c, name);
      const { width, height, etag } = await tiles.describe(
        image,
        c.req.raw.signal,
      );
      if (knownTags(c).includes(etag)) {
        return c.body(null, 304 as 200, { etag });
      }
      const text = `<?xml version="1.0" encoding="UTF-8"?>
<Image xmlns="http://schemas.microsoft.com/deepzoom/2008" Format="${format}" Overlap="0" TileSize="${TILE_SIDE}"><Size Width="${width}" Height="${height}"/></Image>
`;
      return c.body(text, 200, { "content-type": XML, etag, ...CACHED });
    })
    .openapi(tileRoute, async (c) => {
      const { level, tile } = c.req.valid("param");
      const [, column, row, format] = /^(\d+)_(\d+)\.(\w+)$/.exec(tile)!;
      const { format: _, ...name } = c.req.valid("query");
      return await picture(server, c, name, {
        place: { level, column: Number(column), row: Number(row) },
        format: format as TileFormat,
      });
    })
    .openapi(regionRoute, async (c) => {
      const { x, y, width, height, ...name } = c.req.valid("query");
      return await picture(server, c, name, {
        place: { x, y, width, height },
        format: "png",
      });
    });
}

// Of one caller, for a session of looking; the ETag is that of the content.
const CACHED = { "cache-control": "private, max-age=300" };

/** The image that a request names. */
async function seenImage(
  { images, annotations }: Server,
  c: Context<Env>,
  { table, uri, ...name }: z.infer<typeof seenNameSchema>,
): Promise<HeldImage> {
  const url = table !== undefined && uri !== undefined
    ? await annotations.url({ table, image: uri })
    : uri;
  return await images.seen({ ...name, uri: url }, c.get("caller"));
}

/** Answers with a picture, or that the caller has it. */
async function picture(
  server: Server,
  c: Context<Env>,
  name: z.infer<typeof seenNameSchema>,
  task: Pick<CutTask, "place" | "format">,
) {
  const image = await seenImage(server, c, name);
  const { etag, bytes } = await server.tiles.cut(
    image,
    { ...task, known: knownTags(c) },
    c.req.raw.signal,
  );
  const headers = { etag, ...CACHED };
  if (bytes === undefined) return c.body(null, 304, headers);
  const type = task.format === "png" ? "image/png" : "image/jpeg";
  return c.body(bytes, 200, { ...headers, "content-type": type });
}

/** Tags of If-None-Match (RFC 9110, section 13.1.2); weak ones count as well. */
function knownTags(c: Context): string[] {
  return c.req.header("if-none-match")?.match(/"[^"]*"/g) ?? [];
}
