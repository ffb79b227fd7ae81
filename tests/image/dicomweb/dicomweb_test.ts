/** Slides of DICOMweb servers: one of these tests, and Orthanc if it is there. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import {
  ImageError,
  ImageSourceError,
  NetworkError,
} from "../../../lib/errors.ts";
import { imageContent } from "../../../lib/encoder/cache.ts";
import { openIdentified, openImage } from "../../../lib/image/open.ts";
import type { OpenOptions } from "../../../lib/image/open.ts";
import type { Pyramid } from "../../../lib/image/pyramid.ts";
import { guardedFetch } from "../../../lib/serve/intake/guarded_fetch.ts";
import { withFolder } from "../../data/folder.ts";
import { eventually } from "../../waiting.ts";
import {
  fixture,
  INSTANCE,
  type Instance,
  SERIES,
  serveSlide,
  STUDY,
} from "./wado_server.ts";

const SIZES = [
  { width: 100, height: 70 },
  { width: 50, height: 35 },
  { width: 25, height: 18 },
];

// Of JPEG at quality 95, on slopes of 2 and 3 a pixel.
const TOLERANCE = 4;

/** Checks every pixel against what fixtures/dicom/make.py drew. */
async function assertPixels(image: Pyramid, behind = 255): Promise<void> {
  assert.deepEqual(
    image.levels.map(({ width, height }) => ({ width, height })),
    SIZES,
  );
  for (const [level, { width, height }] of SIZES.entries()) {
    const { data } = await image.read({ x: 0, y: 0, width, height }, level);
    for (let y = 0, at = 0; y < height; y++) {
      for (let x = 0; x < width; x++, at += 4) {
        const isAbsent = level === 1 && x < 32 && y < 32;
        const expected = isAbsent
          ? [behind, behind, behind]
          : [2 * x, 3 * y, 40 + 80 * level];
        for (const [c, value] of expected.entries()) {
          const most = level === 0 ? TOLERANCE : 0;
          const found = data[at + c]!;
          const is = `level ${level}, ${x}, ${y}, ${c}: ${found}, not ${value}`;
          assert.ok(Math.abs(found - value) <= most, is);
        }
        assert.equal(data[at + 3], 255);
      }
    }
  }
}

Deno.test("a slide of a DICOMweb server is read level by level", async () => {
  for (const plain of [false, true]) {
    await using server = await serveSlide({ plain });
    const { image, format } = await openIdentified(server.url);
    assert.equal(format, "DICOMweb");
    assert.equal(image.mpp, 0.25);
    assert.equal(image.magnification, 40);
    assert.deepEqual(image.warnings, []);
    await assertPixels(image);
    image.close();
    const black = await openImage(`${server.url}/`, { backdrop: "black" });
    await assertPixels(black, 0);
    black.close();
  }
});

Deno.test("only the frames of a region are fetched, once", async () => {
  await using server = await serveSlide();
  const image = await openImage(server.url);
  assert.deepEqual(server.requests, ["metadata"]);
  const region = { x: 33, y: 40, width: 40, height: 9 };
  await image.read(region, 0);
  await image.read(region, 0);
  assert.deepEqual(server.requests.slice(1).sort(), [
    `instances/${INSTANCE}.0/frames/6`,
    `instances/${INSTANCE}.0/frames/7`,
  ]);
  assert.deepEqual(image.traffic, { bytes: server.bytes, requests: 3 });
  await image.read({ x: 0, y: 0, width: 9, height: 9 }, 1); // not scanned
  await image.read({ x: 40, y: 9, width: 9, height: 9 }, 1); // the last frame
  assert.deepEqual(server.requests.slice(3), [
    `instances/${INSTANCE}.1/frames/3`,
  ]);
  const again = await openImage(server.url);
  assert.equal(await imageContent(again), await imageContent(image));
  image.close();
  again.close();
});

Deno.test("a server fetches slides of DICOMweb from listed hosts only", async () => {
  await using server = await serveSlide();
  const { host } = new URL(server.url);
  const image = await openImage(server.url, { fetch: guardedFetch([host]) });
  await assertPixels(image);
  image.close();
  await assert.rejects(
    openImage(server.url, { fetch: guardedFetch(["example.org"]) }),
    /is not an allowed host/,
  );
});

Deno.test("parts of a concatenation are one level", async () => {
  const change = (series: Instance[]) => {
    const base = series[3]!;
    const part = (frames: number, offset: number) => ({
      ...base,
      "00209161": { vr: "UI", Value: ["1.2.3"] },
      "00209228": { vr: "UL", Value: [offset] },
      "00280008": { vr: "IS", Value: [frames] },
    });
    return [part(5, 7), part(7, 0)];
  };
  await using server = await serveSlide({ change });
  const image = await openImage(server.url);
  await image.read({ x: 0, y: 65, width: 1, height: 1 }, 0); // frame 9 of 12
  assert.deepEqual(server.requests.slice(1), [
    `instances/${INSTANCE}.0/frames/2`, // of the second part
  ]);
  image.close();
});

/** Opens the slide with the element of level 0 set, or without it. */
function withElement(tag: string, ...Value: unknown[]) {
  return (series: Instance[]) => {
    const base = series[3]!;
    if (Value.length === 0) delete base[tag];
    else base[tag] = { vr: "UN", Value };
    return series;
  };
}

Deno.test("series that are no slide, or are damaged, are refused in one line", async () => {
  const refused: [(series: Instance[]) => unknown, RegExp][] = [
    [() => [], /has no whole-slide image; its classes are none/],
    [() => ({}), /has no whole-slide image/],
    [() => [null, 7, "a"], /has no whole-slide image/],
    [
      (series) =>
        series.map((instance) => ({
          ...instance,
          "00080016": { vr: "UI", Value: ["1.2.840.10008.5.1.4.1.1.2"] },
        })),
      /has no whole-slide image; its classes are 1\.2\.840\.10008\.5\.1\.4\.1\.1\.2$/,
    ],
    [(series) => series.slice(0, 1), /only its label or an overview/],
    [(series) => [...series, series[3]], /has 2 images of 100 x 70 px/],
    [withElement("00280002", 1), /has 1 samples of 8 bits/],
    [withElement("00280100", 16), /has 3 samples of 16 bits/],
    [withElement("00280004", "MONOCHROME2"), /MONOCHROME2: 3 of 8 bits/],
    [withElement("00280006", 1), /in planes/],
    [withElement("00280011"), /element 00280011 of its metadata is missing/],
    [withElement("00280011", 0), /element 00280011 of its metadata is 0/],
    [
      withElement("00480006", 1e99),
      /element 00480006 of its metadata is 1e\+99/,
    ],
    [withElement("00480006", 2 ** 30), /a side may have at most/],
    [withElement("00280008", 11), /has 11 of 12 frames/],
    [withElement("00280010", 2 ** 20), /frames of 32 x 1048576 px: at most/],
    [withElement("00080018", "../1"), /an instance of it has no UID/],
    [
      withElement("00209311", "TILED_SPARSE"),
      /does not say where the frames lie/,
    ],
    [(series) => {
      const [frame] = series[1]!["52009230"]!.Value as Instance[];
      (frame!["0048021A"]!.Value![0] as Instance)["0048021E"]!.Value = [2];
      return series;
    }, /overlap or leave gaps \(one is at 1, 32\)/],
  ];
  for (const [change, message] of refused) {
    await using server = await serveSlide({ change });
    await assert.rejects(openImage(server.url), (error: Error) => {
      assert.ok(error instanceof ImageError, Deno.inspect(error));
      assert.match(error.message, message);
      assert.match(error.message, /^Cannot open http.* as DICOMweb: /);
      return !error.message.includes("\n");
    });
  }
});

Deno.test("bad answers are told of as such, and passing ones asked again", async () => {
  let failures = 0;
  const read = async (
    server: Parameters<typeof serveSlide>[0],
    options?: OpenOptions,
  ) => {
    failures = 0;
    await using served = await serveSlide(server);
    const image = await openImage(served.url, options);
    try {
      await image.read({ x: 0, y: 0, width: 1, height: 1 }, 0);
    } finally {
      image.close();
    }
  };
  const refusing = (status: number, times: number, part = "") => ({
    intercept: ({ url = "" }) =>
      url.includes(part) && failures++ < times ? { status } : undefined,
  });
  await read(refusing(503, 1));
  await read(refusing(503, 1, "/frames/"));
  const bad: [Parameters<typeof serveSlide>[0], RegExp, typeof ImageError?][] =
    [
      [refusing(404, 9), /404: it has no such series/],
      [refusing(401, 9), /answered 401 Unauthorized/, ImageSourceError],
      [refusing(404, 9, "/frames/"), /the server has no frame 1 of it/],
      [refusing(406, 9, "/frames/"), /answered 406/, ImageSourceError],
      [{ frame: (bytes) => bytes.subarray(0, 99) }, /is damaged or truncated/],
      [{ frame: () => new Uint8Array(9) }, /a frame is neither JPEG nor/],
      [{ frame: () => new Uint8Array(2 ** 20) }, /more than the 68608 bytes/],
      [
        { frame: () => new TextEncoder().encode("\r\n--a b--") },
        /a frame is neither JPEG nor/,
      ],
      [{ change: () => "<html>" }, /metadata that is not JSON/, NetworkError],
    ];
  for (const [server, message, kind = ImageError] of bad) {
    await assert.rejects(read(server), (error: Error) => {
      assert.ok(error instanceof kind, Deno.inspect(error));
      assert.match(error.message, message);
      return true;
    });
  }
  // A level's JPEG of another size than its metadata says.
  const larger = (series: Instance[]) => {
    for (const tag of ["00280010", "00280011"]) series[3]![tag]!.Value = [64];
    return series;
  };
  await assert.rejects(read({ change: larger }), /it has 32 x 32 px, not 64/);
});

const PLUGIN = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so";

Deno.test("the slide is read from Orthanc", {
  ignore: !existsSync(PLUGIN), // Debian: orthanc-dicomweb
}, async () => {
  await withFolder(async (folder) => {
    const port = await freePort();
    const config = join(folder, "orthanc.json");
    await Deno.writeTextFile(
      config,
      JSON.stringify({
        StorageDirectory: folder,
        IndexDirectory: folder,
        HttpPort: port,
        DicomServerEnabled: false,
        Plugins: [PLUGIN],
      }),
    );
    const orthanc = new Deno.Command("Orthanc", {
      args: [config],
      stdout: "null",
      stderr: "null",
    }).spawn();
    const server = `http://127.0.0.1:${port}`;
    try {
      await eventually(
        "Orthanc answers",
        () =>
          fetch(`${server}/system`).then((answer) => answer.ok, () => false),
      );
      for (const name of ["label", "level0", "level1", "level2"]) {
        const body = await Deno.readFile(fixture(`${name}.dcm`));
        const put = await fetch(`${server}/instances`, {
          method: "POST",
          body,
        });
        assert.equal(put.status, 200, await put.text());
      }
      const image = await openImage(
        `${server}/dicom-web/studies/${STUDY}/series/${SERIES}`,
      );
      assert.equal(image.mpp, 0.25);
      await assertPixels(image);
      assert.equal(image.traffic.requests, 1 + 12 + 3 + 1);
      image.close();
    } finally {
      orthanc.kill();
      await orthanc.status;
    }
  });
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
