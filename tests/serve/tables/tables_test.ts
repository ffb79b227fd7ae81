import assert from "node:assert/strict";
import { join } from "node:path";
import { preset } from "../../../lib/model/presets.ts";
import { Tables } from "../../../lib/serve/tables/tables.ts";
import { withFolder, writeImages } from "../../data/folder.ts";

const { signal } = new AbortController();

Deno.test("a table's images come in slices, in order", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "table.csv");
    await Deno.writeTextFile(path, "image,mpp\na.png,0.5\nb.png,\nc.png,2\n");
    const tables = new Tables({ roots: [folder], hosts: [] });
    using table = await tables.openBatch(path, signal);
    assert.equal(table.length, 3);
    assert.deepEqual(await table.images(0, 2), [
      { image: "a.png", mpp: 0.5 },
      { image: "b.png" },
    ]);
    assert.deepEqual(await table.images(2, 2), [{ image: "c.png", mpp: 2 }]);
  });
});

Deno.test("a manifest to train on names allowed files of two labels", async () => {
  await withFolder(async (folder) => {
    await writeImages(folder, ["a.png", "b.png"]);
    const path = join(folder, "manifest.csv");
    const config = { ...preset("colon"), referenceClass: null };
    const check = async (text: string, root: string) => {
      await Deno.writeTextFile(path, text);
      const tables = new Tables({ roots: [root], hosts: [] });
      await tables.checkTraining(path, { config, signal });
    };
    await check("image,label\na.png,x\nb.png,y\n", folder);
    const elsewhere = join(folder, "elsewhere");
    await Deno.mkdir(elsewhere);
    for (
      const [text, root, fault] of [
        ["image,label\na.png,x\nb.png,y\n", elsewhere, /"a.png" is not a file/],
        ["image,label\na.png,x\nhttps://h.org/b,y\n", folder, /allowed host/],
        ["image,label\na.png,x\nb.png,x\n", folder, /have the label "x"/],
      ] as const
    ) {
      await assert.rejects(check(text, root), (error: Error) => {
        assert.equal(error.name, "DataError");
        assert.match(error.message, fault);
        return true;
      });
    }
  });
});

Deno.test("a table whose reader leaves is dropped", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "table.csv");
    await Deno.writeTextFile(path, "image\na.png\n");
    const tables = new Tables({ roots: [folder], hosts: [] });
    const leaving = new AbortController();
    const opened = tables.openBatch(path, leaving.signal);
    leaving.abort(new Error("gone"));
    await assert.rejects(opened, { message: "gone" });
    await assert.rejects(tables.openBatch(path, leaving.signal), {
      message: "gone",
    });
  });
});

Deno.test("requests take turns; the seventeenth is refused, not queued", async () => {
  const tables = new Tables({ roots: [], hosts: [] });
  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  let now = 0, most = 0;
  const read = async () => {
    most = Math.max(most, ++now);
    await gate;
    now--;
  };
  const waiting = Array.from({ length: 16 }, () => tables.inTurn(read));
  await assert.rejects(tables.inTurn(read), { name: "BusyError" });
  open();
  await Promise.all(waiting);
  assert.equal(most, 1);
  await assert.rejects(
    tables.inTurn(() => Promise.reject(new Error("bad"))),
    { message: "bad" },
  );
  assert.equal(await tables.inTurn(() => Promise.resolve(1)), 1);
});
