import assert from "node:assert/strict";
import { chunksOf } from "../../../lib/serve/intake/paced_body.ts";
import { TooLargeError } from "../../../lib/serve/errors.ts";

/** Bytes of a body that is sent in threes, and whether it was given up. */
function body(bytes: number) {
  const seen = { cancelled: false };
  let left = bytes;
  const stream = new ReadableStream<Uint8Array>({
    pull(controller) {
      const count = Math.min(3, left);
      left -= count;
      if (count > 0) controller.enqueue(new Uint8Array(count));
      else controller.close();
    },
    cancel() {
      seen.cancelled = true;
    },
  });
  return { stream, seen };
}

async function received(
  stream: ReadableStream<Uint8Array>,
  signal = new AbortController().signal,
): Promise<number> {
  let bytes = 0;
  const options = {
    mostBytes: 10,
    pace: { stallMs: 20_000, leastBytesPerSecond: 1 },
    tooLarge: "it is too large",
    signal,
  };
  for await (const chunk of chunksOf(stream, options)) bytes += chunk.length;
  return bytes;
}

Deno.test("a body may have as many bytes as allowed, not one more", async () => {
  for (const bytes of [0, 9, 10]) {
    assert.equal(await received(body(bytes).stream), bytes);
  }
  await assert.rejects(received(body(11).stream), TooLargeError);
});

Deno.test("whoever sends a body that is refused is told to stop", async () => {
  const large = body(1000);
  await assert.rejects(received(large.stream), TooLargeError);
  assert.equal(large.seen.cancelled, true);
  const left = body(9);
  await assert.rejects(received(left.stream, AbortSignal.abort()));
  assert.equal(left.seen.cancelled, true);
});
