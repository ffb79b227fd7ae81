/**
 * The models of a cross-validation as an ensemble.
 */
import assert from "node:assert/strict";
import { basename, join } from "node:path";
import { parse } from "csv-parse/sync";
import { readManifest } from "../../lib/data/manifest.ts";
import { readEnsemble } from "../../lib/train/runs/ensemble.ts";
import {
  assertFailsInOneLine,
  drawSet,
  folderOfFile,
  inParallel,
  SMALL,
  succeed,
  zoomin,
} from "./process.ts";

const folder = folderOfFile(async (folder) => {
  await drawSet(folder);
  await succeed(
    folder,
    ...["train", "--data", "set/manifest.csv", "--out", "folds"],
    ...["--folds", "2", ...SMALL, "--epochs", "2"],
  );
  const { entries } = await readManifest(join(folder, "set/manifest.csv"));
  const rows = entries.filter(({ split }) => split === "test")
    .toSorted((a, b) => a.classIndex - b.classIndex)
    .map(({ path, label }, i) =>
      [basename(path), label, `P${Math.floor(i / 2)}`].join()
    );
  await Deno.writeTextFile(
    join(folder, "set/images/new.csv"),
    ["image,label,group", ...rows].join("\n"),
  );
});

const NEW = ["--data", "set/images/new.csv"];
const BACKEND = ["--backend", "wasm"];
const FOLD = (fold: number, protocol = "held-out") =>
  `folds/${protocol}/fold-0${fold}`;

interface Line {
  source?: string;
  group?: string;
  label: string;
  probabilities: Record<string, number>;
  model: { name: string; sha256: string };
  subTiles?: unknown[];
}

async function classified(
  checkpoint: string,
  ...argv: string[]
): Promise<Line[]> {
  const { stdout } = await succeed(
    folder,
    ...["classify", "--checkpoint", checkpoint, ...NEW, "--json"],
    ...[...BACKEND, ...argv],
  );
  return stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
}

function assertMeans(ensemble: Line[], members: Line[][]) {
  for (const [i, { label, probabilities }] of ensemble.entries()) {
    for (const [name, p] of Object.entries(probabilities)) {
      const own = members.map((lines) => lines[i]!.probabilities[name]!);
      const mean = own.reduce((sum, p) => sum + p, 0) / own.length;
      assert.ok(Math.abs(mean - p) < 1e-12, `${p} is no mean of ${own}`);
    }
    const most = Math.max(...Object.values(probabilities));
    assert.equal(probabilities[label], most);
  }
}

Deno.test("an ensemble has the mean of its folds' probabilities, of groups too", async () => {
  for (const by of [[], ["--by-group", "evidence"], ["--by-group", "mean"]]) {
    const [ensemble, side, ...members] = await Promise.all([
      classified("folds", ...by),
      classified("folds", ...by, "--workers", "2"),
      classified(FOLD(1), ...by),
      classified(FOLD(2), ...by),
    ]);
    assert.equal(ensemble!.length, by.length > 0 ? 8 + 4 : 8);
    assertMeans(ensemble!, members);
    assert.deepEqual(
      side!.map(({ probabilities }) => probabilities),
      ensemble!.map(({ probabilities }) => probabilities),
    );
    assert.equal(ensemble![0]!.model.name, "folds");
    assert.equal(ensemble![0]!.subTiles, undefined);
  }
});

Deno.test("an ensemble is of the protocol that is named; held-out if none is", async () => {
  const [whole, heldOut, best] = await Promise.all(
    ["folds", "folds/held-out", "folds/best-epoch"].map((path) =>
      readEnsemble(join(folder, path))
    ),
  );
  assert.deepEqual(whole, heldOut);
  assert.equal(whole!.protocol, "held-out");
  assert.deepEqual(whole!.folds, [1, 2]);
  assert.deepEqual(whole!.missing, []);
  assert.equal(best!.protocol, "best-epoch");
  assert.equal(await readEnsemble(join(folder, FOLD(1))), undefined);
  assert.equal(whole!.entries.length, 12);
});

Deno.test("eval scores an ensemble on new images, and records it", async () => {
  const { stdout, stderr } = await succeed(
    folder,
    ...["eval", "--checkpoint", "folds", "--data", "set/manifest.csv"],
    ...[...BACKEND, "--predictions", "ensemble.csv"],
  );
  assert.match(
    stderr,
    /^ensemble of 2 models of folds: held-out, folds 1, 2$/m,
  );
  assert.match(
    stdout,
    /^ensemble of 2 models \(preset needle, held-out, folds 1, 2\) on 8 images\nprobabilities are the mean of its models', of which 0 are calibrated\n/,
  );
  const rows = parse(
    await Deno.readTextFile(join(folder, "ensemble.csv")),
    { columns: true },
  ) as Record<string, string>[];
  const byImage = new Map(
    (await classified("folds")).map(({ source, probabilities }) =>
      [source!, probabilities] as const
    ),
  );
  assert.equal(rows.length, 8);
  for (const { image, "p(positive)": p } of rows) {
    const { positive } = byImage.get(basename(image!))!;
    assert.equal(positive!.toFixed(6), p);
  }
  const place = join(folder, "folds/evaluations/set-manifest-test");
  const record = JSON.parse(
    await Deno.readTextFile(join(place, "evaluation.json")),
  );
  assert.equal(record.ensemble.protocol, "held-out");
  assert.equal(record.ensemble.members.length, 2);
  assert.equal(record.calibration, null);
  const page = await Deno.readTextFile(join(place, "report.html"));
  assert.match(page, /Ensemble<\/th>/);
});

Deno.test("eval does not score an ensemble on images that its folds have learned", async () => {
  const { entries } = await readManifest(join(folder, "folds/folds.csv"));
  await Deno.copyFile(entries[0]!.path, join(folder, "copy.png"));
  await Deno.writeTextFile(
    join(folder, "copy.csv"),
    `image,label\ncopy.png,${entries[0]!.label}\n`,
  );
  await inParallel([
    {
      argv: ["--data", "set/manifest.csv", "--split", "all"],
      message:
        /^Cannot score the ensemble folds on 12 of these 20 images \(.+, \.\.\.\): its folds were trained on them; give new images, or score a fold on its own test images: --checkpoint folds\/held-out\/fold-01 --data folds\/held-out\/fold-01\/splits\.csv$/m,
    },
    {
      argv: ["--data", "copy.csv"],
      message: /on 1 of these 1 image \(copy\.png\): its folds/,
    },
  ], async ({ argv, message }) => {
    const result = await zoomin(
      folder,
      ...["eval", "--checkpoint", "folds", ...argv, ...BACKEND],
    );
    result.stderr = result.stderr.replace(/^ensemble of .*\n/m, "");
    assertFailsInOneLine(result, { code: 1, message });
  });
  // What the message advises.
  await succeed(
    folder,
    ...["eval", "--checkpoint", FOLD(1), "--data", `${FOLD(1)}/splits.csv`],
    ...BACKEND,
  );
  const { stderr } = await succeed(
    folder,
    ...["classify", "--checkpoint", "folds", "--data", "set/manifest.csv"],
    ...["--predictions", "seen.csv", ...BACKEND],
  );
  assert.match(
    stderr,
    /^warning: the folds of folds were trained on 12 of these 20 images/m,
  );
});

Deno.test("an ensemble shows no place of one model, and needs a fold that is done", async () => {
  await Deno.mkdir(join(folder, "begun"));
  for (const file of ["crossval.json", "folds.csv"]) {
    await Deno.copyFile(
      join(folder, "folds", file),
      join(folder, "begun", file),
    );
  }
  await inParallel([
    {
      argv: ["folds", "--heatmap", "heat"],
      code: 2,
      message:
        /^Cannot write --heatmap of an ensemble: .* --checkpoint folds\/held-out\/fold-01$/,
    },
    {
      argv: ["begun"],
      code: 1,
      message: /^Cannot use begun as an ensemble: none of its folds is done/,
    },
  ], async ({ argv, code, message }) => {
    const result = await zoomin(
      folder,
      ...["classify", ...NEW, ...BACKEND, "--checkpoint", ...argv],
    );
    result.stderr = result.stderr.replace(/^ensemble of .*\n/m, "");
    assertFailsInOneLine(result, { code, message });
  });
});
