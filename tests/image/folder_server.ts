/**
 * A web server for the files of a folder, for tests of images of many objects.
 *
 * @module
 */
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { Answer } from "./file_server.ts";

/** Requests that a server received. */
export interface FolderServer extends AsyncDisposable {
  /** URL of the folder, without a slash at its end. */
  url: string;
  /** Path below the folder of each request, with its range. */
  requests: string[];
  /** Bytes of the bodies that were sent. */
  readonly bytes: number;
}

/** Serves the files of `folder` on a free port until disposed of. */
export async function serveFolder(
  folder: string,
  { intercept = () => undefined, ranges = true, cut = () => false }: {
    /** Answers a request in place of the file. */
    intercept?: (request: IncomingMessage) => Answer | undefined;
    /** Answers a request for a part with it, not with all of the file. */
    ranges?: boolean;
    /** Ends the connection in the middle of the body of this request, from 1. */
    cut?: (request: number) => boolean;
  } = {},
): Promise<FolderServer> {
  const requests: string[] = [];
  let sent = 0;
  const server = createServer(async (request, response) => {
    const path = decodeURIComponent(new URL(request.url!, "http://h").pathname);
    const { range } = request.headers;
    const count = requests.push(range ? `${path} ${range}` : path);
    const other = intercept(request);
    if (other) {
      response.writeHead(other.status, other.headers).end("no");
      return;
    }
    const file = await Deno.readFile(join(folder, path)).catch(() => undefined);
    if (file === undefined) {
      response.writeHead(404).end("none");
      return;
    }
    const [, first = "", last = ""] = /^bytes=(\d*)-(\d*)$/.exec(range ?? "") ??
      [];
    const isPart = ranges && range !== undefined;
    const start = !isPart
      ? 0
      : first === ""
      ? file.length - Number(last)
      : Number(first);
    const end = isPart && first !== ""
      ? Math.min(file.length, Number(last) + 1)
      : file.length;
    const body = file.subarray(start, end);
    response.writeHead(isPart ? 206 : 200, {
      "content-length": body.length,
      ...isPart && {
        "content-range": `bytes ${start}-${end - 1}/${file.length}`,
      },
    });
    if (cut(count)) {
      response.write(
        body.subarray(0, body.length / 2),
        () => response.destroy(),
      );
      return;
    }
    sent += body.length;
    response.end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    requests,
    get bytes() {
      return sent;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
