import assert from "node:assert/strict";
import { openFile } from "../../lib/image/file_source.ts";
import { TemporaryFolder } from "./pictures.ts";

Deno.test("a read that is given up while others go first is not made", async () => {
  using folder = new TemporaryFolder();
  const source = await openFile(folder.write("a", new Uint8Array(100)));
  const controller = new AbortController();
  const first = source.read(0, 10);
  const second = source.read(20, 10, controller.signal);
  const third = source.read(40, 10);
  controller.abort(new Error("enough"));
  await assert.rejects(second, /enough/);
  await Promise.all([first, third]);
  assert.deepEqual(source.traffic, { bytes: 20, requests: 2 });
  source.close();
});
