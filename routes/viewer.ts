/**
 * `/`: the viewer, a page that shows images, what a model says of them, and jobs.
 *
 * Its modules are those of the folder `viewer`, without their types; OpenSeadragon
 * is the file of its package. Nothing is fetched from other sites.
 *
 * @module
 */
import type { OpenAPIHono } from "@hono/zod-openapi";
import { createHash } from "node:crypto";
import { stripTypeScriptTypes } from "node:module";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { NotFoundError } from "../lib/serve/errors.ts";
import type { Server } from "../lib/serve/server.ts";
import type { Env } from "./env.ts";

/** A file of the page. */
interface Asset {
  type: string;
  bytes: Uint8Array<ArrayBuffer>;
  compressed: Uint8Array<ArrayBuffer>;
  etag: string;
}

const FOLDER = new URL("../viewer/", import.meta.url);
// Modules that the page shares with the server.
const SHARED = [new URL("../lib/eval/heatmap/viridis.ts", import.meta.url)];
const JAVASCRIPT = "text/javascript; charset=utf-8";
const TYPES: Record<string, string> = {
  html: "text/html; charset=utf-8",
  css: "text/css; charset=utf-8",
  svg: "image/svg+xml",
};

const compress = promisify(gzip);

/** Adds the page and its files, which need no token. */
export function addViewer(
  app: OpenAPIHono<Env>,
  { tiles }: Pick<Server, "tiles">,
): void {
  let assets: Promise<Map<string, Asset>> | undefined;
  const find = async (name: string) => {
    assets ??= readAssets(); // with the first request
    return (await assets).get(name);
  };
  const answer = async (name: string, request: Request) => {
    const asset = await find(name);
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

/** All files by name. */
async function readAssets(): Promise<Map<string, Asset>> {
  const { default: openSeadragon } = await import(
    "openseadragon/build/openseadragon/openseadragon.min.js",
    { with: { type: "text" } }
  );
  const assets = new Map([
    ["openseadragon.js", await asset(JAVASCRIPT, openSeadragon)],
  ]);
  const files = await Array.fromAsync(
    Deno.readDir(FOLDER),
    ({ name }) => new URL(name, FOLDER),
  );
  for (const file of [...files, ...SHARED]) {
    const [, name, kind] = /([^/]+)\.(\w+)$/.exec(file.pathname)!;
    if (kind !== "ts" && !TYPES[kind!]) continue;
    const text = withoutIndents(await Deno.readTextFile(file));
    const [served, made] = kind === "ts"
      ? [`${name}.js`, await asset(JAVASCRIPT, scriptOf(text))]
      : [`${name}.${kind}`, await asset(TYPES[kind!]!, text)];
    assets.set(served, made);
  }
  return assets;
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

/** A module as browsers run it, its imports beside it, without comments. */
function scriptOf(typescript: string): string {
  const script = stripTypeScriptTypes(typescript, { mode: "transform" })
    .replaceAll(/^\s*(\/\*\*[\s\S]*?\*\/|\/\/.*$)\s*/gm, "")
    .replaceAll(/(?<=from ")[^"]*?([^/"]+)\.ts(?=")/g, "./$1.js");
  return withoutIndents(script);
}

/** A tenth of a file; no text in it spans lines. */
function withoutIndents(text: string): string {
  return text.replaceAll(/\n\s+/g, "\n");
}
