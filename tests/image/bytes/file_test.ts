import assert from "node:assert/strict";
import { openFile } from "../../../lib/image/bytes/file.ts";
import { TemporaryFolder } from "../pictures.ts";

Deno.test("a read that was given up is not made, and others get their bytes", async () => {
  using folder = new TemporaryFolder();
  const bytes = Uint8Array.from({ length: 100 }, (_, i) => i);
  const source = await openFile(folder.write("a", bytes));
  const controller = new AbortController();
  controller.abort(new Error("enough"));
  const [first, second, third] = await Promise.allSettled([
    source.read(40, 10),
    source.read(20, 10, controller.signal),
    source.read(95, 10),
  ]);
  assert.deepEqual(first, {
    status: "fulfilled",
    value: bytes.slice(40, 50),
  });
  assert.match(String((second as PromiseRejectedResult).reason), /enough/);
  assert.deepEqual(third, { status: "fulfilled", value: bytes.slice(95) });
  assert.deepEqual(source.traffic, { bytes: 15, requests: 2 });
  source.close();
  await assert.rejects(source.read(0, 1), /was closed/);
});
