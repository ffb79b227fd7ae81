import assert from "node:assert/strict";
import { join } from "node:path";
import { readLog } from "../../lib/train/run_log.ts";
import { folderOfFile, succeed, zoomin } from "./process.ts";

const SETTINGS = [
  ...["--preset", "objects", "--epochs", "2", "--backend", "wasm"],
  ...["network.head=evidence", "view.samples=4", "evaluation.samples=4"]
    .flatMap((setting) => ["--set", setting]),
];

const TARGETS = ["labels", "value", "ordinal", "survival"] as const;

const folder = folderOfFile(async (folder) => {
  for (const target of TARGETS) {
    await succeed(
      folder,
      ...["dataset", "objects", "--out", target, "--target", target],
      ...["--images", "16", "--validation", "8", "--test", "8"],
    );
    await succeed(
      folder,
      ...[
        "train",
        "--data",
        `${target}/manifest.csv`,
        "--out",
        `run-${target}`,
      ],
      ...[...SETTINGS, "--set", `target=${target}`],
    );
  }
});

/** Figures of each target, and what its report has. */
const EXPECTED = {
  labels: {
    metrics: ["auc", "averagePrecision", "f1", "exact"],
    page: /Precision and recall/,
    says: (result: Result) =>
      assert.equal(result.labels!.join(";"), result.label),
  },
  value: {
    metrics: ["mae", "spearman", "r2"],
    page: /Predicted and true values/,
    says: ({ value }: Result) => assert.ok(Number.isFinite(value)),
  },
  ordinal: {
    metrics: ["accuracy", "kappa", "mae"],
    page: /Confusion/,
    says({ label, probabilities }: Result) {
      assert.ok(label in probabilities);
      const sum = Object.values(probabilities).reduce((a, b) => a + b);
      assert.ok(Math.abs(sum - 1) < 1e-5);
    },
  },
  survival: {
    metrics: ["concordance"],
    page: /Kaplan-Meier/,
    says: ({ risk }: Result) => assert.ok(Number.isFinite(risk)),
  },
};

/** A line of `classify --json`. */
interface Result {
  label: string;
  probabilities: Record<string, number>;
  labels?: string[];
  value?: number;
  risk?: number;
  subTiles: { weight: number }[];
}

async function classified(target: string, ...more: string[]): Promise<Result> {
  const { stdout } = await succeed(
    folder,
    ...["classify", "--checkpoint", `run-${target}`, "--json"],
    ...["--backend", "wasm", ...more, `${target}/images/test_00003.png`],
  );
  return JSON.parse(stdout);
}

for (const target of TARGETS) {
  Deno.test(`${target}: trained, scored, classified and reported`, async () => {
    const { metrics, page, says } = EXPECTED[target];
    const run = `run-${target}`;
    const { stdout } = await succeed(
      folder,
      ...["eval", "--checkpoint", run, "--data", `${target}/manifest.csv`],
      ...["--backend", "wasm", "--json"],
    );
    const report = JSON.parse(stdout);
    assert.equal(report.target, target);
    assert.equal(report.images, 8);
    assert.deepEqual(Object.keys(report.metrics), metrics);
    const text = await succeed(
      folder,
      ...["eval", "--checkpoint", run, "--data", `${run}/splits.csv`],
      ...["--split", "test", "--backend", "wasm"],
    );
    assert.match(text.stdout, /on 8 images\n\nmetric +value/);
    says(await classified(target));
    const evaluation = join(folder, run, "evaluations");
    const html = await Deno.readTextFile(
      join(evaluation, `${target}-manifest-test`, "report.html"),
    );
    assert.match(html, page);
    assert.doesNotMatch(html, /NaN|undefined/);
  });
}

Deno.test("the weights and the heat map are of the label that is asked for", async () => {
  const own = await Promise.all(
    ["bowtie", "needle"].map((name) =>
      classified("labels", "--of", name, "--heatmap", `${name}.png`)
    ),
  );
  const weights = own.map(({ subTiles }) => subTiles.map((one) => one.weight));
  assert.notDeepEqual(weights[0], weights[1]);
  for (const all of weights) {
    assert.ok(Math.abs(all.reduce((a, b) => a + b) - 1) < 1e-4);
  }
  const strongest = await classified("labels");
  assert.ok(
    weights.some((all) =>
      all.every((x, i) => Math.abs(x - strongest.subTiles[i]!.weight) < 1e-6)
    ),
  );
  const [a, b] = await Promise.all(
    ["bowtie", "needle"].map((name) =>
      Deno.readFile(join(folder, `${name}-evidence.png`))
    ),
  );
  assert.notDeepEqual(a, b);
  const refused = await zoomin(
    folder,
    ...["classify", "--checkpoint", "run-labels", "--of", "cat"],
    ...["--backend", "wasm", "labels/images/test_00000.png"],
  );
  assert.match(
    refused.stderr,
    /Cannot show the evidence of "cat": the model has that of bowtie, needle/,
  );
  assert.notEqual(refused.code, 0);
});

Deno.test("folds of survival have means of the concordance index, and a report", async () => {
  const { stdout } = await succeed(
    folder,
    ...["train", "--data", "survival/manifest.csv", "--out", "folds"],
    ...[...SETTINGS, "--set", "target=survival", "--epochs", "1"],
    ...["--folds", "2", "--protocol", "held-out"],
  );
  assert.match(stdout, /held-out: concordance index \d/);
  const html = await Deno.readTextFile(join(folder, "folds", "report.html"));
  assert.match(html, /Kaplan-Meier/);
  const lines = await readLog(
    join(folder, "folds", "held-out", "fold-01", "log.jsonl"),
  );
  assert.ok("validationConcordance" in lines.at(-1)!);
});

Deno.test("check counts the labels of a table as its target reads them", async () => {
  for (
    const [target, labels] of [
      ["labels", { bowtie: 16, needle: 16 }],
      ["survival", {}],
    ] as const
  ) {
    const { stdout } = await succeed(
      folder,
      ...["check", `${target}/manifest.csv`, "--target", target, "--json"],
    );
    assert.deepEqual(JSON.parse(stdout).labels, labels);
  }
});

Deno.test("what a target cannot have is refused before any work, in one line", async () => {
  const data = ["--data", "labels/manifest.csv", "--out", "none"];
  for (
    const [argv, message] of [
      [
        ["--preset", "needle", "--set", "target=labels"],
        /referenceClass: must be null under target = labels/,
      ],
      [
        ["--preset", "objects", "--features", "scattering", "--boxes", "all"],
        /Cannot train on annotated objects under target = labels/,
      ],
    ] as const
  ) {
    const failed = await zoomin(
      folder,
      ...["train", ...data, ...argv, "--backend", "wasm"],
    );
    assert.notEqual(failed.code, 0);
    assert.match(failed.stderr, message);
  }
  const { code, stderr } = await zoomin(
    folder,
    ...["train", ...data, "--preset", "objects", "--set", "target=survival"],
    ...["--label-column", "split", "--backend", "wasm"],
  );
  assert.equal(code, 1);
  assert.match(stderr, /manifest\.csv:2: split is "train": write the time/);
});
