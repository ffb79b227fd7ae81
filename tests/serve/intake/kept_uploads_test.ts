import assert from "node:assert/strict";
import { KeptUploads } from "../../../lib/serve/intake/kept_uploads.ts";
import type { Upload } from "../../../lib/serve/intake/uploads.ts";
import { eventually } from "../../waiting.ts";

const ALICE = { name: "alice", role: "classify" } as const;
const BOSS = { name: "boss", role: "admin" } as const;

function upload(bytes: number): Upload {
  return { path: crypto.randomUUID(), name: "a.tif", bytes, sha256: "" };
}

/** Kept uploads, and the paths of those that were removed. */
async function withKept(
  limits: { keptBytes: number; keptMs: number },
  test: (kept: KeptUploads, removed: string[]) => Promise<void>,
): Promise<void> {
  const removed: string[] = [];
  const kept = new KeptUploads({
    remove({ path }) {
      removed.push(path);
      return Promise.resolve();
    },
  }, limits);
  try {
    await test(kept, removed);
  } finally {
    kept.close();
  }
}

Deno.test("an upload is its caller's alone, whatever the role", async () => {
  await withKept({ keptBytes: 100, keptMs: 60_000 }, async (kept) => {
    const mine = upload(10);
    const id = await kept.keep(mine, ALICE);
    assert.equal(kept.get(id, ALICE), mine);
    assert.throws(() => kept.get(id, BOSS), { name: "NotFoundError" });
    assert.throws(() => kept.get(crypto.randomUUID(), ALICE), {
      name: "NotFoundError",
      message: /send the image again/,
    });
  });
});

Deno.test("the oldest use makes room for a new upload", async () => {
  await withKept({ keptBytes: 100, keptMs: 60_000 }, async (kept, removed) => {
    const uploads = [upload(40), upload(40), upload(40)];
    const first = await kept.keep(uploads[0]!, ALICE);
    const second = await kept.keep(uploads[1]!, ALICE);
    kept.get(first, ALICE);
    await kept.keep(uploads[2]!, ALICE);
    assert.deepEqual(removed, [uploads[1]!.path]);
    assert.throws(() => kept.get(second, ALICE));
    const large = upload(101);
    await assert.rejects(kept.keep(large, ALICE), { name: "TooLargeError" });
    assert.deepEqual(removed, [uploads[1]!.path, large.path]);
    kept.get(first, ALICE);
  });
});

Deno.test("an upload that is not used is removed", async () => {
  await withKept({ keptBytes: 100, keptMs: 20 }, async (kept, removed) => {
    const { path, ...rest } = upload(1);
    await kept.keep({ path, ...rest }, ALICE);
    await eventually("it is removed", () => removed.includes(path));
  });
});
