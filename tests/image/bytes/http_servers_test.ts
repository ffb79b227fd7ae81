/**
 * Servers that answer range requests in unusual ways: either the bytes are
 * right, or the error blames the network, not the image.
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { ImageSourceError, NetworkError } from "../../../lib/errors.ts";
import { openUrl } from "../../../lib/image/bytes/http.ts";
import { openImage } from "../../../lib/image/open.ts";
import { serveFile, type ServerOptions } from "../file_server.ts";
import { LONGEST_MS } from "../../waiting.ts";
import { asymmetricPicture, toSharp } from "../pictures.ts";

const file = new Uint8Array(randomBytes(200_000));
const fast = { firstPauseMs: 1, idleTimeoutMs: LONGEST_MS, attempts: 3 };

/** Reads the head, the middle and the end; returns the requests it took. */
async function readParts(options: ServerOptions): Promise<{
  ranges: string[];
  warnings: readonly string[];
}> {
  await using server = await serveFile(file, options);
  const source = await openUrl(server.url, fast);
  try {
    assert.equal(source.size, file.length);
    for (
      const [offset, length] of [[0, 100], [90_000, 5000], [199_000, 1000]]
    ) {
      assert.deepEqual(
        await source.read(offset!, length!),
        file.subarray(offset!, offset! + length!),
      );
    }
  } finally {
    source.close();
  }
  return { ranges: server.ranges, warnings: source.warnings };
}

const SPELLINGS: Record<string, ServerOptions["nameRange"]> = {
  "Bytes": (start, end, total) => `Bytes ${start}-${end - 1}/${total}`,
  "bytes=": (start, end, total) => `bytes=${start}-${end - 1}/${total}`,
  "more spaces": (start, end, total) =>
    ` bytes  ${start} - ${end - 1} / ${total} `,
};

for (const [name, nameRange] of Object.entries(SPELLINGS)) {
  Deno.test(`Content-Range spelled with ${name} is read`, async () => {
    const { ranges, warnings } = await readParts({ nameRange: nameRange! });
    assert.equal(ranges.length, 3);
    assert.deepEqual(warnings, []);
  });
}

Deno.test("Content-Range without a total: the last byte tells it", async () => {
  const { ranges, warnings } = await readParts({
    nameRange: (start, end) => `bytes ${start}-${end - 1}/*`,
  });
  assert.deepEqual(ranges, [
    "bytes=0-16383",
    "bytes=-1",
    "bytes=90000-94999",
    "bytes=199000-199999",
  ]);
  assert.deepEqual(warnings, []);
});

Deno.test("without a total and without an answer to the last byte, all is downloaded", async () => {
  const { ranges } = await readParts({
    nameRange: (start, end) => `bytes ${start}-${end - 1}/*`,
    ignoreRanges: 2,
  });
  assert.deepEqual(ranges, ["bytes=0-16383", "bytes=-1", "all"]);
});

Deno.test("a partial answer that does not say of what: all is downloaded", async () => {
  for (const name of [undefined, "none", "bytes 5-1/9/9"]) {
    const { ranges } = await readParts({ nameRange: () => name });
    assert.deepEqual(ranges, ["bytes=0-16383", "all"]);
  }
});

const SLICE = 4096;
const GIVEN: Record<string, ServerOptions["give"]> = {
  "whole slices": (start, end) => ({
    start: Math.floor(start / SLICE) * SLICE,
    end: Math.min(Math.ceil(end / SLICE) * SLICE, file.length),
  }),
  "all that follows": (start) => ({ start, end: file.length }),
  "all of the file": () => ({ start: 0, end: file.length }),
};

for (const [name, give] of Object.entries(GIVEN)) {
  for (const chunked of [false, true]) {
    const how = chunked ? "without a length" : "with its length";
    Deno.test(`a server that gives ${name}, ${how}: the bytes are taken from it`, async () => {
      const { ranges } = await readParts({ give: give!, chunked });
      assert.equal(ranges.length, 3);
    });
  }
}

Deno.test("a server that gives less at a time is asked for the rest", async () => {
  const { ranges } = await readParts({
    give: (start, end) => ({ start, end: Math.min(end, start + 2000) }),
  });
  assert.deepEqual(ranges, [
    "bytes=0-16383",
    "bytes=90000-94999",
    "bytes=92000-94999",
    "bytes=94000-94999",
    "bytes=199000-199999",
  ]);
});

Deno.test("a server that stops giving ranges: the bytes are taken from the whole", async () => {
  for (const etag of ['"one"', null]) {
    const { ranges } = await readParts({ etag, ignoreRanges: 3 });
    assert.equal(ranges.length, 3);
  }
});

Deno.test("all of a file that does not show to be the same is not taken", async () => {
  await using server = await serveFile(file, {
    etag: null,
    ignoreRanges: 2,
    chunked: true,
  });
  const source = await openUrl(server.url, fast);
  await assert.rejects(source.read(100_000, 50), /it changed on the server/);
  source.close();
});

Deno.test("bytes that are not those asked for are refused, with both", async () => {
  let given = 0;
  await using server = await serveFile(file, {
    give: (start, end) =>
      given++ === 0 ? { start, end } : { start: 150_000, end: 150_010 },
  });
  const source = await openUrl(server.url, fast);
  await assert.rejects(source.read(100_000, 50), (error: Error) => {
    assert.ok(error instanceof NetworkError);
    assert.match(
      error.message,
      /bytes 150000 to 150010 instead of 100000 to 100050/,
    );
    return true;
  });
  source.close();
});

/** A server that sends the same response to every request. */
async function answering(
  status: number,
  headers: Record<string, string>,
  check: (url: string) => Promise<void>,
): Promise<void> {
  const server = createServer((_, response) => {
    response.writeHead(status, headers).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  try {
    await check(`http://127.0.0.1:${port}/a.png`);
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

Deno.test("an answer that is no file is told by its status", async () => {
  const cases: [number, Record<string, string>, RegExp][] = [
    [416, { "content-range": "bytes */0" }, /: it is empty$/],
    [416, { "content-range": "bytes */9" }, /the server answered 416 /],
    [204, {}, /the server answered 204 No Content$/],
    [202, {}, /the server answered 202 Accepted$/],
    [
      206,
      {},
      /the server answered 206 Partial Content where all of the file was asked for, and to a range without a Content-Range that fits$/,
    ],
  ];
  for (const [status, headers, reason] of cases) {
    await answering(status, headers, async (url) => {
      await assert.rejects(openImage(url), (error: Error) => {
        assert.ok(error instanceof ImageSourceError);
        assert.ok(!(error instanceof NetworkError));
        assert.match(error.message, reason);
        return true;
      });
    });
  }
});

const DAMAGE = /damaged|truncated|ignored|skipped/;
const fixture = fileURLToPath(
  new URL("../../../fixtures/tiff/pages_jpeg.tif", import.meta.url),
);

Deno.test("trouble of the network is no damage of the image, wherever it comes", async () => {
  const tiff = await toSharp(asymmetricPicture(640, 640)).tiff({
    compression: "none",
    tile: true,
    tileWidth: 64,
    tileHeight: 64,
    pyramid: true,
  }).toBuffer();
  const noise = {
    data: new Uint8Array(randomBytes(200 * 200 * 4)),
    width: 200,
    height: 200,
  };
  const files = {
    tiles: tiff,
    levels: await Deno.readFile(fixture),
    png: await toSharp(noise).png().toBuffer(),
  };
  const cases = Object.entries(files).flatMap(([name, bytes]) =>
    [503, 404].flatMap((status) =>
      [1, 2, 3].map((from) => ({ name, bytes, status, from }))
    )
  );
  const failed = await Promise.all(cases.map(checkTrouble));
  const names = cases.filter((_, i) => failed[i])
    .map(({ name, status, from }) => `${name} ${status} ${from}`);
  for (const status of [503, 404]) { // tiles: head, directories, blocks
    for (const from of [1, 2, 3]) {
      assert.ok(names.includes(`tiles ${status} ${from}`), names.join());
    }
    assert.ok(names.includes(`png ${status} 2`), names.join());
  }
});

/**
 * Reads a file whose responses fail from number `from` on; returns false if the
 * read succeeds.
 */
async function checkTrouble(
  { name, bytes, status, from }: {
    name: string;
    bytes: Uint8Array;
    status: number;
    from: number;
  },
): Promise<boolean> {
  await using server = await serveFile(bytes, {
    trouble: (request) =>
      request >= from ? { kind: "status", status } : undefined,
  });
  const error = await failure(server.url);
  if (error === undefined) return false; // there were fewer requests
  const what = `${name}, ${status} from ${from} on: ${error.message}`;
  assert.equal(error instanceof NetworkError, status === 503, what);
  assert.ok(error instanceof ImageSourceError, what);
  assert.match(error.message, new RegExp(`server answered ${status}`));
  assert.doesNotMatch(error.message, DAMAGE);
  assert.doesNotMatch(error.message, /\n/);
  return true;
}

/** Error of reading a whole image. */
async function failure(url: string): Promise<Error | undefined> {
  const image = await openImage(url).catch((error: Error) => error);
  if (image instanceof Error) return image;
  try {
    for (const [level, { width, height }] of image.levels.entries()) {
      await image.read({ x: 0, y: 0, width, height }, level);
    }
    return undefined;
  } catch (error) {
    return error as Error;
  } finally {
    image.close();
  }
}

Deno.test("a file that is cut while it is read: no damage of the image", async () => {
  const path = await Deno.makeTempFile({ prefix: "zoomin-" });
  const picture = asymmetricPicture(640, 640);
  await toSharp(picture)
    .tiff({ compression: "none", tile: true, tileWidth: 64, tileHeight: 64 })
    .toFile(path);
  const image = await openImage(path);
  await Deno.truncate(path, 1000);
  await assert.rejects(
    image.read({ x: 0, y: 0, width: 640, height: 640 }, 0),
    (error: Error) => {
      assert.ok(error instanceof ImageSourceError);
      assert.match(error.message, /it was shortened to \d+ bytes while open/);
      assert.doesNotMatch(error.message, DAMAGE);
      return true;
    },
  );
  image.close();
  await Deno.remove(path);
});
