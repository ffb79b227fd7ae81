import assert from "node:assert/strict";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import sharp from "sharp";
import {
  abandonRoom,
  DecodingRoom,
  roomCounters,
} from "../../lib/image/decoding_room.ts";
import { openImage } from "../../lib/image/open.ts";
import { withFolder } from "../data/folder.ts";

const MIB = 2 ** 20;

/** Two Workers' views of a room of 10 MiB. */
function twoOf() {
  const counters = roomCounters(2);
  const [one, two] = [0, 1].map((worker) =>
    new DecodingRoom({ counters, worker, bytes: 10 * MIB })
  );
  return { counters, one: one!, two: two! };
}

/** Notes when `promise` resolves. */
function noted<T>(promise: Promise<T>): { isDone: boolean } {
  const note = { isDone: false };
  promise.then(() => note.isDone = true);
  return note;
}

Deno.test("Workers share one room, and wait for each other's", async () => {
  const { counters, one, two } = twoOf();
  const first = await one.take(6 * MIB);
  const second = two.take(6 * MIB);
  const note = noted(second);
  const third = await one.take(4 * MIB); // fits beside the first
  assert.equal(counters[0], 10 * 1024);
  assert.equal(note.isDone, false);
  third.shrink(2 * MIB);
  assert.equal(counters[0], 8 * 1024);
  first[Symbol.dispose]();
  first[Symbol.dispose](); // counts once
  (await second)[Symbol.dispose]();
  third[Symbol.dispose]();
  assert.equal(counters[0], 0);
});

Deno.test("what exceeds the room waits until it is alone", async () => {
  const { counters, one, two } = twoOf();
  const small = await one.take(1);
  const large = two.take(100 * MIB);
  const note = noted(large);
  const impatient = new AbortController();
  const other = two.take(100 * MIB, impatient.signal);
  impatient.abort(new Error("gone"));
  small[Symbol.dispose]();
  const taken = await large;
  assert.equal(note.isDone, true);
  await assert.rejects(other, { message: "gone" });
  taken[Symbol.dispose]();
  assert.equal(counters[0], 0);
});

Deno.test("what a lost Worker held is given back", async () => {
  const { counters, one, two } = twoOf();
  await one.take(8 * MIB);
  const waiting = two.take(8 * MIB);
  abandonRoom(counters, 0);
  (await waiting)[Symbol.dispose]();
  assert.equal(counters[0], 0);
});

for (const format of ["png", "webp", "bmp", "tiff"] as const) {
  Deno.test(`a ${format} waits for room, and keeps it until it is closed`, async () => {
    await withFolder(async (folder) => {
      const path = join(folder, `picture.${format}`);
      await Deno.writeFile(path, await pictureOf(format));
      const { counters, one, two } = twoOf();
      const image = await openImage(path, { room: one });
      assert.equal(counters[0], 4 * 1024); // a mebipixel of RGBA
      const another = openImage(path, { room: two });
      const note = noted(another);
      await pause(20); // it would have been decoded
      assert.equal(note.isDone, false);
      image.close();
      (await another).close();
      assert.equal(counters[0], 0);
    });
  });
}

/** A picture of 1024 x 1024 px that is decoded whole. */
async function pictureOf(
  format: "png" | "webp" | "bmp" | "tiff",
): Promise<Uint8Array> {
  const side = 1024;
  if (format === "bmp") return bmpOf(side);
  const raw = sharp({
    create: { width: side, height: side, channels: 3, background: "red" },
  });
  if (format === "tiff") { // fax, which libvips decodes as a picture
    return await raw.threshold().toColourspace("b-w")
      .tiff({ compression: "ccittfax4", bitdepth: 1 }).toBuffer();
  }
  return await raw.toFormat(format).toBuffer();
}

/** A BMP of `side` x `side` px in black. */
function bmpOf(side: number): Uint8Array {
  const file = new Uint8Array(54 + side * side * 3);
  const view = new DataView(file.buffer);
  file.set([0x42, 0x4d]);
  view.setUint32(2, file.length, true);
  view.setUint32(10, 54, true);
  view.setUint32(14, 40, true);
  view.setInt32(18, side, true);
  view.setInt32(22, side, true);
  view.setUint16(26, 1, true);
  view.setUint16(28, 24, true);
  return file;
}
