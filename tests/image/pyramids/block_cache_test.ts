import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import {
  BlockCache,
  type BlockKey,
} from "../../../lib/image/pyramids/block_cache.ts";
import type { Pixels } from "../../../lib/image/pyramid.ts";
import { eventually, within } from "../../waiting.ts";

const BYTES = 16; // of a block of 2 x 2 px

function key(block: number, { source = "slide", level = 0 } = {}): BlockKey {
  return { source, level, block };
}

function filled(value: number): Pixels {
  return { data: new Uint8Array(BYTES).fill(value), width: 2, height: 2 };
}

/** Blocks whose decoding takes a moment, counted. */
class Decoder {
  readonly decoded: number[] = [];
  active = 0;
  mostActive = 0;

  async use(
    cache: BlockCache,
    block: number,
    signal?: AbortSignal,
  ): Promise<number> {
    let seen = -1;
    const used = cache.use(key(block), {
      bytes: BYTES,
      decode: async () => {
        this.decoded.push(block);
        this.mostActive = Math.max(this.mostActive, ++this.active);
        await sleep(2);
        this.active--;
        return filled(block);
      },
      visit: ({ data }) => seen = data[0]!,
      signal,
    });
    await within(`block ${block} is seen`, used);
    return seen;
  }
}

Deno.test("BlockCache keeps what was used last within its bound", async () => {
  const cache = new BlockCache(3 * BYTES);
  const decoder = new Decoder();
  for (const block of [1, 2, 3, 1, 4, 1, 2]) {
    assert.equal(await decoder.use(cache, block), block);
    assert.ok(cache.bytes <= cache.maxBytes);
  }
  assert.deepEqual(decoder.decoded, [1, 2, 3, 4, 2]);
});

Deno.test("BlockCache tells sources, levels and blocks apart", async () => {
  const cache = new BlockCache(10 * BYTES);
  const keys = [
    key(1),
    key(2),
    key(1, { level: 1 }),
    key(1, { source: "other" }),
  ];
  for (const round of [0, 1]) {
    for (const [i, key] of keys.entries()) {
      const used = cache.use(key, {
        bytes: BYTES,
        decode: () => Promise.resolve(filled(round * 100 + i)),
        visit: ({ data }) => assert.equal(data[0], i),
      });
      await within("it is seen", used);
    }
  }
});

Deno.test("BlockCache shares a decoding between those who wait for it", async () => {
  const cache = new BlockCache(10 * BYTES);
  const decoder = new Decoder();
  const seen = await Promise.all(
    [7, 7, 8, 7].map((block) => decoder.use(cache, block)),
  );
  assert.deepEqual(seen, [7, 7, 8, 7]);
  assert.deepEqual(decoder.decoded, [7, 8]);
});

Deno.test("BlockCache keeps its bound while many read at the same time", async () => {
  const cache = new BlockCache(3 * BYTES);
  const decoder = new Decoder();
  const blocks = Array.from({ length: 40 }, (_, i) => i % 17);
  let most = 0;
  await Promise.all(blocks.map(async (block) => {
    assert.equal(await decoder.use(cache, block), block);
    most = Math.max(most, cache.bytes);
  }));
  assert.equal(decoder.mostActive, 3);
  assert.equal(most, 3 * BYTES);
});

Deno.test("BlockCache takes a block larger than its bound alone, and keeps it not", async () => {
  const cache = new BlockCache(BYTES - 1);
  const decoder = new Decoder();
  await Promise.all([1, 2, 3].map((block) => decoder.use(cache, block)));
  assert.equal(decoder.mostActive, 1);
  assert.equal(cache.bytes, 0);
});

Deno.test("BlockCache forgets a decoding that failed", async () => {
  const cache = new BlockCache(2 * BYTES);
  const fails = cache.use(key(1), {
    bytes: BYTES,
    decode: () => Promise.reject(new Error("damaged")),
    visit: () => assert.fail(),
  });
  await assert.rejects(within("it fails", fails), /damaged/);
  assert.equal(cache.bytes, 0);
  assert.equal(await new Decoder().use(cache, 1), 1);
});

Deno.test("BlockCache: who shared a decoding that failed tries it itself", async () => {
  const cache = new BlockCache(2 * BYTES);
  const closed = cache.use(key(1), {
    bytes: BYTES,
    decode: async () => {
      await sleep(2);
      throw new TypeError("it was closed");
    },
    visit: () => assert.fail(),
  });
  const decoder = new Decoder();
  const others = [decoder.use(cache, 1), decoder.use(cache, 1)];
  await assert.rejects(within("it fails", closed), /closed/);
  assert.deepEqual(await Promise.all(others), [1, 1]);
  assert.deepEqual(decoder.decoded, [1]);
  assert.equal(cache.bytes, BYTES);
});

Deno.test("BlockCache: a signal ends one wait; the last one ends the decoding", async () => {
  const cache = new BlockCache(2 * BYTES);
  const first = new AbortController();
  const second = new AbortController();
  let ended = false;
  const use = (signal: AbortSignal) =>
    cache.use(key(1), {
      bytes: BYTES,
      decode: (signal) =>
        new Promise((_, reject) => {
          signal.addEventListener("abort", () => {
            ended = true;
            reject(signal.reason);
          });
        }),
      visit: () => assert.fail(),
      signal,
    });
  const uses = [use(first.signal), use(second.signal)];
  first.abort(new Error("first"));
  await assert.rejects(within("the first leaves", uses[0]!), /first/);
  assert.equal(ended, false);
  second.abort(new Error("second"));
  await assert.rejects(within("the second leaves", uses[1]!), /second/);
  assert.equal(ended, true);
  await eventually("its room is free", () => cache.bytes === 0);
  assert.equal(await new Decoder().use(cache, 1), 1);
});

Deno.test("BlockCache frees what it drops, but not under a reader", async () => {
  const cache = new BlockCache(BYTES);
  const blocks = [filled(0), filled(1)];
  const use = (block: number) =>
    within(
      `block ${block} is seen`,
      cache.use(key(block), {
        bytes: BYTES,
        decode: () => Promise.resolve(blocks[block]!),
        visit: ({ data }) => assert.equal(data[0], block),
      }),
    );
  await use(0);
  // Both wait: the second drops the block that the first is about to see.
  await Promise.all([use(0), use(1)]);
  await eventually("it is freed", () => blocks[0]!.data.byteLength === 0);
  assert.equal(blocks[1]!.data.byteLength, BYTES);
});
