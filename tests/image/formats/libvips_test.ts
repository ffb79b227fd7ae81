import assert from "node:assert/strict";
import { findLibvips, libvips } from "../../../lib/image/formats/libvips.ts";
import { decodeWithVips } from "../../../lib/image/formats/vips.ts";
import { asymmetricPicture, toSharp } from "../pictures.ts";

const OPTIONS = { maxPixels: 2 ** 20 };

Deno.test("libvips takes PNG, JPEG, WebP and TIFF, and nothing else", async () => {
  const sharp = await libvips();
  const picture = toSharp(asymmetricPicture(20, 10)).removeAlpha();
  for (const format of ["png", "jpeg", "webp", "tiff"] as const) {
    const bytes = await picture.toFormat(format).toBuffer();
    await decodeWithVips(bytes, OPTIONS);
  }
  const others = [
    await picture.toFormat("gif").toBuffer(),
    await picture.heif({ compression: "av1" }).toBuffer(),
    new TextEncoder().encode('<svg width="9" height="9"></svg>'),
    new TextEncoder().encode("P6 1 1 255\nabc"),
    new TextEncoder().encode("%PDF-1.4\n"),
  ];
  for (const bytes of others) {
    await assert.rejects(
      sharp(bytes).raw().toBuffer(),
      /unsupported image format/,
    );
  }
  const path = await Deno.makeTempFile({ suffix: ".csv" });
  await Deno.writeTextFile(path, "1,2\n3,4\n");
  await assert.rejects(sharp(path).raw().toBuffer(), /unsupported/);
  await Deno.remove(path);
  assert.equal((await findLibvips()).reason, undefined);
});
