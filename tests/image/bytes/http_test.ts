import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { fileURLToPath } from "node:url";
import { openUrl } from "../../../lib/image/bytes/http.ts";
import { openImage } from "../../../lib/image/open.ts";
import { serveFile, type Trouble } from "../file_server.ts";
import { Clock } from "../../clock.ts";
import { eventually, LONGEST_MS, within } from "../../waiting.ts";
import { asymmetricPicture, readAll, toSharp } from "../pictures.ts";

const HEAD = 2 ** 14; // bytes of the first request
const file = new Uint8Array(randomBytes(200_000));
const fast = { firstPauseMs: 1, attempts: 3 };

function slice(offset: number, length: number): Uint8Array {
  return file.subarray(offset, offset + length);
}

Deno.test("a file on a server: only the bytes asked for are fetched", async () => {
  await using server = await serveFile(file);
  const source = await openUrl(server.url);
  assert.equal(source.size, file.length);
  assert.equal(source.name, server.url);
  assert.deepEqual(await source.read(0, 16), slice(0, 16)); // of the head
  assert.deepEqual(await source.read(150_000, 100), slice(150_000, 100));
  assert.deepEqual(await source.read(150_000, 100), slice(150_000, 100)); // kept
  assert.deepEqual(await source.read(199_990, 100), slice(199_990, 10)); // its end
  assert.deepEqual(await source.read(300_000, 100), new Uint8Array(0));
  assert.deepEqual(server.ranges, [
    "bytes=0-16383",
    "bytes=150000-150099",
    "bytes=199990-199999",
  ]);
  assert.deepEqual(source.traffic, { bytes: HEAD + 110, requests: 3 });
  assert.equal(server.bytes, source.traffic.bytes);
  source.close();
  await assert.rejects(source.read(150_000, 1), /was closed/);
});

Deno.test("neighbouring ranges come in one request, others apart", async () => {
  await using server = await serveFile(file);
  const source = await openUrl(server.url);
  const wanted: [number, number][] = [
    [60_000, 1000],
    [20_000, 500],
    [61_000, 1000],
    [64_000, 10],
    [20_100, 50], // inside another
    [150_000, 10],
  ];
  const parts = await Promise.all(
    wanted.map(([offset, length]) => source.read(offset, length)),
  );
  for (const [i, [offset, length]] of wanted.entries()) {
    assert.deepEqual(parts[i], slice(offset, length));
  }
  assert.deepEqual(server.ranges.slice(1).toSorted(), [
    "bytes=150000-150009",
    "bytes=20000-20499",
    "bytes=60000-64009",
  ]);
  source.close();
});

Deno.test("concurrent reads of a range share one request", async () => {
  await using server = await serveFile(file);
  const source = await openUrl(server.url);
  const first = new AbortController();
  const given = source.read(100_000, 50, first.signal);
  await eventually("it has arrived", () => server.ranges.length === 2);
  const reads = [1, 2].map(() => source.read(100_000, 50));
  for (const read of reads) {
    assert.deepEqual(await read, slice(100_000, 50));
  }
  await given;
  assert.equal(server.ranges.length, 2);

  const left = source.read(120_000, 50, first.signal);
  const stays = source.read(120_000, 50);
  first.abort(new Error("enough"));
  await assert.rejects(left, /enough/);
  assert.deepEqual(await stays, slice(120_000, 50));
  source.close();
});

Deno.test("the cache of ranges has a bound", async () => {
  await using server = await serveFile(file);
  const source = await openUrl(server.url, { cacheBytes: 250 });
  for (const offset of [50_000, 60_000, 70_000, 70_000, 50_000]) {
    await source.read(offset, 100);
  }
  assert.equal(server.ranges.length, 1 + 4); // 50000 was dropped for 70000
  source.close();
});

const passing: Trouble[] = [
  { kind: "status", status: 503 },
  { kind: "status", status: 429 },
  { kind: "cut" },
  { kind: "short" },
  { kind: "stall" },
];

/**
 * Trouble at requests that are not well. Where it is silence the time to wait
 * for it passes by `clock`, so that no other answer can be late.
 */
function troubleUnless(
  isWell: (request: number) => boolean,
  { trouble, clock }: { trouble: Trouble; clock: Clock | undefined },
): (request: number) => Trouble | undefined {
  let passing = Promise.resolve();
  return (request) => {
    if (isWell(request)) return undefined;
    if (clock) passing = passing.then(() => clock.pass(LONGEST_MS));
    return trouble;
  };
}

for (const trouble of passing) {
  const name = trouble.kind === "status" ? trouble.status : trouble.kind;
  const options = { ...fast, idleTimeoutMs: LONGEST_MS };
  const clockOf = () => trouble.kind === "stall" ? new Clock() : undefined;
  Deno.test(`a server in trouble (${name}) is asked again`, async () => {
    using clock = clockOf();
    // The first two responses on opening fail, and two later ones.
    const isWell = (request: number) => request % 3 === 0;
    await using server = await serveFile(file, {
      trouble: troubleUnless(isWell, { trouble, clock }),
    });
    const source = await openUrl(server.url, options);
    const read = source.read(100_000, 50);
    await clock?.pass(0); // in which others may join it
    assert.deepEqual(await within("it is read", read), slice(100_000, 50));
    assert.equal(source.traffic.requests, 6);
    source.close();
  });

  Deno.test(`a server that stays in trouble (${name}) is named`, async () => {
    using clock = clockOf();
    const isWell = (request: number) => request === 1;
    await using server = await serveFile(file, {
      trouble: troubleUnless(isWell, { trouble, clock }),
    });
    const source = await openUrl(server.url, options);
    const read = source.read(100_000, 50);
    await clock?.pass(0);
    await assert.rejects(
      within("it fails", read),
      /^NetworkError: .*, at the last of 3 attempts$/,
    );
    assert.equal(server.ranges.length, 1 + 3);
    source.close();
  });
}

Deno.test("a permanent refusal is not retried", async () => {
  const cases: [Trouble, RegExp][] = [
    [{ kind: "status", status: 404 }, /the server answered 404 Not Found$/],
    [{ kind: "status", status: 403 }, /the server answered 403 Forbidden$/],
    [{ kind: "long" }, /sent more than the 16384 bytes that it announced$/],
  ];
  for (const [trouble, reason] of cases) {
    await using server = await serveFile(file, { trouble: () => trouble });
    await assert.rejects(openUrl(server.url, fast), reason);
    assert.equal(server.ranges.length, 1);
  }
});

Deno.test("a server that lies about the length of a file is found out", async () => {
  await using server = await serveFile(file, {
    trouble: (request) => request === 1 ? { kind: "lie" } : undefined,
  });
  const source = await openUrl(server.url, fast);
  await assert.rejects(source.read(100_000, 50), /it changed on the server/);
  source.close();
});

Deno.test("a file that changes on the server is no mix of both", async () => {
  await using server = await serveFile(file, { changeAt: 3 });
  const source = await openUrl(server.url, fast);
  await source.read(100_000, 50);
  await assert.rejects(source.read(120_000, 50), /it changed on the server/);
  assert.deepEqual(await source.read(100_000, 50), slice(100_000, 50));
  source.close();
});

Deno.test("a server without ranges: small files are downloaded, large ones refused", async () => {
  await using server = await serveFile(file, { ignoreRanges: true });
  const source = await openUrl(server.url, fast);
  assert.deepEqual(await source.read(100_000, 50), slice(100_000, 50));
  assert.deepEqual(source.warnings, [
    "the server does not support byte ranges: downloaded whole",
  ]);
  assert.equal(source.traffic.bytes, file.length);
  assert.equal(source.name, server.url);
  source.close();

  await assert.rejects(
    openUrl(server.url, { ...fast, maxDownloadBytes: 199_999 }),
    /does not support byte ranges, and the file exceeds the 199999 bytes/,
  );
});

Deno.test("a signal ends a request, but not that of others", async () => {
  await using server = await serveFile(file, {
    trouble: (request) => request === 2 ? { kind: "stall" } : undefined,
  });
  const source = await openUrl(server.url);
  const [first, second] = [new AbortController(), new AbortController()];
  const reads = [first, second].map(({ signal }) =>
    source.read(100_000, 50, signal)
  );
  const other = source.read(190_000, 50);
  await eventually("all are asked for", () => server.ranges.length >= 2);
  first.abort(new Error("enough"));
  second.abort(new Error("enough"));
  await Promise.all(reads.map((read) => assert.rejects(read, /enough/)));
  assert.deepEqual(await other, slice(190_000, 50));
  await assert.rejects(source.read(1, 1, first.signal), /enough/);
  source.close();
});

Deno.test("a signal of several ranges ends the request they share", async () => {
  await using server = await serveFile(file, {
    trouble: (request) => request === 2 ? { kind: "stall" } : undefined,
  });
  const source = await openUrl(server.url, { idleTimeoutMs: 60_000 });
  const controller = new AbortController();
  const reads = [100_000, 100_100].map((offset) =>
    source.read(offset, 50, controller.signal)
  );
  await eventually("both are asked for", () => server.ranges.length === 2);
  controller.abort(new Error("enough"));
  await Promise.all(reads.map((read) => assert.rejects(read, /enough/)));
  assert.equal(server.ranges.length, 2);
  source.close();
});

Deno.test("a server that is not there is named", async () => {
  // Nothing listens at this end of a connection, nor may anyone else.
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { hostname, port: taken } = listener.addr;
  using connection = await Deno.connect({ hostname, port: taken });
  const { port } = connection.localAddr;
  await assert.rejects(
    openUrl(`http://127.0.0.1:${port}/a.tif`, fast),
    /: tcp connect error: Connection refused .*, at the last of 3 attempts$/,
  );
  await assert.rejects(
    openUrl("http://nowhere.invalid/a.tif?signature=1", fast),
    /: dns error: [^?]*, at the last of 3 attempts$/,
  );
});

Deno.test("images of a server are those of the file", async () => {
  for (const name of ["pages_jpeg.tif", "aperio.svs", "strips.tif"]) {
    const path = fileURLToPath(
      new URL(`../../../fixtures/tiff/${name}`, import.meta.url),
    );
    const bytes = await Deno.readFile(path);
    for (const ignoreRanges of [false, true]) {
      await using server = await serveFile(bytes, { ignoreRanges });
      const local = await openImage(path);
      const remote = await openImage(server.url);
      assert.deepEqual(await readAll(remote), await readAll(local));
      assert.deepEqual(remote.levels, local.levels);
      assert.equal(remote.traffic.requests, server.ranges.length);
      local.close();
      remote.close();
    }
  }
});

Deno.test("regions that are announced come together", async () => {
  const tiff = await toSharp(asymmetricPicture(640, 640))
    .tiff({ compression: "none", tile: true, tileWidth: 64, tileHeight: 64 })
    .toBuffer();
  await using server = await serveFile(tiff);
  const regions = [0, 1, 2, 3, 4, 5, 6, 7].map((i) => ({
    x: i * 64,
    y: 320,
    width: 50,
    height: 50,
  }));
  const requests: number[] = [];
  for (const isAnnounced of [false, true]) {
    const image = await openImage(server.url);
    const before = image.traffic.requests;
    if (isAnnounced) image.prefetch!(regions, 0);
    for (const region of regions) await image.read(region, 0);
    requests.push(image.traffic.requests - before);
    image.close();
  }
  assert.ok(requests[0]! >= 8 && requests[1]! <= 3, `${requests}`);
});

Deno.test("an error of a server names the image and the reason", async () => {
  await using server = await serveFile(file, {
    trouble: () => ({ kind: "status", status: 404 }),
  });
  await assert.rejects(
    openImage(server.url),
    new RegExp(
      `^ImageSourceError: Cannot open ${server.url} as an image: .* 404`,
    ),
  );
});
