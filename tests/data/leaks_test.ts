import assert from "node:assert/strict";
import { join } from "node:path";
import { checkLeaks } from "../../lib/data/leaks.ts";
import { readManifest } from "../../lib/data/manifest.ts";
import { DataError } from "../../lib/errors.ts";
import { sharedData } from "../shared_data.ts";
import { withFolder } from "./folder.ts";

/** Reads a manifest whose images have the contents given, and checks leaks. */
async function checkLeaksOf(
  text: string,
  images: Record<string, string>,
): Promise<void> {
  await withFolder(async (folder) => {
    for (const [name, content] of Object.entries(images)) {
      await Deno.writeTextFile(join(folder, name), content);
    }
    const path = join(folder, "manifest.csv");
    await Deno.writeTextFile(path, text);
    await checkLeaks((await readManifest(path)).entries);
  });
}

Deno.test("checkLeaks names a group on two sides of a split, and its lines", async () => {
  await assert.rejects(
    checkLeaksOf(
      "image,label,split,group\na,x,train,p1\nb,x,train,p2\nc,x,test,p1\n",
      { a: "1", b: "2", c: "3" },
    ),
    (error: Error) =>
      error instanceof DataError &&
      /manifest\.csv:2 \(a, split train\) and \S*manifest\.csv:4 \(c, split test\): group "p1" is on both sides/
        .test(error.message),
  );
});

Deno.test("checkLeaks names a group in two folds", async () => {
  await assert.rejects(
    checkLeaksOf("image,label,fold,group\na,x,1,p\nb,x,2,p\n", {
      a: "1",
      b: "2",
    }),
    /:2 \(a, fold 1\) and \S*:3 \(b, fold 2\): group "p"/,
  );
});

Deno.test("checkLeaks lists 20 leaks and counts the rest", async () => {
  const leaksOf = async (count: number) => {
    const lines = ["image,label,split,group"];
    const images: Record<string, string> = {};
    for (let i = 0; i < count; i++) {
      lines.push(`a${i},x,train,p${i}`, `b${i},x,test,p${i}`);
      images[`a${i}`] = `a${i}`;
      images[`b${i}`] = `b${i}`;
    }
    const error = await checkLeaksOf(lines.join("\n"), images)
      .then(() => undefined, (error: Error) => error);
    return error!.message.split("\n");
  };
  assert.equal((await leaksOf(20)).length, 1 + 20);
  const more = await leaksOf(21);
  assert.deepEqual([more.length, more.at(-1)], [1 + 21, "and 1 more"]);
});

Deno.test("checkLeaks names the lines of one picture in two splits", async () => {
  await assert.rejects(
    checkLeaksOf("image,label,split\na,x,train\nb,y,train\nc,x,test\n", {
      a: "same",
      b: "diff",
      c: "same",
    }),
    /:2 \(a, split train\) and \S*:4 \(c, split test\): the same image/,
  );
});

Deno.test("checkLeaks lets groups and pictures repeat on one side", async () => {
  await checkLeaksOf(
    "image,label,split,group\na,x,train,p\nb,y,train,p\nc,x,test,\nd,x,train,\n",
    { a: "same", b: "same", c: "more", d: "diff" },
  );
});

const colon = sharedData("colon", "manifest.csv");
Deno.test({
  name: "checkLeaks finds no picture of colon in two folds",
  ignore: colon === undefined,
  fn: async () => await checkLeaks((await readManifest(colon!)).entries),
});

const gtsdb = sharedData("gtsdb", "manifest.csv");
Deno.test({
  name: "checkLeaks finds the picture that gtsdb has in train and in test",
  ignore: gtsdb === undefined,
  async fn() {
    const { entries } = await readManifest(gtsdb!);
    await assert.rejects(
      checkLeaks(entries),
      /00613\.jpg, split test\) and .*00881\.jpg, split train\): the same image/,
    );
  },
});
