/**
 * A web server for one file of any size that answers range requests and counts
 * what it sends.
 *
 * @module
 */

/** A server, and its requests so far. */
export interface RangeServer extends AsyncDisposable {
  url: string;
  bytes: number;
  requests: number;
}

/** Serves the file at `path` on a free port until it is disposed of. */
export function serveRanges(path: string): RangeServer {
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen() {} },
    async ({ headers }) => {
      counted.requests++;
      const { size } = await Deno.stat(path);
      const range = /^bytes=(\d+)-(\d+)$/.exec(headers.get("range") ?? "");
      const start = Number(range?.[1] ?? 0);
      const end = Math.min(Number(range?.[2] ?? size - 1) + 1, size);
      using file = await Deno.open(path);
      await file.seek(start, Deno.SeekMode.Start);
      const body = new Uint8Array(end - start);
      for (let at = 0; at < body.length;) {
        at += await file.read(body.subarray(at)) ?? body.length;
      }
      counted.bytes += body.length;
      return new Response(body, {
        status: range ? 206 : 200,
        headers: {
          "accept-ranges": "bytes",
          "content-range": `bytes ${start}-${end - 1}/${size}`,
          etag: '"slide"',
        },
      });
    },
  );
  const counted: RangeServer = {
    url: `http://127.0.0.1:${server.addr.port}/slide.tif`,
    bytes: 0,
    requests: 0,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
  return counted;
}
