import assert from "node:assert/strict";
import { chunksOf } from "../../../lib/serve/intake/paced_body.ts";
import { StalledError, TooLargeError } from "../../../lib/serve/errors.ts";
import { Clock } from "../../clock.ts";

const PACE = { stallMs: 500, leastBytesPerSecond: 1000 };
const ENOUGH_MS = 100_000;

/** A body to send: sizes of its parts, and the pauses in ms. */
interface Transfer {
  parts: number[];
  /** Before each part. */
  pauseMs?: number;
  /** That the server takes over each part. */
  writeMs?: number;
  mostBytes?: number;
}

/** Receives a body. Returns its bytes, and how long that took. */
async function receive(
  { parts, pauseMs = 0, writeMs = 0, mostBytes = 1e6 }: Transfer,
): Promise<{ bytes: number; ms: number }> {
  using clock = new Clock();
  const started = performance.now();
  const body = ReadableStream.from(async function* () {
    for (const bytes of parts) {
      await clock.pause(pauseMs);
      yield new Uint8Array(bytes);
    }
  }());
  const received = async () => {
    const { signal } = new AbortController();
    const chunks = chunksOf(body, {
      mostBytes,
      pace: PACE,
      tooLarge: "too large",
      signal,
    });
    let bytes = 0;
    for await (const chunk of chunks) {
      bytes += chunk.length;
      await clock.pause(writeMs);
    }
    return { bytes, ms: performance.now() - started };
  };
  const [result] = await Promise.allSettled([
    received(),
    clock.pass(ENOUGH_MS),
  ]);
  if (result.status === "rejected") throw result.reason;
  return result.value;
}

Deno.test("a body that comes in small parts must not do so for ever", async () => {
  await assert.rejects(
    receive({ parts: Array(100).fill(1), pauseMs: 30 }), // 3 s of single bytes
    {
      name: StalledError.name,
      message:
        /too slow \(17 bytes so far\): send at least 1000 bytes a second/,
    },
  );
});

Deno.test("a body that keeps the pace may take longer than a pause", async () => {
  const parts = Array(24).fill(100);
  const { bytes, ms } = await receive({ parts, pauseMs: 30 });
  assert.deepEqual({ bytes, ms }, { bytes: 2400, ms: 720 });
});

Deno.test("a body that pauses too long, or is too large, is refused", async () => {
  await assert.rejects(receive({ parts: [100_000, 1], pauseMs: 700 }), {
    name: StalledError.name,
    message: "No bytes arrived for 0.5 s: send the request again",
  });
  await assert.rejects(
    receive({ parts: [5, 6], mostBytes: 10 }),
    TooLargeError,
  );
});

Deno.test("a slow server does not blame who sends", async () => {
  const { bytes, ms } = await receive({
    parts: Array(8).fill(10),
    writeMs: 90,
  });
  assert.deepEqual({ bytes, ms }, { bytes: 80, ms: 720 });
});
