/**
 * `/`: the viewer, a page that shows images, what a model says of them, and jobs.
 *
 * Its script is made of the modules in the folder `viewer` by `deno task viewer`;
 * OpenSeadragon is the file of its package, without the parts that are not used.
 * Nothing is fetched from other sites.
 *
 * @module
 */
import type { OpenAPIHono } from "@hono/zod-openapi";
import { createHash } from "node:crypto";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { NotFoundError } from "../lib/serve/errors.ts";
import type { Server } from "../lib/serve/server.ts";
import type { Env } from "./env.ts";

/** A file of the page. */
export interface Asset {
  type: string;
  bytes: Uint8Array<ArrayBuffer>;
  compressed: Uint8Array<ArrayBuffer>;
  etag: string;
}

const FOLDER = new URL("../viewer/", import.meta.url);
const JAVASCRIPT = "text/javascript; charset=utf-8";
/** The files of the folder that are sent, by name. */
const FILES = {
  "index.html": { file: "index.html", type: "text/html; charset=utf-8" },
  "style.css": { file: "style.css", type: "text/css; charset=utf-8" },
  "icon.svg": { file: "icon.svg", type: "image/svg+xml" },
  "main.js": { file: "main.min.js", type: JAVASCRIPT },
};

// Parts of OpenSeadragon that the page has no use for: a sixth of it.
const UNUSED = [
  "WebGLDrawer",
  "ReferenceStrip",
  ...["IIIF", "IIP", "Iris", "Osm", "Tms", "Zoomify", "Legacy"]
    .map((name) => `${name}TileSource`),
];

const compress = promisify(gzip);

/** Adds the page and its files, which need no token. */
export function addViewer(
  app: OpenAPIHono<Env>,
  { tiles }: Pick<Server, "tiles">,
): void {
  const answer = async (name: string, request: Request) => {
    const asset = (await viewerAssets()).get(name);
    if (!asset) throw new NotFoundError(`The page has no file ${name}`);
    const { type, bytes, compressed, etag } = asset;
    const headers: Record<string, string> = {
      "content-type": type,
      "cache-control": "no-cache", // asked for anew, and mostly not sent
      vary: "accept-encoding",
      etag,
    };
    if (request.headers.get("if-none-match")?.includes(etag)) {
      return new Response(null, { status: 304, headers });
    }
    const isSmall = /\bgzip\b/.test(
      request.headers.get("accept-encoding") ?? "",
    );
    return isSmall
      ? new Response(compressed, {
        headers: { ...headers, "content-encoding": "gzip" },
      })
      : new Response(bytes, { headers });
  };
  app.get("/", (c) => {
    tiles.prepare(); // while the browser loads the page
    return answer("index.html", c.req.raw);
  });
  app.get("/viewer/:name", (c) => answer(c.req.param("name"), c.req.raw));
}

let assets: Promise<Map<string, Asset>> | undefined;

/** All files by name, read once: the first page that is opened would wait. */
export function viewerAssets(): Promise<ReadonlyMap<string, Asset>> {
  return assets ??= readAssets();
}

async function readAssets(): Promise<Map<string, Asset>> {
  const { default: openSeadragon } = await import(
    "openseadragon/build/openseadragon/openseadragon.min.js",
    { with: { type: "text" } }
  );
  const assets = new Map([
    [
      "openseadragon.js",
      await asset(JAVASCRIPT, withoutUnused(openSeadragon)),
    ],
  ]);
  for (const [name, { file, type }] of Object.entries(FILES)) {
    const text = await Deno.readTextFile(new URL(file, FOLDER));
    const isScript = type === JAVASCRIPT; // without indents already
    assets.set(name, await asset(type, isScript ? text : withoutIndents(text)));
  }
  return assets;
}

/** OpenSeadragon, each part of which is a function that is called at once. */
function withoutUnused(script: string): string {
  return script.split(/(?<=\}\(OpenSeadragon\);)/)
    .filter((part) => !UNUSED.some((name) => part.includes(`.${name}=`)))
    .join("");
}

async function asset(type: string, text: string): Promise<Asset> {
  const bytes = new TextEncoder().encode(text);
  const hash = createHash("sha256").update(bytes).digest("base64url");
  return {
    type,
    bytes,
    compressed: new Uint8Array(await compress(bytes)),
    etag: `"${hash.slice(0, 22)}"`,
  };
}

/** A tenth of a file; no text in it spans lines. */
function withoutIndents(text: string): string {
  return text.replaceAll(/\n\s+/g, "\n");
}
