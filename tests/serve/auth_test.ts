import assert from "node:assert/strict";
import { join } from "node:path";
import { UsageError } from "../../lib/errors.ts";
import { bearsToken, readToken } from "../../lib/serve/auth.ts";

const TOKEN = "a".repeat(32);

Deno.test("a token is the first word of its file, and long enough", async () => {
  const folder = await Deno.makeTempDir({ prefix: "zoomin-" });
  const file = join(folder, "token");
  try {
    for (const text of [TOKEN, `${TOKEN}\n`, `  ${TOKEN} a remark\n`]) {
      await Deno.writeTextFile(file, text);
      assert.equal(await readToken(file), TOKEN);
    }
    await Deno.writeTextFile(file, "a".repeat(16)); // the least
    assert.equal(await readToken(file), "a".repeat(16));
    for (const text of ["", "\n", "short", "a".repeat(15)]) {
      await Deno.writeTextFile(file, text);
      await assert.rejects(readToken(file), UsageError);
    }
    await assert.rejects(readToken(join(folder, "absent")), UsageError);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("only the whole token will do", () => {
  assert.equal(bearsToken(`Bearer ${TOKEN}`, TOKEN), true);
  assert.equal(bearsToken(`bearer  ${TOKEN}`, TOKEN), true);
  for (
    const header of [
      undefined,
      "",
      TOKEN,
      `Bearer ${TOKEN}a`,
      `Bearer ${TOKEN.slice(1)}`,
      `Bearer ${TOKEN.toUpperCase()}`,
      `Basic ${TOKEN}`,
      `Basic Bearer ${TOKEN}`,
      `Bearer ${TOKEN} more`,
    ]
  ) assert.equal(bearsToken(header, TOKEN), false, `${header}`);
});
