/**
 * A web server for one file, which may misbehave, for tests of remote images.
 *
 * @module
 */

import {
  createServer,
  type IncomingMessage,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";

/** Behaviour of a server. */
export interface ServerOptions {
  /** Answers every request, or those from this number on, with the whole file. */
  ignoreRanges?: boolean | number;
  /** Range to send instead of the requested bytes `[start, end)`. */
  give?: (start: number, end: number) => { start: number; end: number };
  /**
   * Content-Range of the bytes `[start, end)` of `total`; omitted if undefined.
   */
  nameRange?: (
    start: number,
    end: number,
    total: number,
  ) => string | undefined;
  /** ETag of the file; none if null. */
  etag?: string | null;
  /** Omits Content-Length. */
  chunked?: boolean;
  /** Faults by the number of the request, from 1. */
  trouble?: (request: number) => Trouble | undefined;
  /** Replaces the file at this request. */
  changeAt?: number;
  /** Answers a request in place of the file, such as one that is not signed. */
  intercept?: (request: IncomingMessage) => Answer | undefined;
}

/** An answer that is not of the file. */
export interface Answer {
  status: number;
  headers?: Record<string, string>;
}

/**
 * `status`: an error; `cut`: half of the response, then the end of the
 * connection; `short`, `long`: fewer or more bytes than the header states;
 * `lie`: a header that states twice the length of the file; `stall`: no
 * response.
 */
export type Trouble =
  | { kind: "status"; status: number }
  | { kind: "cut" | "short" | "long" | "lie" | "stall" };

/** Requests received by a server. */
export interface FileServer extends AsyncDisposable {
  url: string;
  ranges: string[];
  bytes: number;
}

/** Serves `file` on a free port until disposed of. */
export async function serveFile(
  file: Uint8Array,
  {
    ignoreRanges = false,
    trouble = () => undefined,
    changeAt,
    intercept = () => undefined,
    give = (start, end) => ({ start, end }),
    nameRange = (start, end, total) => `bytes ${start}-${end - 1}/${total}`,
    etag: version = '"old"',
    chunked = false,
  }: ServerOptions = {},
): Promise<FileServer> {
  const ranges: string[] = [];
  let served = 0;
  const server = createServer((request, response) => {
    const { headers } = request;
    const count = ranges.push(headers.range ?? "all");
    const other = intercept(request);
    if (other) {
      response.writeHead(other.status, other.headers).end("no");
      return;
    }
    const wrong = trouble(count);
    if (wrong?.kind === "stall") return;
    if (wrong?.kind === "status") {
      response.writeHead(wrong.status).end("no");
      return;
    }
    const isNew = changeAt !== undefined && count >= changeAt;
    const etag = isNew ? '"new"' : version;
    const condition = headers["if-range"];
    const isWhole = typeof ignoreRanges === "number"
      ? count >= ignoreRanges
      : ignoreRanges;
    const isAll = isWhole || (condition && condition !== etag);
    const range = isAll ? undefined : rangeOf(headers.range, file.length);
    const { start, end } = range
      ? give(range.start, range.end)
      : { start: 0, end: file.length };
    const total = file.length * (wrong?.kind === "lie" ? 2 : 1);
    if (etag !== null) response.setHeader("etag", etag);
    const name = range && nameRange(start, end, total);
    if (name !== undefined) response.setHeader("content-range", name);
    response.statusCode = range ? 206 : 200;
    served += end - start;
    const bytes = file.subarray(start, end);
    if (chunked) response.write(bytes, () => response.end());
    else answer(response, bytes, wrong);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/slide.tif`,
    ranges,
    get bytes() {
      return served;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** The requested bytes `[start, end)` in a Range header, of `length`. */
function rangeOf(
  header = "",
  length: number,
): { start: number; end: number } | undefined {
  const [, first, last] = /^bytes=(\d*)-(\d+)$/.exec(header) ?? [];
  if (last === undefined) return undefined;
  return first === "" // the last ones
    ? { start: length - Number(last), end: length }
    : { start: Number(first), end: Math.min(Number(last) + 1, length) };
}

function answer(
  response: ServerResponse,
  bytes: Uint8Array,
  wrong: Trouble | undefined,
): void {
  switch (wrong?.kind) {
    case "cut":
      response.setHeader("content-length", bytes.length);
      response.write(bytes.subarray(0, bytes.length / 2), () => {
        response.destroy();
      });
      return;
    case "short": // in chunks: no header says how many bytes come
      response.end(bytes.subarray(0, bytes.length - 1));
      return;
    case "long":
      response.end(new Uint8Array([...bytes, 0]));
      return;
    default:
      response.setHeader("content-length", bytes.length);
      response.end(bytes);
  }
}
