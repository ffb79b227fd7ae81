/**
 * The resident memory of a server after many classifications and uploads that
 * break off, against what it was after the first few.
 *
 * @module
 */
import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import {
  drawModels,
  imageOf,
  post,
  serve,
  type Served,
} from "../serve/served.ts";

const FIRST = 500; // the caches are full, and the code is compiled
const CLIENTS = 8;
const MAX_GROWTH = 1.05;
const SETTLE_MS = 10_000, LOOK_EVERY_MS = 250;

/** Classifies and breaks off, then checks the memory. */
export async function memory(
  { classifications, broken }: Record<string, number>,
  report: (figures: Record<string, unknown>) => void,
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "zoomin-memory-" });
  try {
    await drawModels(folder);
    await using served = await serve(
      folder,
      ...["--models", "models", "--data-root", "set"],
    );
    const image = await imageOf(folder);
    await classify(served, image, FIRST);
    const before = await settled(served);
    report({ classifications: FIRST, megabytes: before });
    await Promise.all([
      classify(served, image, classifications! - FIRST),
      breakOff(served, image, broken!),
    ]);
    const after = await settled(served);
    const growth = after / before;
    report({ classifications, broken, megabytes: after, growth });
    assert.ok(growth <= MAX_GROWTH, `grown by ${growth}`);
    assert.deepEqual(served.log.filter(({ event }) => event === "bug"), []);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Classifies by bytes and by path in turn. */
async function classify(
  { url }: Served,
  image: Uint8Array<ArrayBuffer>,
  count: number,
): Promise<void> {
  let next = 0;
  await Promise.all(Array.from({ length: CLIENTS }, async () => {
    while (next < count) {
      const i = next++;
      const name = `images/test_0000${i % 8}.png`;
      const response = i % 2 === 0
        ? await post(`${url}/v1/classify`, { path: name, seed: i })
        : await fetch(`${url}/v1/classify?seed=${i}`, {
          method: "POST",
          headers: { "content-type": "image/png" },
          body: image,
        });
      await response.body?.cancel();
      assert.equal(response.status, 200);
    }
  }));
}

/** Uploads that end in the middle, one after the other. */
async function breakOff(
  { url }: Served,
  image: Uint8Array<ArrayBuffer>,
  count: number,
): Promise<void> {
  const { hostname, port } = new URL(url);
  const head = new TextEncoder().encode(
    `POST /v1/classify HTTP/1.1\r\nHost: ${hostname}\r\nContent-Type: image/png\r\nContent-Length: ${image.length}\r\n\r\n`,
  );
  for (let i = 0; i < count; i++) {
    const connection = await Deno.connect({ hostname, port: Number(port) });
    await connection.write(head);
    await connection.write(image.subarray(0, (i * 997) % image.length));
    await pause(i % 20); // it is being read, at times
    connection.close();
  }
}

/** Least resident memory of some seconds, MB. */
async function settled({ process }: Served): Promise<number> {
  let least = Infinity;
  const end = performance.now() + SETTLE_MS;
  while (performance.now() < end) {
    const status = await Deno.readTextFile(`/proc/${process.pid}/status`);
    const kilobytes = Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)![1]);
    least = Math.min(least, kilobytes / 1000);
    await pause(LOOK_EVERY_MS);
  }
  return least;
}
