/** OME-Zarr: fixtures/zarr is of zarr-python, the hostile ones are made here. */
import assert from "node:assert/strict";
import { cp } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { deflateSync, gzipSync, zstdCompressSync } from "node:zlib";
import { ImageError, ImageSourceError } from "../../../lib/errors.ts";
import { imageContent } from "../../../lib/encoder/cache.ts";
import { FolderObjects, WebObjects } from "../../../lib/image/bytes/objects.ts";
import { openIdentified, openImage } from "../../../lib/image/open.ts";
import type { Pyramid } from "../../../lib/image/pyramid.ts";
import { readManifest } from "../../../lib/data/manifest.ts";
import { guardedFetch } from "../../../lib/serve/intake/guarded_fetch.ts";
import { withFolder } from "../../data/folder.ts";
import { faultOfV4, withVariables } from "../bytes/cloud_requests.ts";
import { serveFolder } from "../folder_server.ts";

const FIXTURES = fileURLToPath(
  new URL("../../../fixtures/zarr", import.meta.url),
);
const SIZES = [{ width: 100, height: 70 }, { width: 50, height: 35 }];

/** The value that fixtures/zarr/make.py wrote. */
function valueAt(x: number, y: number, channel: number, level: number): number {
  return level === 0 && x < 64 && y < 64
    ? 255
    : (7 * x + 3 * y + 50 * channel + 10 * level) % 251;
}

async function assertPixels(image: Pyramid): Promise<void> {
  assert.deepEqual(
    image.levels,
    SIZES.map((size, i) => ({ ...size, downsample: 2 ** i })),
  );
  for (const [level, { width, height }] of SIZES.entries()) {
    const region = { x: 0, y: 0, width: width + 1, height };
    const { data } = await image.read(region, level);
    for (let y = 0, at = 0; y < height; y++) {
      for (let x = 0; x <= width; x++, at += 4) {
        const expected = x === width
          ? [0, 0, 0, 0] // outside
          : [...[0, 1, 2].map((c) => valueAt(x, y, c, level)), 255];
        assert.deepEqual([...data.subarray(at, at + 4)], expected);
      }
    }
  }
}

for (
  const [name, mpp] of [["old", 0.25], ["sharded", 0.5], ["gzip", 0.5], [
    "blosc",
    0.5,
  ]] as const
) {
  Deno.test(`${name}.zarr is read as it was written, from a folder and a server`, async () => {
    const path = join(FIXTURES, `${name}.zarr`);
    await using server = await serveFolder(FIXTURES);
    for (const place of [path, `${path}/`, `${server.url}/${name}.zarr`]) {
      const { image, format } = await openIdentified(place);
      assert.equal(format, "OME-Zarr");
      assert.equal(image.mpp, mpp);
      assert.equal(image.source, place);
      assert.deepEqual(image.warnings, []);
      await assertPixels(image);
      image.close();
      await assert.rejects(
        image.read({ x: 0, y: 0, width: 9, height: 9 }, 0),
        /was closed/,
      );
    }
  });
}

Deno.test("only the chunks of a region are fetched, once", async () => {
  await using server = await serveFolder(FIXTURES);
  const image = await openImage(`${server.url}/old.zarr`);
  assert.deepEqual(server.requests, [
    "/old.zarr/zarr.json", // of version 3
    "/old.zarr/.zattrs",
    "/old.zarr/0/zarr.json",
    "/old.zarr/0/.zattrs",
    "/old.zarr/0/0/.zarray",
    "/old.zarr/0/1/.zarray",
  ]);
  const opened = server.bytes;
  const corner = { x: 70, y: 66, width: 9, height: 4 };
  await image.read(corner, 0);
  await image.read(corner, 0);
  assert.deepEqual(
    server.requests.slice(6).sort(),
    [0, 1, 2].map((c) => `/old.zarr/0/0/0/${c}/0/1/1`),
  );
  assert.equal(server.bytes - opened, 3 * 311);
  assert.deepEqual(image.traffic, { bytes: server.bytes, requests: 9 });
  await image.read({ x: 0, y: 0, width: 9, height: 9 }, 0); // left out
  assert.deepEqual(image.traffic, { bytes: server.bytes, requests: 12 });
  image.close();
});

Deno.test("of a shard its index and the chunks of a region are fetched", async () => {
  for (const ranges of [true, false]) {
    await using server = await serveFolder(FIXTURES, { ranges });
    const image = await openImage(`${server.url}/sharded.zarr`);
    const region = { x: 70, y: 10, width: 9, height: 4 };
    const before = server.bytes;
    const { data } = await image.read(region, 0);
    assert.equal(data[0], valueAt(70, 10, 0, 0));
    const [index, chunk, ...others] = server.requests.slice(3);
    assert.deepEqual(others, []);
    const indexBytes = 16 * 16 + 4; // 4 x 4 chunks, and a checksum
    assert.equal(index, `/sharded.zarr/0/c/0/0/0 bytes=-${indexBytes}`);
    assert.match(chunk!, /^\/sharded.zarr\/0\/c\/0\/0\/0 bytes=\d+-\d+$/);
    if (ranges) assert.ok(server.bytes - before < 1000);
    image.close();
  }
});

Deno.test("a read that is given up does not take a shard's index from others", async () => {
  await using server = await serveFolder(FIXTURES);
  const image = await openImage(`${server.url}/sharded.zarr`);
  const first = new AbortController();
  const given = image.read(
    { x: 70, y: 0, width: 1, height: 1 },
    0,
    first.signal,
  );
  const stays = image.read({ x: 99, y: 69, width: 1, height: 1 }, 0);
  first.abort(new Error("enough"));
  await assert.rejects(given, /enough/);
  assert.equal((await stays).data[0], valueAt(99, 69, 0, 0));
  image.close();
});

Deno.test("a shard whose index is wrong is damage", async () => {
  const name = "0/c/0/0/0";
  const shard = await Deno.readFile(join(FIXTURES, "sharded.zarr", name));
  const indexAt = shard.length - 16 * 16 - 4;
  const wrong: [(view: DataView) => void, RegExp][] = [
    [
      (view) => view.setUint8(indexAt, 1),
      /its checksum is not that of its bytes/,
    ],
    [
      (view) => view.setUint8(shard.length - 1, 1),
      /its checksum is not that of its bytes/,
    ],
  ];
  await withFolder(async (folder) => {
    const path = join(folder, "a.zarr");
    await cp(join(FIXTURES, "sharded.zarr"), path, { recursive: true });
    for (const [spoil, message] of wrong) {
      const copy = shard.slice();
      spoil(new DataView(copy.buffer));
      await Deno.writeFile(join(path, name), copy);
      const image = await openImage(path);
      await assert.rejects(
        image.read({ x: 0, y: 0, width: 100, height: 70 }, 0),
        (error: Error) =>
          error instanceof ImageError && message.test(error.message),
      );
      image.close();
    }
    // Without a checksum the index is believed, within bounds.
    const metadata = join(path, "0/zarr.json");
    const text = await Deno.readTextFile(metadata);
    const array = JSON.parse(text);
    array.codecs[0].configuration.index_codecs.length = 1;
    await Deno.writeTextFile(metadata, JSON.stringify(array));
    for (const value of [2n ** 64n - 2n, 2n ** 53n, 2n ** 40n]) {
      const copy = shard.slice(0, -4);
      const view = new DataView(copy.buffer);
      for (let at = indexAt; at < copy.length; at += 8) {
        view.setBigUint64(at, value, true);
      }
      await Deno.writeFile(join(path, name), copy);
      const image = await openImage(path);
      await assert.rejects(
        image.read({ x: 0, y: 0, width: 9, height: 9 }, 0),
        /no such chunk|more than the 67108864/,
      );
      image.close();
    }
  });
});

Deno.test("OME-Zarr in a private bucket is signed object by object", async () => {
  const key = { id: "id", secret: "secret", region: "eu-central-1" };
  await using server = await serveFolder(dirname(FIXTURES), {
    intercept: (request) =>
      faultOfV4(request, key) === undefined ? undefined : { status: 403 },
  });
  const variables = {
    AWS_ACCESS_KEY_ID: key.id,
    AWS_SECRET_ACCESS_KEY: key.secret,
    AWS_REGION: key.region,
    AWS_ENDPOINT_URL: server.url,
  };
  await withVariables(variables, async () => {
    const address = "s3://zarr/sharded.zarr";
    for (const fetch of [undefined, guardedFetch(["s3://zarr"])]) {
      const image = await openImage(address, fetch && { fetch });
      await assertPixels(image);
      assert.match(
        image.identity!,
        /^s3:\/\/zarr\/sharded.zarr\|[0-9a-f]{64}$/,
      );
      image.close();
    }
    const { host } = new URL(server.url);
    await assert.rejects(
      openImage(address, { fetch: guardedFetch([host]) }),
      /the server answered 403/,
    );
    await assert.rejects(
      openImage(address, { fetch: guardedFetch(["s3://other"]) }),
      /is not an allowed host/,
    );
  });
});

Deno.test("bad answers are of the server, and passing ones are asked again", async () => {
  let failures = 0;
  const isChunk = (url = "") => url.includes("/c/");
  const intercepted = (status: number) => ({
    intercept: ({ url }: { url?: string | undefined }) =>
      isChunk(url) && failures++ === 0 ? { status } : undefined,
  });
  const open = async (options: Parameters<typeof serveFolder>[1]) => {
    failures = 0;
    await using server = await serveFolder(FIXTURES, options);
    const image = await openImage(`${server.url}/gzip.zarr`);
    try {
      await assertPixels(image);
    } finally {
      image.close();
    }
  };
  await open(intercepted(503));
  await open({ cut: (request) => request === 4 });
  await assert.rejects(open(intercepted(403)), (error: Error) => {
    assert.ok(error instanceof ImageSourceError);
    assert.match(
      error.message,
      /^Cannot read .*: block \d of level 0: the server answered 403 Forbidden$/,
    );
    return true;
  });
});

Deno.test("a manifest may name a folder of OME-Zarr, which is known by its metadata", async () => {
  await withFolder(async (folder) => {
    const csv = join(folder, "data.csv");
    const image = join(FIXTURES, "gzip.zarr");
    const other = join(FIXTURES, "blosc.zarr");
    const lines = [`${image},a,train`, `${other},b,test`];
    await Deno.writeTextFile(csv, ["image,label,split", ...lines].join("\n"));
    const { entries } = await readManifest(csv);
    assert.deepEqual(entries.map(({ path }) => path), [image, other]);
    const [one, two] = await Promise.all([image, other].map(async (path) => {
      const opened = await openImage(path);
      opened.close();
      return await imageContent(opened);
    }));
    assert.notEqual(one, two);
  });
});

Deno.test("no key leads out of an image", async () => {
  const objects = [
    new FolderObjects(join(FIXTURES, "gzip.zarr")),
    new WebObjects("http://127.0.0.1:9/gzip.zarr"),
  ];
  const keys = ["../make.py", "0/../../make.py", "/etc/passwd", "0//c", "./0"];
  for (const key of [...keys, "..\\make.py", "0\0"]) {
    for (
      const read of objects.map((some) => some.read(key, { maxBytes: 1e6 }))
    ) {
      await assert.rejects(read, /it names a part outside of it/, key);
    }
  }
});

/** Metadata of an image, with faults. */
interface Faulty {
  image?: Record<string, unknown>;
  omero?: unknown;
  array?: Record<string, unknown>;
  compressor?: unknown;
  chunk?: Uint8Array;
}

/** Writes an image of one level and one chunk, of version 0.4. */
async function writeImage(
  folder: string,
  { image, omero, array, compressor = null, chunk }: Faulty,
): Promise<string> {
  const path = join(folder, "made.zarr");
  await Deno.remove(path, { recursive: true }).catch(() => {});
  await Deno.mkdir(join(path, "0"), { recursive: true });
  const axes = ["c", "y", "x"].map((name) => ({ name }));
  const multiscales = [{ axes, datasets: [{ path: "0" }], ...image }];
  const write = async (name: string, value: unknown) =>
    await Deno.writeTextFile(join(path, name), JSON.stringify(value));
  await write(".zattrs", { multiscales, omero });
  await write("0/.zarray", {
    zarr_format: 2,
    shape: [3, 8, 8],
    chunks: [3, 8, 8],
    dtype: "|u1",
    order: "C",
    filters: null,
    fill_value: 9,
    compressor,
    ...array,
  });
  if (chunk) await Deno.writeFile(join(path, "0/0.0.0"), chunk);
  return path;
}

const WHOLE = { x: 0, y: 0, width: 8, height: 8 };

Deno.test("compressions of version 2 are read", async () => {
  const values = Uint8Array.from({ length: 192 }, (_, i) => i);
  const compressions: [unknown, Uint8Array, Record<string, unknown>?][] = [
    [null, values],
    [{ id: "gzip", level: 1 }, gzipSync(values)],
    [{ id: "zlib", level: 1 }, deflateSync(values)],
    [{ id: "zstd", level: 1 }, zstdCompressSync(values)],
    [null, values, { order: "F" }],
  ];
  await withFolder(async (folder) => {
    for (const [compressor, chunk, array = {}] of compressions) {
      const path = await writeImage(folder, { compressor, chunk, array });
      const image = await openImage(path);
      const { data } = await image.read({ ...WHOLE, x: 1, width: 1 }, 0);
      const expected = "order" in array
        ? [24, 25, 26, 255] // channels first, then rows
        : [1, 65, 129, 255];
      assert.deepEqual([...data.subarray(0, 4)], expected);
      assert.equal(image.mpp, undefined);
      image.close();
    }
    const image = await openImage(await writeImage(folder, {}));
    const { data } = await image.read(WHOLE, 0); // its chunk is missing
    assert.deepEqual([...data.subarray(0, 4)], [9, 9, 9, 255]);
    image.close();
  });
});

Deno.test("what is not read is refused in one line when it is opened", async () => {
  const shaped = (...shape: number[]) => ({ shape, chunks: shape });
  const axesOf = (axes: string) => [...axes].map((name) => ({ name }));
  const colours = (...names: string[]) => ({
    channels: names.map((color, i) => ({ color, label: `dye ${i}` })),
  });
  const refused: [Faulty, RegExp][] = [
    [
      { array: shaped(1, 8, 8) },
      /uint8 of c 1, y 8, x 8: .*3 channels \(RGB\)/,
    ],
    [{ array: shaped(4, 8, 8) }, /uint8 of c 4/],
    [{ array: { dtype: "<u2" } }, /uint16 of c 3, y 8, x 8/],
    [
      { image: { axes: axesOf("tcyx") }, array: shaped(2, 3, 8, 8) },
      /uint8 of t 2, c 3, y 8, x 8/,
    ],
    [{ image: { axes: axesOf("zyx") } }, /uint8 of z 3, y 8, x 8/],
    [
      { omero: colours("0000FF", "00FF00", "FF0000") },
      /its three channels are dye 0, dye 1, dye 2, not red, green and blue/,
    ],
    [{ array: { shape: [3, 8] } }, /"0" has not a size and a chunk along each/],
    [{ array: { chunks: [3, 0, 8] } }, /has not a size and a chunk/],
    [{ array: { chunks: [3, 1e300, 8] } }, /has not a size and a chunk/],
    [{ array: { shape: [3, 1e9, 8] } }, /a side may have at most/],
    [{ array: { chunks: [3, 30_000, 30_000] } }, /chunks of 2700000000 bytes/],
    [{ array: { dtype: "|O" } }, /made\.zarr as OME-Zarr: /],
    [{ array: { dtype: 7 } }, /is damaged or truncated/],
    [{ image: { datasets: [] } }, /it has 0 levels/],
    [
      { image: { datasets: Array(99).fill({ path: "0" }) } },
      /it has 99 levels/,
    ],
    [{ image: { datasets: [{ path: 7 }] } }, /has no path/],
    [
      { image: { datasets: [{ path: "1" }] } },
      /is damaged or truncated .*Not found/i,
    ],
    [
      { image: { datasets: [{ path: "..%2f..%2fetc" }] } }, // of the image
      /is damaged or truncated .*Not found/i,
    ],
    [{ image: { axes: axesOf("cyy") } }, /uint8 of c 3, y 8, y 8/],
  ];
  await withFolder(async (folder) => {
    for (const [faulty, message] of refused) {
      const path = await writeImage(folder, faulty);
      await assert.rejects(openImage(path), (error: Error) => {
        assert.ok(error instanceof ImageError, Deno.inspect(error));
        assert.match(error.message, message);
        assert.match(error.message, /^Cannot open .*made\.zarr as OME-Zarr: /);
        assert.doesNotMatch(error.message, /\n/);
        return true;
      });
    }
    const path = await writeImage(folder, {});
    await Deno.writeTextFile(join(path, ".zattrs"), "{");
    await assert.rejects(openImage(path), /its metadata is not JSON/);
    await Deno.writeTextFile(join(path, ".zattrs"), "{}");
    await assert.rejects(openImage(path), /have no "multiscales"/);
    await Deno.writeFile(join(path, ".zattrs"), new Uint8Array(2 ** 22 + 1));
    await assert.rejects(openImage(path), /more than the 4194304 that such a/);
    await assert.rejects(openImage(folder), /it is a folder/);
  });
});

Deno.test("a chunk that holds more or less than its size is damage", async () => {
  const bomb = new Uint8Array(2 ** 26);
  const blosc = new Uint8Array(64).fill(1);
  new DataView(blosc.buffer).setUint32(4, 2 ** 31, true);
  const lz4 = new Uint8Array([255, 255, 255, 127, 0]);
  const damaged: [unknown, Uint8Array, RegExp?][] = [
    [null, new Uint8Array(191), /too short/],
    [{ id: "gzip" }, gzipSync(bomb), /larger than/],
    [{ id: "zlib" }, deflateSync(bomb), /larger than/],
    [{ id: "zstd" }, zstdCompressSync(bomb), /larger than/],
    [{ id: "gzip" }, gzipSync(bomb).subarray(0, 99)],
    [{ id: "gzip" }, new Uint8Array(9)],
    [{ id: "zstd" }, new Uint8Array(9)],
    [{ id: "blosc" }, blosc, /says that it holds 2147483648 bytes/],
    [{ id: "blosc" }, new Uint8Array(3)],
    [{ id: "blosc" }, new Uint8Array(64)],
    [{ id: "lz4" }, lz4, /says that it holds/],
    [{ id: "bz2" }, new Uint8Array(9), /bz2/],
  ];
  await withFolder(async (folder) => {
    for (const [compressor, chunk, message = /./] of damaged) {
      const path = await writeImage(folder, { compressor, chunk });
      const image = await openImage(path);
      await assert.rejects(image.read(WHOLE, 0), (error: Error) => {
        assert.ok(error instanceof ImageError, Deno.inspect(error));
        assert.match(error.message, message);
        assert.match(
          error.message,
          /^Cannot read .*: block 0 of level 0: it is damaged or truncated/,
        );
        return true;
      });
      image.close();
    }
  });
});
