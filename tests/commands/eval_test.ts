import assert from "node:assert/strict";
import { join } from "node:path";
import sharp from "sharp";
import {
  assertFails,
  assertFailsInOneLine,
  drawAndTrain,
  folderOfFile,
  inParallel,
  remarks,
  succeed,
  zoomin,
} from "./process.ts";

const folder = folderOfFile(drawAndTrain);

const EVAL = [
  ...["eval", "--checkpoint", "run", "--data", "set/manifest.csv"],
  ...["--backend", "wasm"],
];
const METRICS = [
  "accuracy",
  "balancedAccuracy",
  "auc",
  "f1",
  "brier",
  "expectedCalibrationError",
  "logLoss",
];

/** The first rows of set/manifest.csv as cells, without the header. */
async function manifestRows(): Promise<string[][]> {
  const text = await Deno.readTextFile(join(folder, "set", "manifest.csv"));
  return text.trimEnd().split("\n").slice(1).map((line) => line.split(","));
}

Deno.test("eval prints the same bytes twice, also side by side", async () => {
  const outcomes = [
    await succeed(folder, ...EVAL),
    await succeed(folder, ...EVAL, "--workers", "2"),
  ];
  const [first, second] = outcomes;
  assert.equal(first!.stdout, second!.stdout);
  assert.match(
    first!.stdout,
    /^checkpoint [0-9a-f]{12} \(preset needle, epoch 1\) on 8 images\nprobabilities are not calibrated: there were no or too few validation images\n/,
  );
  for (
    const row of [
      /^accuracy +\d\.\d{3} +\d\.\d{3} to \d\.\d{3}$/m,
      /^AUC +\d\.\d{3} +\d\.\d{3} to \d\.\d{3}$/m,
      /^ +negative +positive\n +negative +\d +\d\n +positive +\d +\d$/m,
      /^on 4 images with annotated objects:$/m,
      /^ +by chance +0\.\d{3} \(/m,
    ]
  ) assert.match(first!.stdout, row);
  assert.match(first!.stderr, /^engine: wasm: as requested$/m);
  assert.match(remarks(first!).join("\n"), /^peak memory: \d+ MB$/);
});

Deno.test("eval --json has each metric, its interval, and the attention", async () => {
  const runs = [[], [], ["--samples", "9"], ["--seed", "1"]].map((more) =>
    succeed(folder, ...EVAL, "--json", ...more)
  );
  const [first, second, more, other] = (await Promise.all(runs))
    .map(({ stdout }) => stdout);
  assert.equal(first, second);
  const report = JSON.parse(first!);
  assert.match(report.checkpoint, /^[0-9a-f]{64}$/);
  assert.equal(report.calibration, null);
  assert.equal(report.images, 8);
  assert.deepEqual(report.failures, []);
  assert.deepEqual(report.classes, ["negative", "positive"]);
  assert.deepEqual(Object.keys(report.metrics), METRICS);
  for (const name of METRICS) {
    const { value, interval } = report.metrics[name];
    assert.ok(Number.isFinite(value), name);
    assert.ok(interval.low <= interval.high, name);
  }
  assert.equal(
    report.confusion.flat().reduce((a: number, b: number) => a + b),
    8,
  );
  const correct = report.confusion[0][0] + report.confusion[1][1];
  assert.equal(report.metrics.accuracy.value, correct / 8);
  assert.equal(report.attention.images, 4);
  const { drawn, mass, chance } = report.attention;
  for (const { value } of [drawn, mass, chance]) {
    assert.ok(value >= 0 && value <= 1);
  }
  for (const changed of [more, other]) {
    const { metrics } = JSON.parse(changed!);
    assert.notEqual(metrics.logLoss.value, report.metrics.logLoss.value);
  }
});

Deno.test("eval of one image says what nothing bounds", async () => {
  const [image, label] = (await manifestRows())[0]!;
  const one = join(folder, "set", "one.csv");
  await Deno.writeTextFile(one, `image,label\n${image},${label}\n`);
  const { stdout } = await succeed(folder, ...EVAL, "--data", "set/one.csv");
  // Wilson's of 1 of 1 is 0.207 to 1; of one image every resample is that
  // image.
  assert.match(
    stdout,
    /^accuracy +(1\.000 +0\.207 to 1|0\.000 +0\.000 to 0\.793)/m,
  );
  assert.match(stdout, /^log loss +\d\.\d{3} +-$/m);
  assert.match(stdout, /^-: all resamples give this value/m);
});

Deno.test("eval --split and --predictions: a line for each image of it", async () => {
  const rows = await manifestRows();
  await inParallel(["train", "all"], async (split) => {
    const file = `${split}.csv`;
    const { stdout } = await succeed(
      folder,
      ...[...EVAL, "--split", split, "--predictions", file, "--json"],
    );
    const wanted = rows.filter((row) => split === "all" || row[2] === split);
    const text = await Deno.readTextFile(join(folder, file));
    const [header, ...lines] = text.trimEnd().split("\n");
    assert.equal(header, "image,label,predicted,p(negative),p(positive)");
    const cells = lines.map((line) => line.split(","));
    assert.deepEqual(
      cells.map((row) => row.slice(0, 2)),
      wanted.map((row) => row.slice(0, 2)),
    );
    let correct = 0;
    for (const [, label, predicted, negative, positive] of cells) {
      assert.ok(Math.abs(Number(negative) + Number(positive) - 1) < 2e-6);
      const more = Number(negative) >= Number(positive);
      assert.equal(predicted, more ? "negative" : "positive");
      if (label === predicted) correct++;
    }
    const { metrics } = JSON.parse(stdout);
    assert.equal(metrics.accuracy.value, correct / wanted.length);
  });
});

Deno.test("eval warns of images that the run has learned from", async () => {
  const rows = (await manifestRows()).map(([image, label]) =>
    `set/${image},${label}\n`
  );
  const unsplit = join(folder, "unsplit.csv");
  await Deno.writeTextFile(unsplit, `image,label\n${rows.join("")}`);
  const warnings = (...argv: string[]) =>
    succeed(folder, ...EVAL, ...argv).then((result) =>
      remarks(result).filter((line) => line.startsWith("warning: "))
    );
  assert.deepEqual(await warnings("--data", "unsplit.csv"), [
    "warning: the run was trained or selected on 12 of these 20 images; score new ones with --data run/splits.csv --split test",
  ]);
  const [ofFile] = await warnings(
    ...["--checkpoint", "run/last.safetensors", "--data", "unsplit.csv"],
  );
  assert.match(
    ofFile!,
    /selected on 12 of these 20 .* --data run\/splits\.csv /,
  );
  for (const split of ["test", "train"]) {
    assert.deepEqual(await warnings("--split", split), []);
  }
});

Deno.test("eval says what decoding changed, and in how many images", async () => {
  const [[image]] = await manifestRows() as [[string]];
  const grey = sharp(join(folder, "set", image)).greyscale()
    .toColourspace("b-w");
  const rows = ["a", "b"].map((name) => `${name}.png,negative\n`);
  await grey.toFile(join(folder, "a.png"));
  await grey.negate().toFile(join(folder, "b.png"));
  await Deno.writeTextFile(
    join(folder, "grey.csv"),
    `image,label\nset/${image},negative\n${rows.join("")}`,
  );
  const { stderr } = await succeed(folder, ...EVAL, "--data", "grey.csv");
  assert.match(stderr, /^warning: 2 images: grey expanded to RGB$/m);
});

Deno.test("eval reports a broken image and scores the rest", async () => {
  const rows = (await manifestRows()).filter(([, , split]) => split === "test");
  const png = await Deno.readFile(join(folder, "set", rows[0]![0]!));
  await Deno.writeFile(join(folder, "cut.png"), png.subarray(0, 9000));
  const good = rows.map(([image, label]) => `set/${image},${label}`);
  await Deno.writeTextFile(
    join(folder, "broken.csv"),
    ["image,label", good[0], "cut.png,positive", ...good.slice(1)].join("\n"),
  );
  const argv = [...EVAL, "--data", "broken.csv", "--json"];
  const result = await zoomin(folder, ...argv);
  assert.equal(result.code, 1);
  const [fault, ...rest] = remarks(result);
  assert.match(fault!, /^cut\.png: Cannot open .*cut\.png as PNG: .*truncated/);
  assert.match(rest.join("\n"), /^peak memory/);
  const { images, failures, metrics } = JSON.parse(result.stdout);
  assert.equal(images, 8);
  assert.equal(failures.length, 1);
  assert.equal(failures[0].image, "cut.png");
  const { stdout } = await succeed(folder, ...EVAL, "--json");
  assert.deepEqual(metrics, JSON.parse(stdout).metrics);

  await Deno.writeTextFile(
    join(folder, "all_broken.csv"),
    "image,label\ncut.png,positive\n",
  );
  assertFailsInOneLine(
    await zoomin(folder, ...EVAL, "--data", "all_broken.csv"),
    { code: 1, message: /None of the images of \S+ could be read; .*cut\.png/ },
  );
});

Deno.test("eval loses no predictions to a fault of annotations", async () => {
  const [[image]] = await manifestRows() as [[string]];
  const marked = join(folder, "marked");
  await Deno.mkdir(marked);
  await Deno.copyFile(join(folder, "set", image), join(marked, "a.png"));
  const files = {
    "cut.png": "no image",
    "cut.csv": "image,label\ncut.png,positive\n",
    "own.csv": "image,label,rois\na.png,negative,bad.csv\n",
    "bad.csv": "x,y\n1,two\n",
    "regions.csv": "image,x,y\ncut.png,1,two\n",
  };
  for (const [name, text] of Object.entries(files)) {
    await Deno.writeTextFile(join(marked, name), text);
  }
  // The table of all images is read before any of them, that of one with it.
  await inParallel<[data: string, message: RegExp]>([
    ["cut", /^\S*regions\.csv:2: y is "two"/],
    ["own", /^\S*bad\.csv:2: y is "two"/],
  ], async ([data, message]) => {
    const result = await zoomin(
      folder,
      ...[...EVAL, "--data", `marked/${data}.csv`],
      ...["--predictions", `marked/${data}-predictions.csv`],
    );
    assertFailsInOneLine(result, { code: 1, message });
  });
  const text = await Deno.readTextFile(join(marked, "own-predictions.csv"));
  assert.equal(text.trimEnd().split("\n").length, 2);
});

Deno.test("eval names what is wrong with its input", async () => {
  const rows = await manifestRows();
  const checkpoint = await Deno.readFile(join(folder, "run/best.safetensors"));
  const flipped = checkpoint.slice();
  flipped[12]! ^= 0xff; // in the header
  const files: Record<string, Uint8Array | string> = {
    "cut.safetensors": checkpoint.subarray(0, checkpoint.length - 1000),
    "short.safetensors": checkpoint.subarray(0, 5),
    "flipped.safetensors": flipped,
    "text.safetensors": "a text that is no checkpoint",
    "empty.safetensors": "",
    "labels.csv": `image,label\nset/${rows[0]![0]},negative\nset/${
      rows[1]![0]
    },dog\n`,
    "leak.csv": `image,label,split,group\nset/${
      rows[0]![0]
    },negative,train,Ann\nset/${rows[1]![0]},positive,test,Ann\n`,
  };
  for (const [name, content] of Object.entries(files)) {
    const path = join(folder, name);
    await (typeof content === "string"
      ? Deno.writeTextFile(path, content)
      : Deno.writeFile(path, content));
  }
  await Deno.mkdir(join(folder, "nothing"));
  const damaged = ["cut", "short", "flipped", "text", "empty"].map((name) =>
    `${name}.safetensors`
  );
  await inParallel<[argv: string[], message: RegExp]>([
    ...damaged.map((file): [string[], RegExp] => [
      ["--checkpoint", file],
      new RegExp(`^Cannot use ${file} as a checkpoint: `),
    ]),
    [["--checkpoint", "gone"], /^Cannot find the checkpoint gone: /],
    [["--checkpoint", "nothing"], /^Cannot find a checkpoint in nothing: /],
    [
      ["--split", "validation"],
      /^No image of set\/manifest\.csv has the split "validation"/,
    ],
    [["--data", "labels.csv"], /^labels\.csv:3: label "dog" is not a class/],
  ], async ([argv, message]) => {
    const result = await zoomin(folder, ...EVAL, ...argv);
    assertFailsInOneLine(result, { code: 1, message });
  });
  await inParallel<[file: string, reason: RegExp]>([
    [
      "no/such.csv",
      /^Cannot write --predictions no\/such\.csv: the folder no does not exist; /m,
    ],
    [
      "nothing",
      /^Cannot write --predictions nothing: it is a folder; name a file$/m,
    ],
    [
      "set/manifest.csv",
      /^Cannot write to set\/manifest\.csv: it is one of the input files/m,
    ],
  ], async ([file, message]) => {
    const result = await zoomin(folder, ...EVAL, "--predictions", file);
    assertFailsInOneLine(result, { code: 2, message });
  });
  assertFails(await zoomin(folder, ...EVAL, "--data", "leak.csv"), {
    code: 1,
    message: /leak\.csv:2 .*leak\.csv:3 .*group "Ann" is on both sides/,
  });
});
