import assert from "node:assert/strict";
import type { ManifestEntry } from "../../lib/data/manifest.ts";
import type { RoiSource } from "../../lib/data/rois.ts";
import { summariseHits } from "../../lib/eval/attention_hits.ts";
import type { EvaluatedImage } from "../../lib/eval/evaluate.ts";
import { evaluationReport, predictionTable } from "../../lib/eval/report.ts";
import { ImageError } from "../../lib/errors.ts";

const CLASSES = ["no", "yes"];
const SIZE = { width: 100, height: 50 };
const OBJECT = { x: 10, y: 10, width: 0, height: 0 };
const ON_IT = { x: 5, y: 5, width: 10, height: 10 };
const BESIDE = { ...ON_IT, x: 60 };

/** An image of `group` that is called `p` likely to be a "yes". */
function evaluated(
  name: string,
  { label, p, group, hit = false }: {
    label: "no" | "yes";
    p: number;
    group?: string;
    hit?: boolean;
  },
): EvaluatedImage {
  const entry: ManifestEntry = {
    image: name,
    path: `/${name}`,
    label,
    classIndex: CLASSES.indexOf(label),
    ...(group !== undefined && { group }),
    manifest: "manifest.csv",
    line: 2,
  };
  return {
    entry,
    classification: {
      label: CLASSES[p > 0.5 ? 1 : 0]!,
      probabilities: { no: 1 - p, yes: p },
      image: SIZE,
      tiles: [],
      subTiles: [{ ...(hit ? ON_IT : BESIDE), weight: 1 }],
      timings: {},
      bytesRead: 0,
      requests: 0,
      warnings: [],
    },
  };
}

// Marked objects in the images of label "yes" only.
const ROIS: RoiSource = {
  of: ({ label }) => Promise.resolve(label === "yes" ? [OBJECT] : []),
  has: () => Promise.resolve(true),
  relevant: () => true,
};

Deno.test("a report draws whole patients, for the attention too", async () => {
  // Ann's three images hit, Bob's three do not; an image without objects first.
  const images = [
    evaluated("0", { label: "no", p: 0.2, group: "Cy" }),
    ...[1, 2, 3].map((i) =>
      evaluated(`${i}`, { label: "yes", p: 0.9, group: "Ann", hit: true })
    ),
    ...[4, 5, 6].map((i) =>
      evaluated(`${i}`, { label: "yes", p: 0.3, group: "Bob" })
    ),
  ];
  const { attention, metrics } = await evaluationReport(
    { images, failures: [] },
    { classes: CLASSES, rois: ROIS, seed: 3 },
  );
  assert.equal(attention!.images, 6);
  assert.equal(attention!.drawn.value, 0.5);
  // Of two patients a resample is (1, 1), (1, 0) or (0, 0), so it reaches the
  // ends; of six images the 2.5th percentile would be 1 / 6.
  assert.deepEqual(attention!.drawn.interval, { low: 0, high: 1 });
  const { chance } = attention!;
  assert.equal(chance.value, 100 / (SIZE.width * SIZE.height));
  assert.equal(metrics.accuracy.value, 4 / 7);

  const alone = summariseHits(
    [1, 1, 1, 0, 0, 0].map((hit) => ({
      drawn: hit,
      mass: hit,
      top: hit,
      chance: 0.02,
    })),
    { seed: 3 },
  );
  assert.ok(alone!.drawn.interval!.low > 0, "the test tells them apart");
});

Deno.test("a report without marked objects says nothing of attention", async () => {
  const images = [
    evaluated("a", { label: "no", p: 0.2 }),
    evaluated("b", { label: "no", p: 0.7 }),
  ];
  const error = new ImageError("Cannot open c");
  const { entry } = evaluated("c", { label: "yes", p: 0.5 });
  for (const rois of [undefined, ROIS]) {
    const report = await evaluationReport(
      { images, failures: [{ entry, error }] },
      { classes: CLASSES, rois, seed: 0 },
    );
    assert.equal(report.attention, null);
    assert.equal(report.images, 2);
    assert.deepEqual(report.failures, [{ image: "c", error: "Cannot open c" }]);
    assert.deepEqual(report.confusion, [[1, 1], [0, 0]]);
    assert.deepEqual(report.metrics.auc, { value: null, interval: null });
  }
});

Deno.test("a table of predictions quotes fields that need it", () => {
  const table = predictionTable(
    [evaluated("a, b.png", { label: "yes", p: 0.25 })],
    ["no", "yes"],
  );
  assert.equal(
    table,
    'image,label,predicted,p(no),p(yes)\n"a, b.png",yes,no,0.750000,0.250000\n',
  );
});
