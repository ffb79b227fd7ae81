import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import { chunksOf } from "../../lib/serve/body.ts";
import { StalledError, TooLargeError } from "../../lib/serve/errors.ts";

const PACE = { stallMs: 500, leastBytesPerSecond: 1000 };

/** A body of `parts`, each after a pause. */
function bodyOf(parts: number[], pauseMs: number): ReadableStream<Uint8Array> {
  return ReadableStream.from(async function* () {
    for (const bytes of parts) {
      await pause(pauseMs);
      yield new Uint8Array(bytes);
    }
  }());
}

/** Receives a body, and takes `writeMs` over each chunk. */
async function receive(
  body: ReadableStream<Uint8Array>,
  { mostBytes = 1e6, writeMs = 0 } = {},
): Promise<number> {
  const { signal } = new AbortController();
  const chunks = chunksOf(body, {
    ...{ mostBytes, pace: PACE, tooLarge: "too large", signal },
  });
  let received = 0;
  for await (const chunk of chunks) {
    received += chunk.length;
    await pause(writeMs);
  }
  return received;
}

Deno.test("a body that comes in small parts must not do so for ever", async () => {
  const started = performance.now();
  await assert.rejects(
    receive(bodyOf(Array(100).fill(1), 30)), // a byte in 30 ms, for 3 s
    {
      name: StalledError.name,
      message: /too slowly: \d+ bytes so far; send at least 1000 a second/,
    },
  );
  assert.ok(performance.now() - started < 2000);
});

Deno.test("a body that keeps the pace may take longer than a pause", async () => {
  const started = performance.now();
  assert.equal(await receive(bodyOf(Array(24).fill(100), 30)), 2400);
  assert.ok(performance.now() - started > PACE.stallMs);
});

Deno.test("a body that pauses too long, or is too large, is refused", async () => {
  await assert.rejects(receive(bodyOf([100_000, 1], 700)), {
    name: StalledError.name,
    message: "No byte came for 0.5 s",
  });
  await assert.rejects(
    receive(bodyOf([5, 6], 0), { mostBytes: 10 }),
    TooLargeError,
  );
});

Deno.test("a slow server does not blame who sends", async () => {
  const body = bodyOf(Array(8).fill(10), 0);
  assert.equal(await receive(body, { writeMs: 90 }), 80); // 720 ms in all
});
