import assert from "node:assert/strict";
import { join } from "node:path";
import { crc32, deflateSync } from "node:zlib";
import { randomKey, RandomStream } from "../../../kernels/random.ts";
import { ImageError } from "../../../lib/errors.ts";
import { openImage } from "../../../lib/image/open.ts";
import { isPng, pngFault } from "../../../lib/image/formats/png_chunks.ts";
import { withFolder } from "../../data/folder.ts";
import { sharedData } from "../../shared_data.ts";
import { asymmetricPicture, readAll, toSharp } from "../pictures.ts";

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

/** A chunk whose checksum holds. */
function chunk(type: string, data: ArrayLike<number> = []): number[] {
  const bytes = new Uint8Array(12 + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  bytes.set(new TextEncoder().encode(type), 4);
  bytes.set(data, 8);
  view.setUint32(8 + data.length, crc32(bytes.subarray(4, -4)));
  return [...bytes];
}

/** The header of 2 x 2 px, the last five bytes as given. */
function header(how: number[] = [8, 0, 0, 0, 0], width = 2): number[] {
  return chunk("IHDR", [0, 0, 0, width, 0, 0, 0, 2, ...how]);
}

function png(...chunks: number[][]): Uint8Array {
  return Uint8Array.from([...SIGNATURE, ...chunks.flat()]);
}

const PIXELS = chunk("IDAT", deflateSync(Uint8Array.of(0, 1, 2, 0, 3, 4)));
const END = chunk("IEND");
const GOOD = png(header(), PIXELS, END);

/** GOOD with a byte changed. */
function flipped(at: number): Uint8Array {
  const bytes = GOOD.slice();
  bytes[at]! ^= 0x55;
  return bytes;
}

const IDAT_AT = 8 + 25;

const FAULTS: [string, Uint8Array, RegExp][] = [
  [
    "cut in a chunk",
    GOOD.slice(0, IDAT_AT + 15),
    /ends at byte 48, before its IDAT chunk does \(byte \d+\)/,
  ],
  [
    "cut between chunks",
    GOOD.slice(0, IDAT_AT),
    /truncated: it ends at byte 33, without an IEND chunk/,
  ],
  [
    "a byte of the pixels",
    flipped(IDAT_AT + 12),
    /checksum of its IDAT chunk at byte 33 does not match/,
  ],
  [
    "a byte of the header",
    flipped(20),
    /checksum of its IHDR chunk at byte 8 does not match/,
  ],
  [
    "bytes that are no chunk",
    png(header(), [0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]),
    /no chunk at byte 33/,
  ],
  [
    "a chunk of no PNG",
    png(header(), chunk("JDAT"), END),
    /unknown critical chunk JDAT at byte 33/,
  ],
  ["no header", png(PIXELS, END), /does not begin with an IHDR chunk/],
  ["no width", png(header(undefined, 0), PIXELS, END), /header says 0 x 2 px/],
  [
    "samples of 3 bits",
    png(header([3, 0, 0, 0, 0]), PIXELS, END),
    /3 bits a sample and colours of type 0/,
  ],
  [
    "colours of type 5",
    png(header([8, 5, 0, 0, 0]), PIXELS, END),
    /8 bits a sample and colours of type 5/,
  ],
  [
    "another compression",
    png(header([8, 0, 1, 0, 0]), PIXELS, END),
    /compression 1, filter 0 and interlace 0/,
  ],
  ["no pixels", png(header(), END), /no IDAT chunk/],
  [
    "a palette that is not there",
    png(header([8, 3, 0, 0, 0]), PIXELS, END),
    /\(PLTE\) is missing/,
  ],
  [
    "half a colour",
    png(header([8, 3, 0, 0, 0]), chunk("PLTE", [1, 2]), PIXELS, END),
    /\(PLTE\) is invalid/,
  ],
  [
    "pixels that are no zlib",
    png(header(), chunk("IDAT", [9, 9, 9, 9]), END),
    /cannot be decompressed \(/,
  ],
  [
    "pixels that end early",
    png(header(), chunk("IDAT", deflateSync(Uint8Array.of(0, 1))), END),
    /its pixels are 2 of 6 bytes/,
  ],
  [
    "a filter of no PNG",
    png(
      header(),
      chunk("IDAT", deflateSync(Uint8Array.of(9, 1, 2, 0, 3, 4))),
      END,
    ),
    /has filter 9/,
  ],
];

for (const [name, bytes, reason] of FAULTS) {
  Deno.test(`a PNG with ${name} is told so`, async () => {
    assert.match(pngFault(bytes)!, reason);
    await withFolder(async (folder) => {
      const path = join(folder, "a.png");
      await Deno.writeFile(path, bytes);
      await assert.rejects(openImage(path), (error: Error) => {
        assert.ok(error instanceof ImageError);
        assert.match(error.message, reason);
        return true;
      });
    });
  });
}

Deno.test("nothing is found wrong with good PNGs, interlaced or not", async () => {
  assert.equal(pngFault(GOOD), undefined);
  for (const [width, height] of [[5, 3], [1, 1], [2, 9], [16, 16]]) {
    for (const progressive of [false, true]) {
      const picture = toSharp(asymmetricPicture(width, height));
      for (const palette of [false, true]) {
        const bytes = await picture.png({ progressive, palette }).toBuffer();
        assert.equal(pngFault(bytes), undefined);
      }
    }
  }
});

const WORDLESS = /no word|Unknown error|libpng read error|undefined/;

/** Opens bytes; an error must be an ImageError with a reason. */
async function check(path: string, what: string): Promise<void> {
  try {
    const image = await openImage(path);
    await readAll(image);
    image.close();
  } catch (error) {
    if (!(error instanceof ImageError)) throw error;
    assert.doesNotMatch(error.message, WORDLESS, what);
  }
}

Deno.test("whatever is damaged in a PNG, the error has a word for it", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "a.png");
    const random = new RandomStream(randomKey(7));
    const picture = toSharp(asymmetricPicture(40, 30));
    const files = [
      await picture.png().toBuffer(),
      await picture.png({ palette: true }).toBuffer(),
      await picture.png({ progressive: true }).toBuffer(),
      await picture.removeAlpha().png({ compressionLevel: 0 }).toBuffer(),
    ];
    for (let i = 0; i < 400; i++) {
      const bytes = new Uint8Array(files[i % files.length]!);
      const at = 8 + random.below(bytes.length - 8);
      if (i % 3 === 0) bytes[at]! ^= 1 + random.below(255);
      const end = i % 3 === 1 ? at : bytes.length;
      const gap = i % 3 === 2 ? random.below(50) : 0;
      await Deno.writeFile(
        path,
        Uint8Array.from([
          ...bytes.subarray(0, Math.min(at, end)),
          ...bytes.subarray(at + gap, end),
        ]),
      );
      await check(path, `${i}`);
    }
  });
});

const hostile = sharedData("hostile");

Deno.test({
  name: "every damaged PNG of the public corpora has a word for it",
  ignore: hostile === undefined,
  fn: async () => {
    let count = 0;
    for (const folder of ["go-fuzz-png", "pngsuite", "png-bugfixes"]) {
      for (const { name } of Deno.readDirSync(join(hostile!, folder))) {
        const path = join(hostile!, folder, name);
        if (!isPng(await Deno.readFile(path))) continue;
        await check(path, name);
        count++;
      }
    }
    assert.ok(count > 100, `${count}`);
  },
});

Deno.test("a JPEG of a process that is not decoded is not called damaged", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "odd.jpg");
    const jpeg = await toSharp(asymmetricPicture(16, 16)).removeAlpha().jpeg()
      .toBuffer();
    const frame = jpeg.findIndex((byte, i) =>
      byte === 0xff && jpeg[i + 1] === 0xc0
    );
    jpeg[frame + 1] = 0xc5; // differential
    await Deno.writeFile(path, jpeg);
    await assert.rejects(openImage(path), /this variant is not supported \(/);
  });
});
