/** Tables that are long, or none: the server stays up, live and discreet. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { assertRefused, post, serverOfFile } from "../serve/served.ts";
import { livezDuring } from "./livez.ts";

const server = serverOfFile("--workers", "1");

/** Writes a table of `rows` rows, a megabyte at a time. */
async function write(name: string, header: string, row: string, rows: number) {
  const path = join(server.folder, "set", name);
  await Deno.writeTextFile(path, `${header}\n`);
  const together = Math.ceil(2 ** 20 / row.length);
  for (let left = rows; left > 0; left -= together) {
    await Deno.writeTextFile(path, row.repeat(Math.min(left, together)), {
      append: true,
    });
  }
}

Deno.test("a table of 152 MB in short rows is refused, not held", async () => {
  await write("long.csv", "image", "a.png\n", 152e6 / 6);
  await assertRefused(
    await post(`${server.url}/v1/batch`, { manifest: "long.csv" }),
    { status: 400, field: "manifest", error: /more than 1048576 rows/ },
  );
});

for (
  const [route, field, rows] of [
    ["batch", "manifest", 1e5],
    ["train", "data", 3e4],
  ] as const
) {
  Deno.test(`/livez answers while /v1/${route} reads a long table`, async () => {
    // Its last row is a fault, so that no job follows.
    await write("busy.csv", "image,label", "images/test_00000.png,x\n", rows);
    await Deno.writeTextFile(
      join(server.folder, "set", "busy.csv"),
      "one,two,three\n",
      { append: true },
    );
    const asked = post(`${server.url}/v1/${route}`, {
      [field]: "busy.csv",
      ...(route === "train" && { name: "busy" }),
    });
    const answers = await livezDuring(server.url, asked);
    await assertRefused(await asked, { status: 400, field });
    assert.ok(answers >= 20, `${answers} answers`);
  });
}

Deno.test("a file that is no table is refused without showing it", async () => {
  const secrets = [
    "secret:swordfish\n",
    "mpp,swordfish\n0.swordfish,1\n",
    'secret "swordfish"\n',
    '"secret"swordfish\n',
    "split,fold,mpp\nswordfish,swordfish,swordfish\n",
  ];
  for (const text of secrets) {
    await Deno.writeTextFile(join(server.folder, "set", "notes.txt"), text);
    for (
      const [route, request] of [
        ["batch", { manifest: "notes.txt" }],
        ["train", { data: "notes.txt", name: "notes" }],
        ["classify", { path: "notes.txt" }],
      ] as const
    ) {
      const response = await post(`${server.url}/v1/${route}`, request);
      const shown = await response.text();
      assert.ok(response.status >= 400, text);
      // The bytes of "sw" as messages showed them.
      assert.doesNotMatch(shown, /swordfish|73 65 63|6d 70 70/, text);
    }
  }
});
