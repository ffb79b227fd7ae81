import assert from "node:assert/strict";
import { ImageError } from "../../lib/errors.ts";
import { ForbiddenError } from "../../lib/serve/errors.ts";
import { Messages } from "../../lib/serve/redaction.ts";

Deno.test("a message names files by their place in our folders", () => {
  const messages = new Messages(["/srv/data", "/srv/data/inner.d", "/"]);
  const told: [string, string][] = [
    ["Cannot read /srv/data/a/b.png: cut off", "Cannot read a/b.png: cut off"],
    ['"/srv/data/a.csv":3: "/srv/data/b"', '"a.csv":3: "b"'],
    ["/srv/data/inner.d/x.png", "x.png"],
    ["/srv/data/innerXd/x.png", "innerXd/x.png"],
    // Not ours, though it reads alike.
    ["/other/srv/data/a", "/other/srv/data/a"],
    ["https://host/srv/data/a", "https://host/srv/data/a"],
    ["/srv/database/a", "/srv/database/a"],
    // A signature.
    [
      '"https://host/a.tif?sig=x&b=/srv/data/": gone',
      '"https://host/a.tif": gone',
    ],
    ["http://host:80/a?sig=x, then b?", "http://host:80/a, then b?"],
    ["HTTPS://me:word@host/a.tif: gone", "HTTPS://host/a.tif: gone"],
    ["mail me@host about http://host/@a", "mail me@host about http://host/@a"],
  ];
  for (const [message, expected] of told) {
    assert.equal(messages.told(message), expected);
    assert.equal(messages.of(new ImageError(message)), expected);
  }
});

Deno.test("a caller's own words are returned unchanged", () => {
  const messages = new Messages(["/srv/data"]);
  const message = 'Cannot read "/srv/data/a": there is no such file';
  assert.equal(messages.of(new ForbiddenError(message)), message);
});
