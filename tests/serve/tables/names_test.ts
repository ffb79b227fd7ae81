import assert from "node:assert/strict";
import { shownNames } from "../../../lib/serve/tables/names.ts";

Deno.test("names of a table hold no secrets, and each is of one image", () => {
  const plain = [
    "a b?.png",
    "https://host/%7Ea/",
    "s3://bucket/a?b",
    "http://[",
    "",
  ];
  assert.deepEqual(shownNames(plain), plain);
  assert.deepEqual(
    shownNames(["https://host/a?sig=1", "https://me:word@host/b", "c.png"]),
    ["https://host/a", "https://host/b", "c.png"],
  );
  const urls = [
    "https://host/a?sig=1",
    "https://host/a?sig=2",
    "https://host/a",
  ];
  const shown = shownNames(urls);
  assert.equal(new Set(shown).size, 3);
  for (const name of shown) assert.match(name, /^https:\/\/host\/a#[\w-]{12}$/);
  assert.deepEqual(shownNames(urls.toReversed()), shown.toReversed());
});
