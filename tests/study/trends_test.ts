import assert from "node:assert/strict";
import { preset } from "../../lib/model/presets.ts";
import type { StudyRow } from "../../lib/study/rows.ts";
import type { Study, Variant } from "../../lib/study/study.ts";
import { trendCharts } from "../../lib/study/trends.ts";

function variant(series: string, chart: string, x: number): Variant {
  return {
    name: `${series} ${chart} ${x}`,
    about: "",
    data: "set",
    config: preset("needle"),
    protocols: ["held-out"],
    seeds: [0],
    trend: { chart, series, x },
  };
}

function row({ name }: Variant, mean: number): StudyRow {
  const accuracy = { mean, sd: null, low: mean - 0.25, high: mean + 0.25 };
  return { variant: name, accuracy } as StudyRow;
}

Deno.test("a chart has a line a method through what is done", () => {
  const variants = [
    variant("ours", "few", 10),
    variant("ours", "few", 0),
    variant("uniform", "few", 0),
    variant("ours", "many", 0), // not done
  ];
  const study = { variants, trendAxis: "share" } as unknown as Study;
  const rows = [0.5, 1, 0.25].map((mean, i) => row(variants[i]!, mean));
  const charts = trendCharts(study, rows);
  assert.deepEqual(charts.map(({ name }) => name), ["few"]);
  const lines = [...charts[0]!.svg.matchAll(/<polyline .*?points="(.*?)"/g)]
    .map(([, points]) => points);
  assert.deepEqual(lines, [
    "468,217 468,91", // the interval of (10, 0.5)
    "52,91 52,-35",
    "52,280 52,154",
    "52,28 468,154", // ours, from left to right
    "52,217", // uniform
  ]);
});
