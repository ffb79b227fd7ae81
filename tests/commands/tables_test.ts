/**
 * Tables and exports of other programs, as they are.
 */
import assert from "node:assert/strict";
import { basename, join } from "node:path";
import { readManifest } from "../../lib/data/manifest.ts";
import { workbook } from "../data/workbook.ts";
import {
  assertFails,
  drawSet,
  folderOfFile,
  remarks,
  SMALL,
  succeed,
  zoomin,
} from "./process.ts";

const folder = folderOfFile(async (folder) => {
  await drawSet(folder);
  await writeStampTables(folder);
  await writeQuPathExport(folder);
});

async function drawn(folder: string) {
  return (await readManifest(join(folder, "set/manifest.csv"))).entries;
}

const ONE_EPOCH = [...SMALL, "--epochs", "1"];

/** Two slides a patient: a table of slides, and a clinical one as a workbook. */
async function writeStampTables(folder: string): Promise<void> {
  const entries = await drawn(folder);
  const byLabel = entries.toSorted((a, b) => a.classIndex - b.classIndex);
  const patient = (i: number) => `P${Math.floor(i / 2)}`;
  const slides = byLabel.map(({ path }, i) =>
    `${patient(i)},${basename(path).replace(/\.\w+$/, ".h5")}`
  );
  await Deno.writeTextFile(
    join(folder, "slide.csv"),
    ["PATIENT,FILENAME", ...slides].join("\n"),
  );
  const labels = new Map(
    byLabel.map(({ classIndex }, i) => [patient(i), classIndex]),
  );
  await Deno.writeFile(
    join(folder, "clini.xlsx"),
    workbook([
      ["PATIENT", "AGE", "isMSIH", "GENDER"],
      ...[...labels].map(([name, label], i) => [
        name,
        40 + i,
        label === 1 ? "MSIH" : "nonMSIH",
        "f",
      ]),
    ]),
  );
}

/** A list of images with their metadata, and the objects of each as GeoJSON. */
async function writeQuPathExport(folder: string): Promise<void> {
  const entries = await drawn(folder);
  const rows = entries.map(({ path, classIndex }, i) =>
    `${basename(path)}\t${classIndex === 1 ? "tumour" : "benign"}\tcase ${i}`
  );
  await Deno.writeTextFile(
    join(folder, "project.tsv"),
    ["Image name\tDiagnosis\tCase", ...rows].join("\n"),
  );
  const regions = await Deno.readTextFile(join(folder, "set/regions.csv"));
  const boxes = Map.groupBy(
    regions.trim().split("\n").slice(1).map((line) => line.split(",")),
    ([image]) => basename(image!),
  );
  await Deno.mkdir(join(folder, "annotations"));
  for (const [image, rows] of boxes) {
    const features = rows.map(([, left, top, right, bottom, type]) => ({
      type: "Feature",
      geometry: {
        type: "Polygon",
        coordinates: [[
          [left, top],
          [right, top],
          [right, bottom],
          [left, bottom],
          [left, top],
        ].map((point) => point.map(Number))],
      },
      properties: {
        objectType: "annotation",
        ...(type && { classification: { name: type } }),
      },
    }));
    await Deno.writeTextFile(
      join(folder, "annotations", `${image.replace(/\.\w+$/, "")}.geojson`),
      JSON.stringify({ type: "FeatureCollection", features }),
    );
  }
}

/** The folder of the drawn images. */
async function imageFolder(): Promise<string> {
  const [entry] = await drawn(folder);
  return entry!.path.slice(0, -basename(entry!.path).length - 1);
}

Deno.test("train and eval take STAMP's two tables as they are", async () => {
  const tables = [
    ...["--data", "slide.csv", "--clini", "clini.xlsx"],
    ...["--label-column", "isMSIH", "--images", await imageFolder()],
  ];
  const run = await succeed(
    folder,
    ...["train", ...tables, "--out", "stamp", ...ONE_EPOCH],
    ...["--set", "referenceClass=nonMSIH"],
  );
  assert.match(run.stderr, /images to train on \(MSIH \d+, nonMSIH \d+\)/);
  const { classes, entries } = await readManifest(
    join(folder, "stamp/splits.csv"),
  );
  assert.deepEqual(classes, ["MSIH", "nonMSIH"]);
  assert.equal(entries.length, 20);
  const sides = Map.groupBy(entries, ({ group }) => group);
  assert.equal(sides.size, 10);
  for (const images of sides.values()) {
    assert.equal(new Set(images.map(({ split }) => split)).size, 1);
  }
  await succeed(
    folder,
    ...["eval", "--checkpoint", "stamp", ...tables, "--backend", "wasm"],
  );
});

Deno.test("train --folds takes STAMP's tables in its workers", async () => {
  await succeed(
    folder,
    ...["train", "--data", "slide.csv", "--clini", "clini.xlsx"],
    ...["--label-column", "isMSIH", "--images", await imageFolder()],
    ...["--folds", "2", "--fold", "1", "--protocol", "held-out"],
    ...["--out", "folds", ...ONE_EPOCH, "--set", "training.validation=0"],
    ...["--set", "referenceClass=nonMSIH"],
  );
});

Deno.test("train --folds --sites keeps each site in one fold, or in all", async () => {
  const entries = (await drawn(folder)).filter(({ split }) =>
    split === "train"
  );
  const rows = entries.toSorted((a, b) => a.classIndex - b.classIndex)
    .map(({ path, label }, i) => `${basename(path)},${label},clinic ${i % 4}`);
  const table = join(await imageFolder(), "sites.csv");
  await Deno.writeTextFile(table, ["image,label,clinic", ...rows].join("\n"));
  const train = [
    ...["train", "--data", table, "--site-column", "clinic"],
    ...["--fold", "1", "--protocol", "held-out", ...ONE_EPOCH],
    ...["--set", "training.validation=0"],
  ];
  for (const sites of ["held-out", "balanced"]) {
    await succeed(
      folder,
      ...[...train, "--out", sites, "--folds", "2", "--sites", sites],
    );
    const made = await readManifest(join(folder, sites, "folds.csv"));
    const folds = Map.groupBy(made.entries, ({ site }) => site);
    assert.equal(folds.size, 4);
    for (const images of folds.values()) {
      const { size } = new Set(images.map(({ fold }) => fold));
      assert.equal(size, sites === "held-out" ? 1 : 2);
    }
  }
  assertFails(
    await zoomin(
      folder,
      ...[
        ...train,
        "--out",
        "no",
        "--folds",
        "manifest",
        "--sites",
        "balanced",
      ],
    ),
    { code: 2, message: /^--sites needs new folds: add --folds N/ },
  );
});

Deno.test("train takes a QuPath project's list of images and its GeoJSON", async () => {
  const run = await succeed(
    folder,
    ...["train", "--data", "project.tsv", "--image-column", "Image name"],
    ...["--label-column", "Diagnosis", "--group-column", "Case"],
    ...["--images", await imageFolder(), "--boxes", "annotations"],
    ...["--features", "scattering", "--out", "qupath", "--epochs", "1"],
    ...["--preset", "needle", "--backend", "wasm"],
    ...["--set", "referenceClass=benign"],
    ...["--set", "view.tileSize=64", "--set", "view.tileStride=64"],
    ...["--set", "view.subTileStride=16", "--set", "view.subTileSize=28"],
  );
  assert.match(run.stderr, /^boxes: .*objects?/m);
});

Deno.test("train names doubtful labels before any work, unless they are meant", async () => {
  const images = await drawn(folder);
  const rows = images.map(({ path, classIndex }, i) =>
    `${path},${classIndex === 1 ? "neg" : i % 4 === 0 ? "Neg" : '"pos "'},${i}`
  );
  await Deno.writeTextFile(
    join(folder, "doubtful.csv"),
    ["image,label,AGE", ...rows].join("\n"),
  );
  const train = ["train", "--data", "doubtful.csv", ...ONE_EPOCH]
    .concat(["--set", "referenceClass=neg"]);
  assertFails(await zoomin(folder, ...train, "--out", "doubtful"), {
    code: 1,
    message:
      /^doubtful\.csv: columns that are not read: AGE\nCannot take the labels of doubtful\.csv as they are:\n.*one class\?\n.*space at its end\?\ncorrect them, or add --labels-as-they-are$/,
  });
  const run = await succeed(
    folder,
    ...[...train, "--labels-as-they-are", "--out", "meant"],
  );
  assert.match(remarks(run).join("\n"), /columns that are not read: AGE/);
});

Deno.test("dataset manifest lists a folder whose folders are the classes", async () => {
  const root = join(folder, "by-class");
  for (
    const name of ["benign/a.png", "benign/more/b.tif", "tumour/c.svs"]
      .concat(["tumour/.hidden.png", "tumour/notes.txt", "top.png"])
      .concat(["tumour/m.mrxs", "tumour/m/thumb.jpg"])
  ) {
    await Deno.mkdir(join(root, name, ".."), { recursive: true });
    await Deno.writeTextFile(join(root, name), name);
  }
  const { stdout } = await succeed(folder, "dataset", "manifest", "by-class");
  assert.match(
    stdout,
    /^by-class\/manifest\.csv: 4 images \(benign 2, tumour 2\), in/,
  );
  const text = await Deno.readTextFile(join(root, "manifest.csv"));
  assert.deepEqual(text.trim().split("\n"), [
    "image,label",
    "benign/a.png,benign",
    "benign/more/b.tif,benign",
    "tumour/c.svs,tumour",
    "tumour/m.mrxs,tumour",
  ]);
  assertFails(await zoomin(folder, "dataset", "manifest", "by-class"), {
    code: 2,
    message: /by-class\/manifest\.csv is there already: give another --out/,
  });
});

Deno.test("dataset manifest takes folders of sides as the split", async () => {
  const root = join(folder, "sides");
  for (const name of ["train/x/a.png", "train/y/b.png", "val/x/c.png"]) {
    await Deno.mkdir(join(root, name, ".."), { recursive: true });
    await Deno.writeTextFile(join(root, name), name);
  }
  await succeed(folder, "dataset", "manifest", "sides", "--out", "sides.csv");
  const { entries } = await readManifest(join(folder, "sides.csv"));
  assert.deepEqual(entries.map(({ image, split }) => [image, split]), [
    ["sides/train/x/a.png", "train"],
    ["sides/train/y/b.png", "train"],
    ["sides/val/x/c.png", "validation"],
  ]);
  assertFails(await zoomin(folder, "dataset", "manifest", "annotations"), {
    code: 1,
    message: /No image is in a folder of annotations/,
  });
});
