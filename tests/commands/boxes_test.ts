import assert from "node:assert/strict";
import { join } from "node:path";
import { readManifest } from "../../lib/data/manifest.ts";
import { readCheckpointInfo } from "../../lib/model/checkpoint.ts";
import { readLog } from "../../lib/train/run_log.ts";
import {
  assertFails,
  drawSet,
  folderOfFile,
  inParallel,
  remarks,
  succeed,
  zoomin,
} from "./process.ts";

const DATA = ["--data", "set/manifest.csv"];
// Of 12 training images 2 choose the epoch; half of the others are positive.
const BOXES = ["--boxes", "coco.json"];

// Frozen features, which learn from boxes; without copies in other colours.
const FROZEN = [
  ...["--preset", "needle", "--features", "scattering"],
  ...["view.samples=4", "evaluation.samples=4", "training.validation=0.2"]
    .flatMap((setting) => ["--set", setting]),
  ...["--set", "training.dense.copies=0", "--backend", "wasm"],
];

/** The needle set, its regions as COCO, and a manifest with a column rois. */
const folder = folderOfFile(async (folder) => {
  await drawSet(folder);
  const { entries } = await readManifest(join(folder, "set/manifest.csv"));
  const regions = await Deno.readTextFile(join(folder, "set/regions.csv"));
  const boxes = regions.trimEnd().split("\n").slice(1).map((line) => {
    const [image, left, top, right, bottom, type] = line.split(",");
    const [x, y, x2, y2] = [left, top, right, bottom].map(Number);
    return {
      image_id: entries.findIndex((entry) => entry.image === image),
      category_id: type === "lookalike" ? 2 : 1,
      bbox: [x!, y!, x2! - x!, y2! - y!],
    };
  });
  await Deno.writeTextFile(
    join(folder, "coco.json"),
    JSON.stringify({
      images: entries.map(({ image }, id) => ({ id, file_name: image })),
      categories: [{ id: 1, name: "needle" }, { id: 2, name: "lookalike" }],
      annotations: boxes,
    }),
  );
  await Deno.writeTextFile(
    join(folder, "rois.csv"),
    [
      "image,label,split,rois",
      ...entries.map(({ image, label, split }) =>
        `set/${image},${label},${split},${
          split === "test" ? "broken.json" : "coco.json"
        }`
      ),
    ].join("\n"),
  );
  await Deno.writeTextFile(join(folder, "broken.json"), "[{");
});

function training(out: string, ...more: string[]): string[] {
  return ["train", ...DATA, "--out", out, ...FROZEN, "--epochs", "1", ...more];
}

Deno.test("train --boxes: counted in log, checkpoint and report", async () => {
  const result = await succeed(folder, ...training("run", ...BOXES));
  const [, told] = remarks(result);
  const [, objects, images, ignored] =
    /^boxes: (\d+) annotated objects in (\d) images; the annotations of (\d+) validation or test images are not used$/
      .exec(told!)!;
  assert.equal(images, "5");
  assert.equal(ignored, "10"); // 2 for validation, 8 for test
  const count = { images: Number(images), objects: Number(objects) };
  const [run] = await readLog(join(folder, "run/log.jsonl"));
  assert.deepEqual(run!.boxes, {
    name: join(await Deno.realPath(folder), "coco.json"),
    limit: null,
    ...count,
    ignored: 10,
  });
  for (const name of ["best", "last"]) {
    const path = join(folder, "run", `${name}.safetensors`);
    assert.deepEqual((await readCheckpointInfo(path)).annotated, count);
  }
  const evaluation = ["eval", "--checkpoint", "run", ...DATA];
  const report = await succeed(folder, ...evaluation, "--backend", "wasm");
  assert.match(
    report.stdout,
    new RegExp(
      `^trained on labels and ${objects} annotated objects in 5 training images$`,
      "m",
    ),
  );
  const json = await succeed(
    folder,
    ...[...evaluation, "--backend", "wasm", "--json"],
  );
  assert.deepEqual(JSON.parse(json.stdout).annotated, count);

  const resume = training("run", "--resume");
  await inParallel<[string[], RegExp]>([
    [
      [],
      /Cannot resume run with no --boxes: it was started with --boxes \S+coco\.json; give the same/,
    ],
    [
      [...BOXES, "--boxes-images", "2"],
      /--boxes-images 2: it was started with/,
    ],
  ], async ([boxes, message]) => {
    const refused = await zoomin(folder, ...resume, ...boxes);
    assertFails(refused, { code: 2, message });
  });
  await succeed(folder, ...resume, ...BOXES);
});

Deno.test("train --boxes rois reads no file of a test image", async () => {
  const argv = training("rois", "--boxes", "rois", "--boxes-images", "3");
  argv[argv.indexOf("--data") + 1] = "rois.csv";
  const result = await succeed(folder, ...argv); // theirs is broken
  assert.match(
    result.stderr,
    /^boxes: \d+ annotated objects in 3 images; the annotations of 10 /m,
  );
});

Deno.test("train --folds --boxes: each fold counts its own", async () => {
  const argv = training(
    "folds",
    ...["--folds", "2", "--fold", "1", "--protocol", "held-out"],
    ...[...BOXES, "--boxes-images", "2"],
  );
  const result = await succeed(folder, ...argv, "--json");
  assert.match(
    result.stderr,
    /^fold 1 held-out: .*, \d+ annotated objects in 2 training images$/m,
  );
  const { results: [fold] } = JSON.parse(result.stdout);
  assert.equal(fold.report.annotated.images, 2);
  const [run] = await readLog(
    join(folder, "folds/held-out/fold-01/log.jsonl"),
  );
  const { ignored, limit } = run!.boxes as Record<string, number>;
  assert.equal(limit, 2);
  assert.ok(ignored! >= 6); // the other fold, and the part that chooses
  const other = await zoomin(
    folder,
    ...training("folds", "--folds", "2", "--protocol", "held-out"),
  );
  assertFails(other, { code: 2, message: /folds with another --boxes: / });
});

Deno.test("train --boxes: what cannot be used is told in one line", async () => {
  await Deno.writeTextFile(join(folder, "one.geojson"), "[]");
  await Deno.writeTextFile(
    join(folder, "far.csv"),
    "image,x,y\nset/images/train_00001.png,1e6,5\n",
  );
  await Deno.writeTextFile(
    join(folder, "bare.csv"),
    "image,label\nset/images/train_00000.png,negative\nset/images/train_00001.png,positive\n",
  );
  const bare = ["--data", "bare.csv", "--boxes", "rois"];
  await inParallel<[string[], RegExp, number?]>([
    [["--boxes-images", "2"], /^--boxes-images needs --boxes: add it/, 2],
    [
      ["--boxes", "none.json"],
      /Cannot read ".*none\.json" as a table: there is no such file/,
    ],
    [["--boxes", "broken.json"], /broken\.json as JSON annotations: /],
    [["--boxes", "one.geojson"], /it names no image; write a column "image"/],
    [
      [...BOXES, "--boxes-images", "9"],
      /boxes of 9 images: \S+coco\.json has objects in only 5 training images/,
    ],
    [bare, /bare\.csv has no annotations; name a file for some images/],
    [
      [...BOXES, "--set", "training.dense=null"],
      /training\.dense: is needed for network\.features = scattering/,
      2,
    ],
  ], async ([flags, message, code = 1]) => {
    const result = await zoomin(folder, ...training("none", ...flags));
    assertFails(result, { code, message });
  });
  const far = await zoomin(
    folder,
    ...training("far", "--boxes", "far.csv", "--set", "training.validation=0"),
  );
  assertFails(far, {
    code: 1,
    message:
      /objects of images\/train_00001\.png in \S+far\.csv: one at x 1000000, y 5 lies outside of its 128 x 128 px/,
  });
});
