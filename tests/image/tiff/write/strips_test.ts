import assert from "node:assert/strict";
import { join } from "node:path";
import sharp from "sharp";
import { openImage } from "../../../../lib/image/open.ts";
import { rgbTiffHeader } from "../../../../lib/image/tiff/write/strips.ts";

// One strip; a strip a row; strips that do not fill the height.
const SIZES = [
  { width: 1, height: 1 },
  { width: 30_000, height: 3 },
  { width: 301, height: 777 },
];

Deno.test("pixels behind the header are the image, to us and to libvips", async () => {
  const folder = await Deno.makeTempDir({ prefix: "zoomin-" });
  for (const { width, height } of SIZES) {
    const pixels = Uint8Array.from(
      { length: width * height * 3 },
      (_, i) => (i * 31 + (i >> 8)) % 251,
    );
    const path = join(folder, `${width}.tif`);
    const header = rgbTiffHeader({ width, height });
    await Deno.writeFile(path, new Uint8Array([...header, ...pixels]));

    const theirs = await sharp(path).raw().toBuffer();
    assert.deepEqual(new Uint8Array(theirs), pixels);
    const pyramid = await openImage(path);
    assert.deepEqual([pyramid.width, pyramid.height], [width, height]);
    const region = { x: 0, y: 0, width, height };
    const ours = await pyramid.read(region, 0);
    assert.equal(ours.data.length % (width * height), 0);
    const samples = ours.data.length / (width * height);
    for (let i = 0; i < width * height; i++) {
      for (let c = 0; c < 3; c++) {
        if (ours.data[i * samples + c] !== pixels[i * 3 + c]) {
          assert.fail(`px ${i} of ${width} x ${height}`);
        }
      }
    }
    pyramid.close();
  }
  await Deno.remove(folder, { recursive: true });
});

Deno.test("a file beyond 4 GiB is refused", () => {
  assert.throws(
    () => rgbTiffHeader({ width: 40_000, height: 40_000 }),
    /40000 x 40000.*4 GiB/,
  );
});
