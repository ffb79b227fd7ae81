import assert from "node:assert/strict";
import { join } from "node:path";
import { summaryOf } from "../../lib/commands/images_summary.ts";
import {
  looksOf,
  objectPixels,
  suggestedPreset,
} from "../../lib/commands/suggested_preset.ts";
import { readManifest } from "../../lib/data/manifest.ts";
import {
  assertFailsInOneLine,
  drawSet,
  folderOfFile,
  start,
  succeed,
  zoomin,
} from "./process.ts";

const folder = folderOfFile(async (folder) => {
  await drawSet(folder);
  await writeFaulty(folder);
});

/** Twenty images and four lines with a fault each, and one file twice. */
async function writeFaulty(folder: string): Promise<void> {
  const { entries } = await readManifest(join(folder, "set/manifest.csv"));
  await Deno.copyFile(entries[0]!.path, join(folder, "twin.png"));
  await Deno.writeTextFile(join(folder, "text.png"), "no image");
  await Deno.writeTextFile(
    join(folder, "faulty.csv"),
    [
      "image,label,split,stage",
      ...entries.map(({ path, label, split }) => `${path},${label},${split},I`),
      "twin.png,Negative,test,II",
      "text.png,negative,train,I",
      "missing.png,negative,train,I",
    ].join("\n"),
  );
}

const CHECK = ["check", "set/manifest.csv", "--backend", "wasm"];

Deno.test("check tells what a table holds, and what a training takes", async () => {
  const { stdout } = await succeed(folder, ...CHECK, "--read");
  assert.match(stdout, /^set\/manifest\.csv: 20 images, 20 groups\n/);
  for (
    const line of [
      /^ {2}labels +negative \d+, positive \d+$/m,
      /^ {2}format +PNG 20$/m,
      /^ {2}longer side +128 px$/m,
      /^ {2}levels +1$/m,
      /^ {2}um per px +not stated$/m,
      /^ {2}tissue +\d+ %/m,
      /^ {2}duplicates +none$/m,
      /^ {2}preset +colon$/m,
      /^ {2}training +about .* here with one worker, and \d+ MB$/m,
    ]
  ) assert.match(stdout, line);
});

Deno.test("check names what must be mended, and ends with 1", async () => {
  const argv = ["check", "faulty.csv", "--json", "--object", "20px"]
    .concat(["--preset", "needle", "--backend", "wasm"]);
  const { code, stdout, stderr } = await zoomin(folder, ...argv);
  assert.equal(code, 1, stderr);
  assert.match(stderr, /faulty\.csv: columns that are not read: stage/);
  const report = JSON.parse(stdout);
  assert.equal(report.images, 23);
  assert.deepEqual(
    report.unreadable.map((
      { image, line }: { image: string; line: number },
    ) => [image, line]),
    [["text.png", 23], ["missing.png", 24]],
  );
  assert.match(report.unreadable[1].error, /no such file/);
  assert.equal(report.duplicates.length, 1);
  assert.ok(report.duplicates[0].includes("twin.png"));
  assert.equal(report.faults.length, 2, report.faults.join("\n"));
  assert.match(
    report.faults[0],
    /"negative" .* and "Negative" .*: one class\?/,
  );
  assert.match(report.faults[1], /the same image is on both sides/);
  assert.deepEqual(report.object, {
    px: 20,
    viewPx: 5,
    tilePx: 10,
    subTilePx: 32,
    fits: true,
  });
  assert.ok(report.estimate.seconds > 0);

  const text = await zoomin(folder, "check", "faulty.csv", "--backend", "wasm");
  assert.equal(text.code, 1);
  assert.match(text.stdout, /^2 unreadable images:\nline 23: .*text\.png/m);
});

Deno.test("check refuses a wrong command line in one line", async () => {
  for (
    const [argv, message] of [
      [["check"], /Name one table/],
      [["check", "a.csv", "--object", "big"], /--object must be a size/],
      [["check", "a.csv", "--preset", "x"], /--preset must be/],
    ] as const
  ) {
    assertFailsInOneLine(await zoomin(folder, ...argv), { code: 2, message });
  }
});

Deno.test("check is stopped by Ctrl-C", async () => {
  const { entries } = await readManifest(join(folder, "set/manifest.csv"));
  const rows = [];
  for (let i = 0; i < 3000; i++) {
    const path = join(folder, `link-${i}.png`);
    await Deno.symlink(entries[i % 20]!.path, path);
    rows.push(`${path},${i % 2},${i}`);
  }
  await Deno.writeTextFile(
    join(folder, "long.csv"),
    ["image,label,own", ...rows].join("\n"),
  );
  const process = start(folder, "check", "long.csv", "--backend", "wasm");
  // Its note on the columns is written before the first image is opened.
  const reader = process.stderr.getReader();
  await reader.read();
  process.kill("SIGINT");
  const { code } = await process.status;
  assert.equal(code, 130);
  await reader.cancel();
  await process.stdout.cancel();
});

const SMALL_IMAGE = {
  image: "a",
  line: 2,
  format: "TIFF",
  levels: 1,
  mpp: 0.5,
  foreground: null,
  warnings: [],
};

Deno.test("the suggested preset is that of similar images that holds the object", () => {
  const of = (side: number) =>
    summaryOf([{ ...SMALL_IMAGE, width: side, height: side }]);
  assert.equal(suggestedPreset(of(480), undefined), "colon");
  assert.equal(suggestedPreset(of(1100), undefined), "needle");
  assert.equal(suggestedPreset(of(80_000), undefined), "camelyon16");
  assert.equal(suggestedPreset(of(1100), 60), "traffic-signs");
  assert.equal(suggestedPreset(of(1100), 500), null);
  assert.equal(suggestedPreset(null, undefined), null);
  assert.equal(objectPixels({ value: 8, unit: "um" }, of(1)), 16);
  assert.throws(() => objectPixels({ value: 8, unit: "um" }, null), {
    name: "UsageError",
  });
  assert.equal(looksOf(60, "needle").fits, false);
});
