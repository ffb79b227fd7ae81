import assert from "node:assert/strict";
import { decodeJpeg2000 } from "../../../../lib/image/tiff/decode/jpeg2000.ts";

/** A codestream up to the end of its sizes, without the rest. */
function header(
  { width, height, components }: Record<
    "width" | "height" | "components",
    number
  >,
): Uint8Array {
  const bytes = new Uint8Array(42 + 3 * components);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0xff4fff51);
  view.setUint16(4, 38 + 3 * components);
  for (const at of [8, 24]) { // of the image, and of one tile for all of it
    view.setUint32(at, width);
    view.setUint32(at + 4, height);
  }
  view.setUint16(40, components);
  for (let i = 0; i < components; i++) bytes.set([7, 1, 1], 42 + 3 * i);
  return bytes;
}

/** A JP2 file of boxes. */
function boxes(...contents: [type: string, bytes: Uint8Array][]): Uint8Array {
  return new Uint8Array(
    contents.flatMap(([type, bytes]) => {
      const head = new DataView(new ArrayBuffer(4));
      head.setUint32(0, 8 + bytes.length);
      const name = new TextEncoder().encode(type);
      return [...new Uint8Array(head.buffer), ...name, ...bytes];
    }),
  );
}

Deno.test("JPEG 2000 that would take too much is refused by its header", async () => {
  const size = { width: 256, height: 256 };
  const refused: [Uint8Array, RegExp][] = [
    [header({ ...size, width: 257, components: 3 }), /257 x 256 px .* large/],
    [header({ ...size, components: 5 }), /5 channels is not supported/],
    [header({ ...size, components: 3 }).subarray(0, 46), /no header/],
    [header({ ...size, components: 3 }), /is damaged/],
    [
      boxes(
        ["jP  ", Uint8Array.of(13, 10, 0x87, 10)],
        ["free", header({ ...size, components: 3 })], // a box that is not decoded
        ["jp2c", header({ ...size, width: 257, components: 3 })],
      ),
      /257 x 256 px .* large/,
    ],
  ];
  for (const [bytes, reason] of refused) {
    await assert.rejects(decodeJpeg2000(bytes, 256 * 256), reason);
  }
});
