/**
 * Large JSON bodies at once: those that fit are answered, the others are told
 * when to come again, and `/livez` answers meanwhile.
 *
 * @module
 */
import assert from "node:assert/strict";
import { writeAll } from "../../lib/files.ts";
import { drawModels, serve } from "../serve/served.ts";
import { latencyDuring, MAX_P99_MS } from "./livez.ts";

// Of 64 MiB, an eighth is for small ones: three of 15 MB have room.
const LEAST_ANSWERED = 3;

/** Sends bodies, and checks their answers and how long `/livez` took. */
export async function bodies(
  { bodies, megabytes }: Record<string, number>,
  report: (figures: Record<string, unknown>) => void,
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "zoomin-bodies-" });
  try {
    await drawModels(folder);
    await using served = await serve(folder, "--models", "models");
    const request = requestOf(served.url, megabytes! * 1e6);
    const { result: answers, latency: livez } = await latencyDuring(
      served.url,
      () =>
        Promise.all(
          Array.from({ length: bodies! }, () => send(served.url, request)),
        ),
    );
    const statuses = Object.fromEntries(
      Object.entries(Object.groupBy(answers, ({ status }) => status))
        .map(([status, all]) => [status, all!.length]),
    );
    report({ bodies, megabytes, statuses, livez });
    assert.ok((statuses[200] ?? 0) >= Math.min(bodies!, LEAST_ANSWERED));
    for (const { status, retryAfter } of answers) {
      assert.ok(status === 200 || (status === 429 && retryAfter));
    }
    assert.deepEqual(served.log.filter(({ event }) => event === "bug"), []);
    assert.ok(livez.p99 <= MAX_P99_MS, `/livez took ${livez.p99} ms`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** An inference of one square image as numbers in JSON, of about `bytes`. */
function requestOf(url: string, bytes: number): Uint8Array<ArrayBuffer> {
  const side = Math.floor(Math.sqrt(bytes / 6)); // "7," three times a px
  const body =
    `{"inputs": [{"name": "pixels", "datatype": "UINT8", "shape": [1, ${side}, ${side}, 3], "data": [${
      "7,".repeat(3 * side ** 2 - 1)
    }7]}]}`;
  return new TextEncoder().encode(
    `POST /v2/models/first/infer HTTP/1.1\r\nHost: ${
      new URL(url).host
    }\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
}

/** Sends a request by a connection of its own; all share its bytes. */
async function send(
  url: string,
  request: Uint8Array<ArrayBuffer>,
): Promise<{ status: number; retryAfter: boolean }> {
  const { hostname, port } = new URL(url);
  using connection = await Deno.connect({ hostname, port: Number(port) });
  const sent = writeAll(connection, request);
  sent.catch(() => {}); // refused before all of it is sent
  const answer = await new Response(connection.readable).text();
  return {
    status: Number(answer.split(" ", 2)[1]),
    retryAfter: /^retry-after: \d+\r$/im.test(answer),
  };
}
