/** The pages of a TIFF that are levels of its image, checked by their pixels. */
import assert from "node:assert/strict";
import { openImage } from "../../../lib/image/open.ts";
import type { Pyramid } from "../../../lib/image/pyramid.ts";
import type { Rgb } from "../../../lib/image/pyramids/rgb.ts";
import {
  makeTiff,
  numbers,
  type Page,
  plain,
  ramps,
  text,
} from "./handmade_tiff.ts";
import { sharedData } from "../../shared_data.ts";
import { TemporaryFolder } from "../pictures.ts";

const RED = [200, 30, 30];
const REDUCED = { 254: numbers(4, 1) };
const DOCUMENT = { 254: numbers(4, 2) };
const MASK = { 254: numbers(4, 4) };

const tiled = (picture: Rgb, tags: Page["tags"] = {}): Page => ({
  picture,
  tile: 32,
  tags,
});
const full = tiled(ramps(256, 192));
const half = ramps(128, 96), quarter = ramps(64, 48);

async function open(folder: TemporaryFolder, ...pages: Page[]) {
  return await openImage(folder.write("a.tif", makeTiff(...pages)));
}

function widths({ levels }: Pyramid): number[] {
  return levels.map(({ width }) => width);
}

/** Every level must show the ramps. */
async function assertRamps(image: Pyramid): Promise<void> {
  for (const [level, { width, height }] of image.levels.entries()) {
    const { data } = await image.read({ x: 0, y: 0, width, height }, level);
    const expected = ramps(width, height).data;
    for (let i = 0; i < width * height; i++) {
      for (let c = 0; c < 3; c++) {
        assert.equal(data[i * 4 + c], expected[i * 3 + c]);
      }
    }
  }
}

const CASES: [name: string, pages: Page[], widths: number[]][] = [
  ["marked as reduced", [full, tiled(half, REDUCED), tiled(quarter, REDUCED)], [
    256,
    128,
    64,
  ]],
  ["in any order", [full, tiled(quarter, REDUCED), tiled(half, REDUCED)], [
    256,
    128,
    64,
  ]],
  ["marked by the older tag", [full, tiled(half, { 255: numbers(3, 2) })], [
    256,
    128,
  ]],
  ["not marked, of the same picture", [full, tiled(half), tiled(quarter)], [
    256,
    128,
    64,
  ]],
  ["not marked, then marked", [full, tiled(half), tiled(quarter, REDUCED)], [
    256,
    128,
    64,
  ]],
  ["not marked, of another picture", [full, tiled(plain(128, 96, RED))], [256]],
  ["not marked, in strips", [full, { picture: half }], [256]],
  ["marked, in strips", [full, { picture: half, tags: REDUCED }], [256, 128]],
  ["marked, in strips, another picture", [
    full,
    { picture: plain(128, 96, RED), tags: REDUCED },
  ], [256]],
  ["strips with marked strips", [
    { picture: full.picture },
    { picture: half, tags: REDUCED },
  ], [256, 128]],
  ["a page of a document", [full, tiled(half, DOCUMENT)], [256]],
  ["a page of a document, by the older tag", [
    full,
    tiled(half, { 255: numbers(3, 3) }),
  ], [256]],
  ["a mask", [full, tiled(half, MASK), tiled(quarter, REDUCED)], [256, 64]],
  ["another image has levels too", [
    full,
    tiled(half, REDUCED),
    tiled(plain(512, 384, RED)),
    tiled(plain(64, 48, RED), REDUCED),
  ], [256, 128]],
  ["planes of a stack, then their levels", [
    full,
    full,
    tiled(half, REDUCED),
    tiled(half, REDUCED),
  ], [256, 128]],
  ["sub-images", [{
    ...full,
    subImages: [tiled(half, REDUCED), tiled(quarter, REDUCED)],
  }], [256, 128, 64]],
  ["sub-images that are not marked", [{
    ...full,
    subImages: [tiled(half), tiled(quarter)],
  }], [256, 128, 64]],
  ["a sub-image that is a mask, and pages", [
    { ...full, subImages: [tiled(half, MASK)] },
    tiled(half, REDUCED),
  ], [256, 128]],
  ["a damaged page between", [
    full,
    tiled(half, { 256: numbers(4, 0) }),
    tiled(quarter, REDUCED),
  ], [256, 64]],
  ["the first page reduced", [
    tiled(quarter, REDUCED),
    tiled(half, REDUCED),
    full,
  ], [256, 128, 64]],
  ["the first page reduced, without a word", [
    tiled(quarter),
    tiled(half),
    full,
  ], [256, 128, 64]],
  ["the first page a thumbnail in strips", [
    { picture: quarter, tags: REDUCED },
    full,
    tiled(half, REDUCED),
  ], [256, 128, 64]],
  ["the first page a thumbnail of another shape", [
    tiled(plain(50, 50, RED), REDUCED),
    full,
    tiled(half, REDUCED),
  ], [256, 128]],
  ["the image a sub-image of its thumbnail", [
    { ...tiled(quarter, REDUCED), subImages: [full] },
  ], [256, 64]],
  ["the first page a mask", [tiled(half, MASK), full], [256]],
];

for (const [name, pages, expected] of CASES) {
  Deno.test(`levels of a TIFF: ${name}`, async () => {
    using folder = new TemporaryFolder();
    const image = await open(folder, ...pages);
    assert.deepEqual(widths(image), expected);
    await assertRamps(image);
    image.close();
  });
}

Deno.test("a page that is not marked may differ as much as compression makes it", async () => {
  using folder = new TemporaryFolder();
  const darker = (by: number): Page => {
    const data = half.data.map((value) => Math.max(0, value - by));
    return tiled({ ...half, data });
  };
  for (const [by, expected] of [[5, [256, 128]], [12, [256]]] as const) {
    const image = await open(folder, full, darker(by));
    assert.deepEqual(widths(image), expected);
    image.close();
  }
});

Deno.test("levels of Aperio: its tiled pages, whatever they are marked as", async () => {
  using folder = new TemporaryFolder();
  const about = text("Aperio Image Library v11\n256x192|MPP = 0.5");
  const image = await open(
    folder,
    tiled(full.picture, { 270: about }),
    { picture: half, tags: { 270: about } },
    tiled(quarter, { 270: about }),
  );
  assert.deepEqual(widths(image), [256, 64]);
  assert.deepEqual(image.warnings, []);
  image.close();
});

Deno.test("a first page that is a reduced one is told of", async () => {
  using folder = new TemporaryFolder();
  const read = await open(folder, tiled(quarter, REDUCED), full);
  assert.deepEqual(read.warnings, [
    "its first page of 64 x 48 px is a reduced one: that of 256 x 192 px is read",
  ]);
  read.close();
  const alone = await open(folder, tiled(quarter, REDUCED));
  assert.match(alone.warnings[0]!, /^its first page is marked as a reduced/);
  alone.close();
  const other = await open(folder, tiled(plain(64, 48, RED)), full);
  assert.deepEqual(widths(other), [64]);
  assert.match(
    other.warnings[0]!,
    /^its first page of 64 x 48 px is read, though another has 256 x 192$/,
  );
  assert.match(other.warnings[1]!, /^first of 2 pages read$/);
  other.close();
});

Deno.test("a thumbnail is not shown in the place of an image that is not read", async () => {
  using folder = new TemporaryFolder();
  const thumbnail = tiled(quarter, { ...REDUCED, 259: numbers(3, 50000) });
  const odd = tiled(full.picture, { 259: numbers(3, 34925) });
  await assert.rejects(open(folder, thumbnail, odd), {
    name: "ImageError",
    message:
      /: its first page is a reduced one, and the image of 256 x 192 px is not read: compression LZMA is not supported$/,
  });
});

Deno.test("facts and orientation are those of the page that is read", async () => {
  using folder = new TemporaryFolder();
  const image = await open(
    folder,
    tiled(quarter, REDUCED),
    tiled(full.picture, {
      270: text("x|AppMag = 20|MPP = 0.25|"),
      274: numbers(3, 6),
    }),
  );
  assert.deepEqual([image.width, image.height], [192, 256]);
  assert.deepEqual([image.mpp, image.magnification], [0.25, 20]);
  image.close();
});

Deno.test("of many pages that say nothing, not all are looked at", async () => {
  using folder = new TemporaryFolder();
  const requests = async (count: number) => {
    const others = Array(count).fill(tiled(plain(128, 96, RED)));
    const image = await open(folder, full, tiled(quarter, REDUCED), ...others);
    assert.deepEqual(widths(image), [256, 64]);
    image.close();
    return image.traffic.requests;
  };
  const more = await requests(80) - await requests(40);
  assert.ok(more < 40 * 9, `${more}`); // a look has nine patches
});

for (
  const [name, expected] of [
    ["second_page_is_no_level.tif", [320]],
    ["levels_ascending.tif", [320, 160, 80]],
    ["xres_srational.tif", [320, 160]],
  ] as const
) {
  const path = sharedData("corners", name);
  Deno.test({
    name: `corners/${name}: its levels`,
    ignore: path === undefined,
    fn: async () => {
      const image = await openImage(path!);
      assert.deepEqual(widths(image), expected);
      image.close();
    },
  });
}
