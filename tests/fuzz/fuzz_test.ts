import assert from "node:assert/strict";
import { randomKey, RandomStream } from "../../kernels/random.ts";
import { DataError } from "../../lib/errors.ts";
import { damaged, damagedText } from "./mutate.ts";
import { assertNamed } from "./target.ts";
import { TARGETS } from "./targets.ts";
import { TextLineStream } from "./lines.ts";

const CASES = 20;
const SERVED = ["requests"]; // takes a server of its own: `deno task fuzz`

for (const target of TARGETS.filter(({ name }) => !SERVED.includes(name))) {
  Deno.test({
    name:
      `fuzz: ${CASES} cases of ${target.name} end in a result or a named error`,
    sanitizeResources: false, // an engine stays
    async fn() {
      const folder = await Deno.makeTempDir({ prefix: "zoomin-" });
      try {
        await using open = await target.open(folder);
        for (let at = 0; at < CASES; at++) {
          const random = new RandomStream(randomKey(1, at));
          await open.run(open.input(random), random);
        }
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    },
  });
}

Deno.test("a case is the same whenever its seed is", () => {
  const seeds = [new Uint8Array(100).map((_, i) => i), new Uint8Array(3)];
  const inputs = (seed: number) =>
    Array.from({ length: 50 }, (_, at) => {
      const random = new RandomStream(randomKey(seed, at));
      return [damaged(seeds, random), damagedText(["a: 1, b: 2"], random)]
        .map(String).join("|");
    });
  assert.deepEqual(inputs(1), inputs(1));
  assert.notDeepEqual(inputs(1), inputs(2));
  assert.ok(new Set(inputs(1)).size > 45, "hardly a case comes twice");
  assert.deepEqual(seeds[1], new Uint8Array(3), "the seeds stay as they are");
});

Deno.test("errors that tell a user nothing are finds", () => {
  assert.doesNotThrow(() => assertNamed(new DataError("a.csv:2: empty label")));
  assert.doesNotThrow(() => assertNamed(new DataError("a\nb"), { lines: 2 }));
  for (
    const error of [
      new TypeError("x is not a function"),
      new DataError("a\nb"),
      new DataError("expected object, received undefined"),
      new DataError("Cannot read [object Object]"),
      "a string",
    ]
  ) assert.throws(() => assertNamed(error));
});

Deno.test("lines are put together however they come", async () => {
  const bytes = new TextEncoder().encode('{"a":"ä"}\n\n{"b":2}\n');
  const parts = Array.from(bytes, (byte) => Uint8Array.of(byte));
  const lines = ReadableStream.from(parts).pipeThrough(new TextLineStream());
  assert.deepEqual(await Array.fromAsync(lines), ['{"a":"ä"}', "", '{"b":2}']);
});
