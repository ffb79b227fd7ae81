/**
 * Slides through OpenSlide: ignored where the library is not installed; with
 * ZOOMIN_REQUIRE_OPENSLIDE=1 they fail.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { BlockCache } from "../../../lib/image/pyramids/block_cache.ts";
import { openFile } from "../../../lib/image/bytes/file.ts";
import { openImage } from "../../../lib/image/open.ts";
import {
  openSlideVersion,
  openWithOpenSlide,
} from "../../../lib/image/formats/openslide.ts";
import type { Pyramid } from "../../../lib/image/pyramid.ts";
import { sharedData } from "../../shared_data.ts";
import { serveFile } from "../file_server.ts";
import { makeTiff, ramps, text } from "../tiff/handmade_tiff.ts";
import { readAll, TemporaryFolder } from "../pictures.ts";

const version = openSlideVersion();
const ignore = version === undefined &&
  Deno.env.get("ZOOMIN_REQUIRE_OPENSLIDE") !== "1";
const trestle = fileURLToPath(
  new URL("../../../fixtures/tiff/trestle.tif", import.meta.url),
);

async function throughOpenSlide(path: string): Promise<Pyramid> {
  return await openWithOpenSlide(await openFile(path), {
    kind: "a slide",
    cache: new BlockCache(2 ** 24),
  });
}

Deno.test({
  name: "a slide of a scanner that we do not know goes to OpenSlide",
  ignore,
  fn: async () => {
    const image = await openImage(trestle);
    assert.deepEqual([image.width, image.height], [67, 45]);
    assert.equal(image.magnification, 20);
    const expected = await sharp(trestle).ensureAlpha().raw().toBuffer();
    assert.deepEqual((await readAll(image)).data, new Uint8Array(expected));
    const outside = await image.read({ x: 66, y: 44, width: 2, height: 2 }, 0);
    assert.deepEqual([...outside.data.subarray(4)], Array(12).fill(0));
    image.close();
    image.close();
  },
});

Deno.test({
  name:
    "Aperio's YCbCr JPEG 2000, whose colours may be halved, goes to OpenSlide",
  ignore,
  fn: async () => {
    const path = fileURLToPath(
      new URL("../../../fixtures/tiff/aperio_ycbcr.svs", import.meta.url),
    );
    const picture = await openImage(
      path.replace("aperio_ycbcr.svs", "pages_none.tif"),
    );
    const image = await openImage(path);
    assert.equal(image.magnification, 40);
    const [a, b] = await Promise.all([image, picture].map(readAll));
    const isNear = a!.data.every((value, i) =>
      Math.abs(value - b!.data[i]!) <= 3
    );
    assert.ok(isNear);
  },
});

Deno.test({
  name: "um per px that are no microscope's are not followed",
  ignore,
  fn: async () => {
    using folder = new TemporaryFolder();
    for (const [mpp, expected] of [[0.5, 0.5], [500, undefined]] as const) {
      const about = text(`Aperio Image Library\n64x48|MPP = ${mpp}`);
      const page = { picture: ramps(64, 48), tile: 16, tags: { 270: about } };
      const image = await throughOpenSlide(
        folder.write("a.svs", makeTiff(page)),
      );
      assert.equal(image.mpp, expected);
      assert.equal(image.warnings.length, expected ? 0 : 1);
      image.close();
    }
  },
});

Deno.test({
  name: "a slide may be closed while it is read",
  ignore,
  fn: async () => {
    for (const ms of [0, 0, 1, 2]) {
      const image = await openImage(trestle);
      const reading = readAll(image).catch((error) => error);
      await sleep(ms);
      image.close();
      const result = await reading; // before or behind the closing
      if (result instanceof Error) assert.match(result.message, /was closed/);
      else assert.equal(result.width, 67);
      await assert.rejects(readAll(image), /was closed/);
    }
  },
});

Deno.test("without OpenSlide its formats are refused by name", async () => {
  await using server = await serveFile(await Deno.readFile(trestle));
  await assert.rejects(
    openImage(server.url),
    /it is a slide of Trestle's, which is read from local files only$/,
  );
});

Deno.test({
  name: "a MIRAX slide is told by its folder, and a broken one refused",
  ignore,
  fn: async () => {
    const folder = await Deno.makeTempDir();
    try {
      await Deno.mkdir(join(folder, "slide"));
      await Deno.writeTextFile(join(folder, "slide", "Slidedat.ini"), "[A]");
      const path = join(folder, "slide.mrxs");
      await Deno.writeFile(
        path,
        await sharp({
          create: { width: 8, height: 8, channels: 3, background: "red" },
        }).jpeg().toBuffer(),
      );
      await assert.rejects(openImage(path), /as MIRAX: /);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});

Deno.test({
  name: "slides of names alone are refused with OpenSlide's reason",
  ignore,
  fn: async () => {
    using folder = new TemporaryFolder();
    const head = new TextEncoder().encode("[Virtual Microscope Specimen]\n");
    await assert.rejects(
      openImage(folder.write("a.vms", head)),
      /a\.vms as Hamamatsu VMS: /,
    );
  },
});

const dicom = sharedData("wsi", "boxes_0.dcm");
Deno.test({
  name: "DICOM is read by OpenSlide 4, and refused by name before it",
  ignore: ignore || dicom === undefined,
  fn: async () => {
    if (version!.startsWith("3")) {
      return await assert.rejects(
        openImage(dicom!),
        /as DICOM: it is a DICOM slide, which needs OpenSlide 4 or later: version 3[.\d]+ is installed$/,
      );
    }
    const image = await openImage(dicom!);
    assert.deepEqual([image.width, image.height], [16, 16]);
    assert.equal(image.mpp, 0.499);
    assert.equal(image.magnification, 20);
    const { data } = await readAll(image);
    image.close();
    // Its only frame is a JPEG of 64 x 64 px at the end of the file.
    const file = Buffer.from(await Deno.readFile(dicom!));
    const jpeg = file.subarray(file.lastIndexOf(Buffer.from([0xff, 0xd8])));
    const expected = await sharp(jpeg)
      .extract({ left: 0, top: 0, width: 16, height: 16 })
      .ensureAlpha().raw().toBuffer();
    assert.ok(data.every((value, i) => Math.abs(value - expected[i]!) <= 2));
  },
});

for (
  const name of ["CMU-1-Small-Region.svs", "tcga-cr-7395-01a-01-ts1.svs"]
) {
  const path = sharedData("wsi", name);
  Deno.test({
    name: `wsi/${name}: our pixels are OpenSlide's, at every level`,
    ignore: ignore || path === undefined,
    fn: async () => {
      const ours = await openImage(path!);
      const theirs = await throughOpenSlide(path!);
      assert.deepEqual(
        ours.levels.map(({ width, height }) => [width, height]),
        theirs.levels.map(({ width, height }) => [width, height]),
      );
      assert.equal(ours.mpp, theirs.mpp);
      assert.equal(ours.magnification, theirs.magnification);
      for (const level of ours.levels.keys()) {
        const region = { x: 700, y: 300, width: 512, height: 512 };
        const [a, b] = await Promise.all(
          [ours, theirs].map((image) => image.read(region, level)),
        );
        const difference = a!.data.reduce(
          (most, value, i) => Math.max(most, Math.abs(value - b!.data[i]!)),
          0,
        );
        // At a ratio that is no integer OpenSlide shifts by parts of a pixel.
        if (level === 0) assert.ok(difference <= 2, `${difference}`);
        else assert.ok(meanDifference(a!.data, b!.data) < 3);
      }
      ours.close();
      theirs.close();
    },
  });
}

function meanDifference(a: Uint8Array, b: Uint8Array): number {
  return a.reduce((sum, value, i) => sum + Math.abs(value - b[i]!), 0) /
    a.length;
}
