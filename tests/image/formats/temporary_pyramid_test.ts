import assert from "node:assert/strict";
import sharp from "sharp";
import { BlockCache } from "../../../lib/image/pyramids/block_cache.ts";
import { openFile } from "../../../lib/image/bytes/file.ts";
import { openImage } from "../../../lib/image/open.ts";
import type { Pyramid } from "../../../lib/image/pyramid.ts";
import { openAsPyramid } from "../../../lib/image/formats/temporary_pyramid.ts";
import { readHeader } from "../../../lib/image/formats/vips.ts";
import {
  asymmetricPicture,
  readAll,
  TemporaryFolder,
  toSharp,
} from "../pictures.ts";
import { eventually } from "../../waiting.ts";

const WARNING =
  /^converted to a temporary pyramid, which is slow: convert it once with "deno task/;

/** A file read through a pyramid, however small it is. */
async function converted(
  path: string,
  signal?: AbortSignal,
): Promise<Pyramid> {
  return await openAsPyramid(await openFile(path), {
    path,
    header: await readHeader(path),
    cache: new BlockCache(2 ** 22),
    signal,
  });
}

Deno.test("a flat picture through a pyramid is the picture that is held whole", async () => {
  using folder = new TemporaryFolder();
  const picture = () => toSharp(asymmetricPicture(700, 531)).removeAlpha();
  const files = {
    png: picture().png(),
    grey: picture().greyscale().png(),
    wide: picture().toColourspace("rgb16").png(),
    seen: picture().ensureAlpha(0.5).png(),
    jpeg: picture().jpeg({ quality: 90 }),
    turned: picture().withMetadata({ orientation: 6 }).jpeg(),
    cmyk: picture().toColourspace("cmyk").jpeg(),
  };
  for (const [name, encoder] of Object.entries(files)) {
    const path = folder.write(name, await encoder.toBuffer());
    const whole = await openImage(path);
    const image = await converted(path);
    assert.deepEqual(image.levels.length > 1, true);
    assert.deepEqual([image.width, image.height], [whole.width, whole.height]);
    const [{ data }, held] = [await readAll(image), await readAll(whole)];
    // Over white, the two round differently.
    const tolerance = name === "seen" ? 1 : 0;
    const isSame = data.every((value, i) =>
      Math.abs(value - held.data[i]!) <= tolerance
    );
    assert.ok(isSame, name);
    assert.match(image.warnings[0]!, WARNING);
    assert.deepEqual(
      image.warnings.slice(1).toSorted(),
      whole.warnings.toSorted(),
      name,
    );
    image.close();
  }
});

Deno.test("interlaced and progressive pictures are not held whole but refused", async () => {
  using folder = new TemporaryFolder();
  const picture = () => toSharp(asymmetricPicture(70, 53));
  for (
    const encoder of [
      picture().png({ progressive: true }),
      picture().jpeg({ progressive: true }),
    ]
  ) {
    const path = folder.write("a", await encoder.toBuffer());
    await assert.rejects(converted(path), /70 x 53 px and is interlaced or/);
  }
});

Deno.test("a truncated picture and a stop leave no file behind", async () => {
  using folder = new TemporaryFolder();
  using temporary = new TemporaryFolder();
  const { makeTempFile } = Deno;
  const before = Deno.env.get("TMPDIR");
  Deno.env.set("TMPDIR", temporary.path);
  try {
    const bytes = await toSharp(asymmetricPicture(700, 531)).png().toBuffer();
    const cut = folder.write("cut.png", bytes.subarray(0, bytes.length / 2));
    await assert.rejects(converted(cut), /damaged or truncated/);
    const path = folder.write("whole.png", bytes);
    const files = () => [...Deno.readDirSync(temporary.path)].length;
    const stop = new AbortController();
    Deno.makeTempFile = async (options) => {
      const path = await makeTempFile(options);
      stop.abort(new Error("stopped")); // as libvips is about to begin
      return path;
    };
    await assert.rejects(converted(path, stop.signal), /stopped/);
    Deno.makeTempFile = makeTempFile;
    await eventually("libvips has ended", () => files() === 0);
    const image = await converted(path);
    assert.equal(files(), 1);
    image.close();
    assert.equal(files(), 0);
  } finally {
    Deno.makeTempFile = makeTempFile;
    if (before === undefined) Deno.env.delete("TMPDIR");
    else Deno.env.set("TMPDIR", before);
  }
});

Deno.test("openImage converts a picture of more than 67 megapixels", async () => {
  using folder = new TemporaryFolder();
  const size = { width: 9000, height: 7500 };
  const red = await sharp({
    create: { width: 9, height: 7, channels: 3, background: "#f00" },
  }).png().toBuffer();
  const bytes = await sharp({
    create: { ...size, channels: 3, background: "#0f0" },
  }).composite([{ input: red, left: 8991, top: 7400 }])
    .png({ compressionLevel: 1 }).toBuffer();
  const path = folder.write("big.png", bytes);
  const image = await openImage(path);
  assert.deepEqual([image.width, image.height], [9000, 7500]);
  assert.match(image.warnings[0]!, WARNING);
  const corner = { x: 8990, y: 7399, width: 2, height: 2 };
  const { data } = await image.read(corner, 0);
  const green = [0, 255, 0, 255];
  assert.deepEqual([...data], [green, green, green, [255, 0, 0, 255]].flat());
  image.close();
});
