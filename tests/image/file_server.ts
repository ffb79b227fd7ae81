/**
 * A web server for one file, which may behave badly: for the tests of remote
 * images.
 *
 * @module
 */

import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** How a server answers; the first requests that `trouble` names go wrong. */
export interface ServerOptions {
  /** Answers every request with all of the file. */
  ignoreRanges?: boolean;
  /** What goes wrong, by the number of the request, from 1. */
  trouble?: (request: number) => Trouble | undefined;
  /** Turns the file into another at this request. */
  changeAt?: number;
}

/**
 * `status`: an error; `cut`: half of the answer, then the end of the
 * connection; `short`, `long`: fewer or more bytes than the header says;
 * `lie`: a header that names a file twice as long; `stall`: no answer.
 */
export type Trouble =
  | { kind: "status"; status: number }
  | { kind: "cut" | "short" | "long" | "lie" | "stall" };

/** What a server was asked for. */
export interface FileServer extends AsyncDisposable {
  url: string;
  ranges: string[];
  bytes: number;
}

/** Serves `file` at a free port until it is disposed of. */
export async function serveFile(
  file: Uint8Array,
  { ignoreRanges, trouble = () => undefined, changeAt }: ServerOptions = {},
): Promise<FileServer> {
  const ranges: string[] = [];
  let served = 0;
  const server = createServer(({ headers }, response) => {
    const count = ranges.push(headers.range ?? "all");
    const wrong = trouble(count);
    if (wrong?.kind === "stall") return;
    if (wrong?.kind === "status") {
      response.writeHead(wrong.status).end("no");
      return;
    }
    const isNew = changeAt !== undefined && count >= changeAt;
    const etag = isNew ? '"new"' : '"old"';
    const condition = headers["if-range"];
    const isAll = ignoreRanges || (condition && condition !== etag);
    const range = isAll
      ? null
      : /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? "");
    const start = Number(range?.[1] ?? 0);
    const end = Math.min(Number(range?.[2] ?? Infinity) + 1, file.length);
    const total = file.length * (wrong?.kind === "lie" ? 2 : 1);
    response.setHeader("etag", etag);
    if (range) {
      response.setHeader("content-range", `bytes ${start}-${end - 1}/${total}`);
    }
    response.statusCode = range ? 206 : 200;
    served += end - start;
    answer(response, file.subarray(start, end), wrong);
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
