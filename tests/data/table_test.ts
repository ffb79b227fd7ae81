import assert from "node:assert/strict";
import { join } from "node:path";
import { Faults, formatTable, readTable } from "../../lib/data/table.ts";
import { withFolder } from "./folder.ts";

Deno.test("formatTable writes a plain field as it is", () => {
  const table = formatTable(["image", "label", "mpp"], [
    ["a.png", "0", 0.25],
    ["b c.png", "", undefined],
  ]);
  assert.equal(table, "image,label,mpp\na.png,0,0.25\nb c.png,,\n");
  assert.equal(formatTable(["image"], []), "image\n");
  assert.equal(formatTable(["a"], [["b\rc"]]), 'a\n"b\rc"\n');
});

Deno.test("formatTable: readTable reads the same fields", async () => {
  const values = ['say "yes"', "a,b", "two\nlines", "\r", " blanks ", "é", "="];
  await withFolder(async (folder) => {
    const path = join(folder, "table.csv");
    await Deno.writeTextFile(
      path,
      formatTable(["value"], values.map((value) => [value])),
    );
    const faults = new Faults(path);
    const known = { required: ["value"], optional: [] };
    const { rows } = await readTable(path, known, faults);
    faults.throwIfAny();
    assert.deepEqual(rows.map(({ fields }) => fields.value), values);
  });
});
