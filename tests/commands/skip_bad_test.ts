/**
 * Images that cannot be read: named before the first epoch, and set aside if the
 * user wants that.
 */
import assert from "node:assert/strict";
import { basename, dirname, join } from "node:path";
import { type ManifestEntry, readManifest } from "../../lib/data/manifest.ts";
import { readLog } from "../../lib/train/run_log.ts";
import {
  assertFails,
  drawSet,
  folderOfFile,
  remarks,
  SMALL,
  succeed,
  zoomin,
} from "./process.ts";

const ROWS = 1000;

/** What is wrong with the image of a line, and the reason that is given. */
const BAD: Record<number, [name: string, reason: RegExp]> = {
  3: ["missing.png", /no such file/],
  100: ["empty.png", /it is empty/],
  200: ["text.png", /begins with the signature of none/],
  300: ["cut.png", /as PNG/],
  400: ["cut.tif", /as TIFF|Cannot read/],
  500: ["dicom.dcm", /as DICOM/],
  1001: ["folder.png", /it is a folder/],
};

const folder = folderOfFile(async (folder) => {
  await drawSet(folder);
  await writeManifest(folder);
});

/** A thousand rows, links to the twenty drawn images, with seven bad ones. */
async function writeManifest(folder: string): Promise<void> {
  const { entries } = await readManifest(join(folder, "set/manifest.csv"));
  const images = join(folder, "many");
  await Deno.mkdir(images);
  const lines = ["image,label,split,fold"];
  for (let i = 0; i < ROWS; i++) {
    const entry = entries[i % entries.length]!;
    const bad = BAD[i + 2]?.[0];
    const name = bad ?? `${i}.png`;
    if (bad) await writeBad(join(images, bad), entry);
    else await Deno.symlink(entry.path, join(images, name));
    lines.push(
      `many/${name},${entry.label},${entry.split},${i % 4 < 2 ? 1 : 2}`,
    );
  }
  await Deno.writeTextFile(join(folder, "many.csv"), lines.join("\n"));
}

async function writeBad(path: string, { path: good }: ManifestEntry) {
  const bytes = await Deno.readFile(good);
  switch (basename(path)) {
    case "missing.png":
      return;
    case "empty.png":
      return await Deno.writeFile(path, new Uint8Array());
    case "text.png":
      return await Deno.writeTextFile(path, "not an image\n".repeat(100));
    case "cut.png":
      return await Deno.writeFile(path, bytes.subarray(0, bytes.length / 2));
    case "cut.tif": {
      const whole = `${path}.whole.tif`;
      await succeed(
        dirname(path),
        ...["pyramid", good, whole],
      );
      const tiff = await Deno.readFile(whole);
      return await Deno.writeFile(path, tiff.subarray(0, tiff.length * 0.6));
    }
    case "dicom.dcm": {
      const dicom = new Uint8Array(512);
      dicom.set(new TextEncoder().encode("DICM"), 128);
      return await Deno.writeFile(path, dicom);
    }
    case "folder.png":
      return await Deno.mkdir(path);
  }
}

// Sides are set, so an epoch takes only what is left of the data.
const TRAIN = [
  ...["train", "--data", "many.csv", ...SMALL, "--epochs", "1"],
  ...["--set", "training.batchSize=50", "--set", "view.samples=1"],
  ...["--set", "training.validation=0"],
];

Deno.test("train names every bad image in one run, before anything is trained", async () => {
  const result = await zoomin(folder, ...TRAIN, "--out", "stopped");
  assertFails(result, { code: 1, message: /Cannot train: 7 images cannot be/ });
  const lines = remarks(result);
  assert.equal(lines.length, 9, result.stderr);
  for (const [i, [line, [name, reason]]] of Object.entries(BAD).entries()) {
    const said = lines[i + 1]!;
    assert.ok(said.startsWith(`many.csv:${line}: `), said);
    assert.ok(said.includes(`many/${name}`), said);
    assert.match(said, reason);
  }
  assert.match(lines.at(-1)!, /--skip-bad/);
});

Deno.test("train names faults of the table before it opens images", async () => {
  const table = (await Deno.readTextFile(join(folder, "many.csv"))).split("\n");
  const rows = table.slice(1).map((row, i) => `${row},P${(i + 1) >> 1}`);
  await Deno.writeTextFile(
    join(folder, "leak.csv"),
    [`${table[0]},group`, ...rows].join("\n"),
  );
  for (const more of [[], ["--folds", "manifest", "--fold", "1"]]) {
    assertFails(
      await zoomin(
        folder,
        ...[...TRAIN, "--data", "leak.csv", "--out", "leak", ...more],
      ),
      { code: 1, message: /^Cannot keep training and test data apart:$/m },
    );
  }
});

Deno.test("train --skip-bad sets bad images aside, and names them everywhere", async () => {
  const out = "skipped";
  const run = await succeed(
    folder,
    ...[...TRAIN, "--out", out, "--skip-bad", "--json"],
  );
  const names = Object.values(BAD).map(([name]) => `many/${name}`);
  const said = remarks(run).filter((line) => line.startsWith("skipped: "));
  assert.equal(said.length, names.length, run.stderr);
  for (const [i, line] of Object.keys(BAD).entries()) {
    assert.ok(said[i]!.startsWith(`skipped: line ${line}: `), said[i]);
  }
  const imagesOf = (skipped: unknown) =>
    (skipped as { image: string }[]).map(({ image }) => image);
  assert.deepEqual(imagesOf(JSON.parse(run.stdout).skipped), names);
  const [first] = await readLog(join(folder, out, "log.jsonl"));
  assert.deepEqual(imagesOf(first!.skipped), names);
  // The split is that of all images: whoever mends a file has it on its side.
  const { entries } = await readManifest(join(folder, out, "splits.csv"), {
    missing: "kept",
  });
  assert.equal(entries.length, ROWS);
  const report = await Deno.readTextFile(join(folder, out, "report.html"));
  for (const name of names) assert.ok(report.includes(name), name);

  const more = ["--epochs", "2", "--resume"];
  const stopped = await zoomin(folder, ...TRAIN, "--out", out, ...more);
  assert.equal(stopped.code, 0, stopped.stderr); // the seven are known
  const log = await readLog(join(folder, out, "log.jsonl"));
  assert.equal(log.filter(({ type }) => type === "epoch").length, 2);
});

Deno.test("train --folds sets bad images aside in every fold", async () => {
  const argv = [
    ...TRAIN,
    "--folds",
    "manifest",
    "--fold",
    "1",
    "--out",
    "folds",
  ]
    .concat(["--protocol", "held-out"]);
  assertFails(await zoomin(folder, ...argv), {
    code: 1,
    message: /Cannot train: 7 images cannot be read/,
  });
  await succeed(folder, ...argv, "--skip-bad");
  const { skipped } = JSON.parse(
    await Deno.readTextFile(join(folder, "folds/crossval.json")),
  );
  assert.equal(skipped.length, 7);
});
