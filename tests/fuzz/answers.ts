/**
 * Damaged answers of a web server to whoever reads an image from it.
 *
 * @module
 */
import type { RandomStream } from "../../kernels/random.ts";
import { openUrl } from "../../lib/image/bytes/http.ts";
import { damagedText, textOf } from "./mutate.ts";
import { ends, type Target } from "./target.ts";

const SIZE = 40_000; // bytes of the file that is served

// Of someone who waits for nothing.
const LIMITS = {
  idleTimeoutMs: 200,
  attempts: 2,
  firstPauseMs: 1,
  maxDownloadBytes: 2 ** 20,
};

const SEEDS = [
  "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes START-END/40000\r\n" +
  'Content-Length: LENGTH\r\nETag: "a"\r\nAccept-Ranges: bytes\r\n\r\nBODY',
  "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes START-END/*\r\n" +
  "Transfer-Encoding: chunked\r\nLast-Modified: Sun, 29 Nov 2026 10:00:00 GMT\r\n\r\n" +
  "5\r\nhello\r\n0\r\n\r\n",
  "HTTP/1.1 200 OK\r\nContent-Length: 11\r\nContent-Encoding: gzip\r\n\r\nhello world",
  "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n",
  "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */40000\r\nContent-Length: 0\r\n\r\n",
  "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\nno",
];

/** Answers, from their first byte to ranges of a file. */
export const answers: Target = {
  name: "answers",
  // deno-lint-ignore require-await
  async open() {
    let template = "";
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const serving = serve(listener, () => template);
    const { port } = listener.addr;
    return {
      input: (random: RandomStream) => damagedText(SEEDS, random),
      async run(input, random) {
        template = textOf(input);
        await ends(async () => {
          const source = await openUrl(
            `http://127.0.0.1:${port}/a.tif`,
            LIMITS,
          );
          try {
            for (let i = 0; i < 3; i++) {
              const length = 1 + random.below(5000);
              await source.read(random.below(SIZE), length);
            }
          } finally {
            source.close();
          }
        });
      },
      async [Symbol.asyncDispose]() {
        listener.close();
        await serving;
      },
    };
  },
};

/** Answers each request by a template, whose words stand for what was asked. */
async function serve(
  listener: Deno.TcpListener,
  template: () => string,
): Promise<void> {
  for await (const connection of listener) {
    answer(connection, template).catch(() => {}); // whoever asked is gone
  }
}

async function answer(
  connection: Deno.TcpConn,
  template: () => string,
): Promise<void> {
  using _ = connection;
  const request = new Uint8Array(4096);
  const count = await connection.read(request);
  const range = /bytes=(\d+)-(\d+)/i.exec(textOf(request.slice(0, count ?? 0)));
  const start = Number(range?.[1] ?? 0), end = Number(range?.[2] ?? SIZE - 1);
  const text = template()
    .replace("START", String(start))
    .replace("END", String(Math.min(end, SIZE - 1)))
    .replace("LENGTH", String(Math.min(end, SIZE - 1) - start + 1))
    .replace("BODY", () => "x".repeat(Math.max(0, end - start + 1)));
  const writer = connection.writable.getWriter();
  await writer.write(new TextEncoder().encode(text));
  await writer.close();
}
