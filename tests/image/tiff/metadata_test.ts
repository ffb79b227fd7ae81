/** Micrometres per px in TIFF files, in every notation. */
import assert from "node:assert/strict";
import { openImage } from "../../../lib/image/open.ts";
import type { Pyramid } from "../../../lib/image/pyramid.ts";
import { sharedData } from "../../shared_data.ts";
import {
  makeTiff,
  numbers,
  type Page,
  plain,
  ramps,
  rational,
  text,
  type Value,
} from "./handmade_tiff.ts";
import {
  asymmetricPicture,
  readAll,
  TemporaryFolder,
  toSharp,
} from "../pictures.ts";

const WIDTH = 64, HEIGHT = 48;
const RED = [200, 30, 30];

async function opened(...pages: Page[]): Promise<Pyramid> {
  using folder = new TemporaryFolder();
  const image = await openImage(folder.write("a.tif", makeTiff(...pages)));
  image.close();
  return image;
}

async function withTags(tags: Page["tags"] = {}): Promise<Pyramid> {
  return await opened({ picture: ramps(WIDTH, HEIGHT), tile: 16, tags });
}

async function described(description: string | Uint8Array): Promise<Pyramid> {
  return await withTags({ 270: text(description) });
}

function assertNear(actual: number | undefined, expected: number, of: string) {
  assert.ok(Math.abs(actual! / expected - 1) < 1e-9, `${of}: ${actual}`);
}

const OME = '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">';

function ome(pixels: string, inside = ""): string {
  return `<?xml version="1.0" encoding="UTF-8"?>${OME}<Image ID="Image:0"><Pixels ${pixels}>${inside}</Pixels></Image></OME>`;
}

for (
  const [unit, factor] of [
    ["µm", 1],
    ["μm", 1],
    ["&#181;m", 1],
    ["&#xB5;m", 1],
    ["&#xb5;m", 1],
    ["&#x3BC;m", 1],
    ["Âµm", 1],
    ["um", 1],
    ["micron", 1],
    ["micrometre", 1],
    ["nm", 1e-3],
    ["mm", 1e3],
    ["cm", 1e4],
    ["m", 1e6],
    ["pm", 1e-6],
    ["Å", 1e-4],
    ["&#x212B;", 1e-4],
    ["Angstrom", 1e-4],
    ["in", 25_400],
    ["inches", 25_400],
    ["thou", 25.4],
    ["pt", 25_400 / 72],
  ] as const
) {
  Deno.test(`OME: 0.5 um in ${unit}`, async () => {
    const size = `PhysicalSizeX="${0.5 / factor}"`;
    const xml = ome(`${size} PhysicalSizeXUnit="${unit}"`);
    const { mpp, warnings } = await described(xml);
    assertNear(mpp, 0.5, unit);
    assert.deepEqual(warnings, []);
  });
}

Deno.test("OME: um if the unit is omitted, and a unit in Latin", async () => {
  const plain = await described(ome('PhysicalSizeX="0.5"'));
  assert.equal(plain.mpp, 0.5);
  const latin = ome('PhysicalSizeX="0.5" PhysicalSizeXUnit="µm"');
  const bytes = Uint8Array.from(latin, (letter) => letter.charCodeAt(0));
  assert.equal((await described(bytes)).mpp, 0.5);
});

for (const unit of ["pixel", "reference frame", "furlong", "constructor"]) {
  Deno.test(`OME: ${unit} is no length`, async () => {
    const { mpp, warnings } = await described(
      ome(`PhysicalSizeX="0.5" PhysicalSizeXUnit="${unit}"`),
    );
    assert.equal(mpp, undefined);
    assert.deepEqual(warnings, [
      `OME-XML gives PhysicalSizeX in "${unit}", which is not a unit of length`,
    ]);
  });
}

const OTHER = 'PhysicalSizeX="12" PhysicalSizeXUnit="nm"';

Deno.test("OME: the image is that of the page, else of the size, else the first", async () => {
  const image = (pixels: string, inside = "") =>
    `<Image><Pixels ${pixels}>${inside}</Pixels></Image>`;
  const mine = 'PhysicalSizeX="0.5"';
  const size = `SizeX="${WIDTH}" SizeY="${HEIGHT}"`;
  for (
    const images of [
      image(mine) + image(OTHER),
      image(OTHER, '<TiffData IFD="1"/>') + image(mine, '<TiffData IFD="0"/>'),
      image(OTHER, '<TiffData IFD="3" PlaneCount="2"/>') +
      image(mine, "<TiffData/>"),
      image(`${OTHER} SizeX="9" SizeY="9"`) + image(`${mine} ${size}`),
      image(
        OTHER,
        '<TiffData IFD="0"><UUID FileName="b">urn:b</UUID></TiffData>',
      ) +
      image(
        mine,
        '<TiffData IFD="0"><UUID FileName="a">urn:a</UUID></TiffData>',
      ),
      `<Instrument><Detector ${OTHER}/></Instrument>` + image(mine),
      image(mine, `<Channel ${OTHER}/>`),
    ]
  ) {
    const xml = OME.replace(">", ' UUID="urn:a">') + images + "</OME>";
    assert.equal((await described(xml)).mpp, 0.5, images);
  }
  const none = await described(
    `${OME}${image(`${size}`)}${image(mine)}</OME>`,
  );
  assert.equal(none.mpp, undefined); // not that of another image
  const stale = await described(ome(`${mine} SizeX="9" SizeY="9"`));
  assert.equal(stale.mpp, 0.5);
  assert.match(stale.warnings[0]!, /^OME-XML describes no image of 64 x 48 px/);
});

Deno.test("OME: names with a prefix, and comments that look like elements", async () => {
  const xml =
    `<o:OME xmlns:o="http://o"><!-- <Pixels ${OTHER}/> --><o:Image><o:Pixels PhysicalSizeX="0.5"/></o:Image></o:OME>`;
  assert.equal((await described(xml)).mpp, 0.5);
});

Deno.test("OME: the objective is that of the image", async () => {
  const objectives =
    '<Instrument><Objective ID="O:0" NominalMagnification="2"/><Objective ID="O:1" NominalMagnification="40"/></Instrument>';
  const image = (inside: string) =>
    `${OME}${objectives}<Image>${inside}<Pixels/></Image></OME>`;
  const named = await described(image('<ObjectiveSettings ID="O:1"/>'));
  assert.equal(named.magnification, 40);
  assert.equal((await described(image(""))).magnification, undefined);
  const only =
    `${OME}<Instrument><Objective NominalMagnification="20"/></Instrument><Image><Pixels/></Image></OME>`;
  assert.equal((await described(only)).magnification, 20);
});

Deno.test("OME that is damaged or a bomb: a warning, and soon", async () => {
  const levels = Array.from(
    { length: 60 },
    (_, i) => `<!ENTITY a${i + 1} "${`&a${i};`.repeat(10)}">`,
  ).join("");
  const bomb = `<!DOCTYPE OME [<!ENTITY a0 "x">${levels}]>${OME}&a60;</OME>`;
  for (
    const xml of [
      ome('PhysicalSizeX="0.5"').slice(0, -4),
      ome('PhysicalSizeX="0.5" & '),
      ome('PhysicalSizeX="0.5" PhysicalSizeX="0.25"'),
      bomb,
      OME + "<a>".repeat(100_000),
      `${OME}<Pixels ${OTHER}/>`,
      ome('PhysicalSizeX="0.5"', `<!--${" ".repeat(2 ** 22)}-->`),
    ]
  ) {
    const { mpp, warnings } = await described(xml);
    assert.equal(mpp, undefined);
    assert.equal(warnings.length, 1);
    assert.match(
      warnings[0]!,
      /^its OME-XML is ignored: [^\n]+$/,
    );
  }
});

Deno.test("a pixel that is no square is told of", async () => {
  const { mpp, warnings } = await described(
    ome('PhysicalSizeX="0.5" PhysicalSizeY="250" PhysicalSizeYUnit="nm"'),
  );
  assert.equal(mpp, 0.5);
  assert.deepEqual(warnings, [
    "its pixels are 0.5 x 0.25 um: taken for squares of 0.5",
  ]);
  const tags = await withTags({
    282: rational(20_000, 1),
    283: rational(10_000, 1),
    296: numbers(3, 3),
  });
  assert.equal(tags.mpp, 0.5);
  assert.match(tags.warnings[0]!, /^its pixels are 0\.5 x 1 um/);
});

const IMAGEJ = "ImageJ=1.53t\nimages=1\nunit=";

for (
  const [name, tags, expected] of [
    ["px per cm", { 282: rational(20_000, 1), 296: numbers(3, 3) }, 0.5],
    ["px per inch", { 282: rational(50_800, 1), 296: numbers(3, 2) }, 0.5],
    ["px per inch if omitted", { 282: rational(50_800, 1) }, 0.5],
    ["px per mm", { 282: rational(2000, 1), 296: numbers(3, 4) }, 0.5],
    ["no unit", { 282: rational(2, 1), 296: numbers(3, 1) }, undefined],
    ["a signed rational", {
      282: rational(20_000, 1, 10),
      296: numbers(3, 3),
    }, 0.5],
    ["a float", { 282: numbers(11, 20_000), 296: numbers(3, 3) }, 0.5],
    ["a double", { 282: numbers(12, 20_000), 296: numbers(3, 3) }, 0.5],
    ["a long", { 282: numbers(4, 20_000), 296: numbers(8, 3) }, 0.5],
    ["nothing", { 282: rational(0, 0), 296: numbers(3, 3) }, undefined],
    [
      "negative",
      { 282: rational(-20_000, 1, 10), 296: numbers(3, 3) },
      undefined,
    ],
    ["ImageJ in microns", {
      270: text(`${IMAGEJ}micron\n`),
      282: rational(2, 1),
      296: numbers(3, 1),
    }, 0.5],
    ["ImageJ in um", {
      270: text(`${IMAGEJ}\\u00B5m\n`),
      282: rational(2, 1),
      296: numbers(3, 1),
    }, 0.5],
    ["ImageJ in pixels", {
      270: text(`${IMAGEJ}pixel\n`),
      282: rational(2, 1),
      296: numbers(3, 1),
    }, undefined],
    ["Aperio", { 270: text("Aperio\n|AppMag = 20|MPP = 0.5|") }, 0.5],
    ["Aperio with a comma", { 270: text("Aperio\n|MPP = 0,5000") }, 0.5],
  ] as [string, Page["tags"], number | undefined][]
) {
  Deno.test(`resolution: ${name}`, async () => {
    const { mpp, warnings } = await withTags(tags);
    if (expected === undefined) assert.equal(mpp, undefined);
    else assertNear(mpp, expected, name);
    assert.deepEqual(warnings, []);
  });
}

for (
  const [name, tags, warning] of [
    ["OME", { 270: text(ome('PhysicalSizeX="500"')) }, /^ignored: 500 um/],
    ["Aperio", { 270: text("Aperio|MPP = 0.001") }, /^ignored: 0\.001 um/],
    [
      "72 dpi",
      {
        282: rational(72, 1),
        296: numbers(3, 2),
      },
      /^ignored: 352\.8 um per px of its resolution tags, typical of screens and printers$/,
    ],
    ["300 dpi", { 282: rational(300, 1) }, /84\.67 um .*screens and printers$/],
    ["tiny", {
      282: rational(2 ** 30, 1),
      296: numbers(3, 3),
    }, /resolution tags, which is not from 0\.01 to 100 um per px$/],
  ] as [string, Page["tags"], RegExp][]
) {
  Deno.test(`um per px that are no microscope's are ignored: ${name}`, async () => {
    const { mpp, warnings } = await withTags(tags);
    assert.equal(mpp, undefined);
    assert.equal(warnings.length, 1);
    assert.match(warnings[0]!, warning);
  });
}

Deno.test("an integer of any type is the number that it is", async () => {
  for (const type of [1, 3, 4, 6, 8, 9, 13]) {
    const image = await opened({
      picture: ramps(WIDTH, HEIGHT),
      tile: 16,
      tags: {
        256: numbers(type, WIDTH),
        257: numbers(type, HEIGHT),
        274: numbers(type, 6),
        277: numbers(type, 3),
        322: numbers(type, 16),
      },
    }, {
      picture: ramps(WIDTH / 2, HEIGHT / 2),
      tile: 16,
      tags: { 254: numbers(type, 1) },
    });
    assert.deepEqual([image.width, image.height], [HEIGHT, WIDTH]);
    assert.equal(image.levels.length, 2);
    assert.deepEqual(image.warnings, ["EXIF orientation 6 applied"]);
  }
});

Deno.test("tags that a page needs must be whole numbers from 0", async () => {
  for (
    const [tags, reason] of [
      [{ 256: numbers(11, WIDTH) }, /tag 256 has values of type 11$/],
      [{ 257: numbers(9, -HEIGHT) }, /tag 257 is -48$/],
      [{ 324: numbers(9, ...Array(12).fill(-5)) }, /tag 324 is -5/],
    ] as [Page["tags"], RegExp][]
  ) {
    await assert.rejects(async () => {
      using folder = new TemporaryFolder();
      const picture = ramps(WIDTH, HEIGHT);
      const file = makeTiff({ picture, tile: 16, tags: tags! });
      const image = await openImage(folder.write("a.tif", file));
      await image.read({ x: 0, y: 0, width: 1, height: 1 }, 0);
    }, { name: "ImageError", message: reason });
  }
});

const BEYOND = 2 ** 30;
const beyond = (value: Value): Value => ({ ...value, at: BEYOND });

for (
  const [name, tag, value] of [
    ["description", 270, text("Aperio|MPP = 0.5")],
    ["software", 305, text("software")],
    ["iccProfile", 34675, numbers(1, 1, 2, 3, 4, 5, 6)],
    ["xmp", 700, text("<x:xmpmeta/>")],
    ["xResolution", 282, rational(1, 1)],
    ["subDirectories", 330, numbers(4, 8, 8)],
    ["modelPixelScale", 33550, numbers(12, 1, 1, 0)],
    ["geoKeys", 34735, numbers(3, 1, 1, 0, 0)],
  ] as [string, number, Value][]
) {
  Deno.test(`${name} beyond the end of the file is ignored`, async () => {
    const { warnings } = await withTags({ [tag]: beyond(value) });
    assert.deepEqual(warnings, [
      `${name} (tag ${tag}) lies beyond the end of the file: ignored`,
    ]);
  });
}

Deno.test("values of no known type, and empty ones, are ignored", async () => {
  const odd = await withTags({ 270: { ...text("what"), type: 99 } });
  assert.deepEqual(odd.warnings, [
    "description (tag 270) has values of type 99: ignored",
  ]);
  const empty: Value = { type: 3, count: 0, bytes: new Uint8Array(0) };
  const tags = [254, 270, 274, 282, 330, 338, 317];
  const none = await withTags(
    Object.fromEntries(tags.map((tag) => [tag, empty])),
  );
  assert.deepEqual(none.warnings, []);
});

Deno.test("a tag that a page needs, beyond the end, is an error", async () => {
  for (const tag of [258, 324, 325]) {
    const value = beyond(numbers(4, 8, 8, 8));
    await assert.rejects(withTags({ [tag]: { ...value, count: 12 } }), {
      name: "ImageError",
      message: /it is damaged or truncated \(it ends too early\)$/,
    });
  }
});

for (
  const [name, next, warning] of [
    [
      "beyond the end",
      2 ** 30,
      /^pages after the first 1 skipped: .*truncated/,
    ],
    [
      "in the pixels",
      9,
      /^pages after the first 1 skipped: .* has 7710 entries$/,
    ],
    ["at the last byte", -1, /^pages after the first 1 skipped: /],
    ["at itself", 0, /^its list of pages is a loop$/],
  ] as [string, number, RegExp][]
) {
  Deno.test(`a next page ${name} ends the pages with a warning`, async () => {
    using folder = new TemporaryFolder();
    const page = { picture: plain(64, 48, RED), tile: 16 };
    const file = makeTiff(page);
    const own = new DataView(file.buffer, file.byteOffset).getUint32(4, true);
    const bytes = makeTiff({
      ...page,
      next: next === 0 ? own : next < 0 ? file.length - 1 : next,
    });
    const image = await openImage(folder.write("a.tif", bytes));
    assert.equal(image.levels.length, 1);
    assert.equal(image.warnings.length, 1);
    assert.match(image.warnings[0]!, warning);
    image.close();
  });
}

Deno.test("a file that ends within the place of its next page is read", async () => {
  using folder = new TemporaryFolder();
  const bytes = makeTiff({ picture: plain(64, 48, RED), tile: 16 });
  const image = await openImage(folder.write("a.tif", bytes.subarray(0, -3)));
  assert.deepEqual(image.warnings, []);
  image.close();
});

for (
  const [name, mpp] of [
    ["ome_unit_of_second_image.tif", 0.5],
    ["ome_hex_micro.tif", 0.5],
    ["xres_srational.tif", 0.5],
    ["description_beyond_end.tif", undefined],
    ["next_directory_garbage.tif", undefined],
  ] as const
) {
  const path = sharedData("corners", name);
  Deno.test({
    name: `corners/${name}: its metadata`,
    ignore: path === undefined,
    fn: async () => {
      const image = await openImage(path!);
      assert.equal(image.mpp, mpp);
      image.close();
    },
  });
}

for (const tile of [undefined, 16]) {
  Deno.test(`a palette in ${tile ? "tiles" : "strips"} says that it is one`, async () => {
    using folder = new TemporaryFolder();
    const picture = ramps(WIDTH, HEIGHT);
    const map = Array.from({ length: 3 * 256 }, (_, i) => i * 53 % 251 * 257);
    const file = makeTiff({
      picture, // each of its samples is an index
      ...tile && { tile },
      tags: {
        256: numbers(3, 3 * WIDTH),
        258: numbers(3, 8),
        262: numbers(3, 3),
        277: numbers(3, 1),
        320: numbers(3, ...map),
        ...tile && { 322: numbers(3, 3 * tile) },
      },
    });
    const image = await openImage(folder.write("a.tif", file));
    assert.deepEqual(image.warnings, ["palette expanded to RGB"]);
    const { data } = await readAll(image);
    for (const [i, index] of picture.data.entries()) {
      for (let c = 0; c < 3; c++) {
        assert.equal(data[i * 4 + c], map[c * 256 + index]! >> 8);
      }
    }
    image.close();
  });
}

Deno.test("pages decoded by libvips keep the metadata of their TIFF", async () => {
  using folder = new TemporaryFolder();
  const bytes = await toSharp(asymmetricPicture(40, 30)).removeAlpha()
    .toColourspace("cmyk").tiff({ compression: "none", xres: 2000, yres: 2000 })
    .toBuffer();
  const image = await openImage(folder.write("a.tif", bytes));
  assert.equal(image.mpp, 0.5);
  assert.ok(image.warnings.includes("CMYK converted to sRGB"));
  image.close();
});
