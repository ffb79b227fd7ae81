import assert from "node:assert/strict";
import { join } from "node:path";
import { copyFolder, writeFileAtomically } from "../lib/files.ts";

Deno.test("writeFileAtomically writes text and bytes, and replaces a file", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const path = join(folder, "file");
    await writeFileAtomically(path, "old");
    assert.equal(await Deno.readTextFile(path), "old");
    await writeFileAtomically(path, new Uint8Array([1, 2, 3]));
    assert.deepEqual(await Deno.readFile(path), new Uint8Array([1, 2, 3]));
    await writeFileAtomically(path, "");
    assert.equal((await Deno.stat(path)).size, 0);
    assert.deepEqual(await names(folder), ["file"]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("writeFileAtomically leaves nothing behind when it fails", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const target = join(folder, "occupied");
    await Deno.mkdir(join(target, "inner"), { recursive: true });
    await assert.rejects(writeFileAtomically(target, "text")); // cannot replace a folder
    assert.deepEqual(await names(folder), ["occupied"]);
    await assert.rejects(
      writeFileAtomically(join(folder, "missing", "file"), "text"),
      Deno.errors.NotFound,
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("writeFileAtomically: writers at the same time leave one whole file", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const path = join(folder, "file");
    const texts = ["a", "b", "c", "d"].map((letter) => letter.repeat(100_000));
    await Promise.all(texts.map((text) => writeFileAtomically(path, text)));
    assert.ok(texts.includes(await Deno.readTextFile(path)));
    assert.deepEqual(await names(folder), ["file"]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

async function names(folder: string): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(folder))).map(({ name }) => name);
}

Deno.test("a folder is copied whole or not at all", async () => {
  const folder = await Deno.makeTempDir({ prefix: "zoomin-" });
  try {
    const from = join(folder, "from"), to = join(folder, "to");
    await Deno.mkdir(join(from, "inner"), { recursive: true });
    await Deno.writeTextFile(join(from, "a"), "1");
    await Deno.writeTextFile(join(from, "inner", "b"), "2");
    await copyFolder(from, to);
    assert.equal(await Deno.readTextFile(join(to, "a")), "1");
    assert.equal(await Deno.readTextFile(join(to, "inner", "b")), "2");
    await Deno.symlink("nowhere", join(from, "c"));
    await assert.rejects(copyFolder(from, join(folder, "again")));
    const left = [...Deno.readDirSync(folder)].map(({ name }) => name);
    assert.deepEqual(left.toSorted(), ["from", "to"]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
