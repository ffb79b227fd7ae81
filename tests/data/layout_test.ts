/**
 * Users' own tables: other names of columns, a table of patients, workbooks.
 */
import assert from "node:assert/strict";
import { basename, join } from "node:path";
import {
  type Manifest,
  readManifest,
  type TableLayout,
} from "../../lib/data/manifest.ts";
import { withFolder, writeImages } from "./folder.ts";
import { workbook } from "./workbook.ts";

const SLIDES = ["s1.svs", "s2.svs", "s3.tif", "s4.1.png"];

/** Reads the file `data` of `files`; images are in the folder `images`. */
async function read(
  files: Record<string, string | Uint8Array>,
  data: string,
  layout: TableLayout = {},
): Promise<Manifest> {
  return await withFolder(async (folder) => {
    await Deno.mkdir(join(folder, "images"));
    await writeImages(join(folder, "images"), SLIDES);
    for (const [name, content] of Object.entries(files)) {
      const bytes = typeof content === "string"
        ? new TextEncoder().encode(content)
        : content;
      await Deno.writeFile(join(folder, name), bytes);
    }
    const { clini, images } = layout;
    return await readManifest(join(folder, data), {
      layout: {
        ...layout,
        ...(clini !== undefined && { clini: join(folder, clini) }),
        ...(images !== undefined && { images: join(folder, images) }),
      },
    });
  });
}

/** File, label and patient of each image. */
function rowsOf({ entries }: Manifest): (string | undefined)[][] {
  return entries.map((
    { path, label, group },
  ) => [basename(path), label, group]);
}

// As STAMP describes its tables: features of slides, which have their names.
const SLIDE_TABLE =
  "PATIENT,FILENAME\nP1,s1.h5\nP1,s2.h5\nP2,s3.h5\nP3,s4.1.h5\n";
const CLINI: [string, string | null, number][] = [
  ["P1", "MSIH", 61],
  ["P2", "nonMSIH", 70],
  ["P3", null, 55],
  ["P9", "MSIH", 48],
];
const STAMP: TableLayout = {
  clini: "clini.xlsx",
  images: "images",
  columns: { label: "isMSIH" },
};
const JOINED = [
  ["s1.svs", "MSIH", "P1"],
  ["s2.svs", "MSIH", "P1"],
  ["s3.tif", "nonMSIH", "P2"],
];

Deno.test("readManifest joins STAMP's slide table and clini table", async () => {
  const clini = workbook([["PATIENT", "isMSIH", "AGE"], ...CLINI]);
  const manifest = await read(
    { "slide.csv": SLIDE_TABLE, "clini.xlsx": clini },
    "slide.csv",
    STAMP,
  );
  assert.deepEqual(rowsOf(manifest), JOINED);
  assert.deepEqual(manifest.notes, [
    "left out: 1 image of patients who have no label in clini.xlsx (P3)",
    "1 patient of clini.xlsx without an image",
  ]);
});

Deno.test("readManifest reads the same tables as CSV, TSV and XLSX", async () => {
  const csv = ["PATIENT,isMSIH,AGE", ...CLINI.map((row) => row.join(","))]
    .join("\n");
  const slides = SLIDE_TABLE.trim().split("\n").map((line) => line.split(","));
  for (
    const [name, content] of [
      ["slide.csv", SLIDE_TABLE],
      ["slide.tsv", SLIDE_TABLE.replaceAll(",", "\t")],
      ["slide.XLSX", workbook(slides)],
    ] as const
  ) {
    for (
      const [clini, patients] of [
        ["clini.csv", csv],
        ["clini.tsv", csv.replaceAll(",", "\t")],
      ] as const
    ) {
      const manifest = await read(
        { [name]: content, [clini]: patients },
        name,
        { ...STAMP, clini },
      );
      assert.deepEqual(rowsOf(manifest), JOINED, `${name} ${clini}`);
    }
  }
});

Deno.test("readManifest leaves out images of unknown patients, unless all are", async () => {
  const files = { "slide.csv": SLIDE_TABLE, "clini.csv": "PATIENT,y\nP2,a\n" };
  const layout = { ...STAMP, clini: "clini.csv", columns: { label: "y" } };
  const { notes } = await read(files, "slide.csv", layout);
  assert.deepEqual(notes, [
    "left out: 3 images of patients who are not in clini.csv (P1, P3)",
  ]);
  await assert.rejects(
    read({ ...files, "clini.csv": "PATIENT,y\n2,a\n" }, "slide.csv", layout),
    /slide\.csv:1: no image has a patient with a label in \S*clini\.csv/,
  );
});

Deno.test("readManifest names a patient who is twice in the clini table", async () => {
  await assert.rejects(
    read(
      { "slide.csv": SLIDE_TABLE, "clini.csv": "PATIENT,y\nP1,a\nP1,b\n" },
      "slide.csv",
      { ...STAMP, clini: "clini.csv", columns: { label: "y" } },
    ),
    /clini\.csv:3: patient "P1" is on line 2 too/,
  );
});

Deno.test("readManifest takes the split of the patients", async () => {
  const { entries } = await read(
    {
      "slide.csv": SLIDE_TABLE,
      "clini.csv": "PATIENT,label,split\nP1,a,train\nP2,b,test\nP3,b,train\n",
    },
    "slide.csv",
    { clini: "clini.csv", images: "images" },
  );
  assert.deepEqual(entries.map(({ split }) => split), [
    "train",
    "train",
    "test",
    "train",
  ]);
});

Deno.test("readManifest finds the columns that the user names", async () => {
  const columns = { image: "slide", label: "grade", group: "case" };
  const text = "slide,image,grade,label,case\nimages/s1.svs,none,G2,x,c1\n";
  const manifest = await read({ "m.csv": text }, "m.csv", { columns });
  assert.deepEqual(rowsOf(manifest), [["s1.svs", "G2", "c1"]]);
  await assert.rejects(
    read({ "m.csv": text }, "m.csv", { columns: { label: "Grade" } }),
    /m\.csv:1: missing column "Grade": name it in the header, or give --label-column NAME/,
  );
});

Deno.test("readManifest misses optional columns that the user names", async () => {
  const text = "image,label,case,clinic\nimages/s1.svs,x,c1,Bonn\n";
  const { entries: [entry] } = await read({ "m.csv": text }, "m.csv", {
    columns: { group: "case", site: "clinic" },
  });
  assert.deepEqual([entry!.group, entry!.site], ["c1", "Bonn"]);
  await assert.rejects(
    read({ "m.csv": text }, "m.csv", {
      columns: { group: "cases", site: "Clinic" },
    }),
    {
      message:
        /m\.csv:1: missing column "cases": .* --group-column NAME\n.*m\.csv:1: missing column "Clinic": .* --site-column NAME$/,
    },
  );
});

Deno.test("readManifest takes the sites of the patients", async () => {
  const { entries } = await read(
    {
      "slides.csv": SLIDE_TABLE,
      "clini.csv": "PATIENT,label,site\nP1,x,Bonn\nP2,y,Ulm\n",
    },
    "slides.csv",
    { clini: "clini.csv", images: "images" },
  );
  assert.deepEqual(entries.map(({ site }) => site), ["Bonn", "Bonn", "Ulm"]);
});

Deno.test("readManifest asks for the extension if a name means two images", async () => {
  await assert.rejects(
    withFolder(async (folder) => {
      await writeImages(folder, ["a.png", "a.tif"]);
      const path = join(folder, "m.csv");
      await Deno.writeTextFile(path, "image,label\na,x\nb,x\n");
      await readManifest(path, { layout: {} });
    }),
    /m\.csv:2: image "a" may be a\.png, a\.tif: write its extension\n\S*m\.csv:3: image "b" is not a file/,
  );
});

Deno.test("readManifest reads numbers, words and blanks of a workbook as CSV has them", async () => {
  const rows = [
    ["image", "label", "mpp", "fold", null],
    ["images/s1.svs", 1, 0.25, 3],
    [],
    ["images/s2.svs", true, null, 4.0, null, null],
  ];
  const { entries } = await read({ "m.xlsx": workbook(rows) }, "m.xlsx");
  assert.deepEqual(
    entries.map(({ label, mpp, fold, line }) => [label, mpp, fold, line]),
    [["1", 0.25, 3, 2], ["TRUE", undefined, 4, 4]],
  );
});

Deno.test("readManifest reads workbooks of a user only, and names a damaged one", async () => {
  await assert.rejects(
    read({ "m.xlsx": "no workbook" }, "m.xlsx"),
    /Cannot read "\S*m\.xlsx" as a workbook: it is damaged, or of another format/,
  );
  await withFolder(async (folder) => {
    const path = join(folder, "m.xlsx");
    await Deno.writeFile(path, workbook([["image", "label"]]));
    await assert.rejects(readManifest(path), /it is not UTF-8/);
  });
});
