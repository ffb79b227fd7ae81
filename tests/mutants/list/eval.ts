/** Faults in lib/eval/. @module */
import type { MutantGroup } from "../mutant.ts";

export const EVAL: readonly MutantGroup[] = [
  {
    file: "lib/eval/targets/concordance.ts",
    tests: ["tests/eval/targets/metrics_test.ts"],
    changes: [
      ["below + tied / 2", "below + tied"],
      [
        "for (const i of censored) later.add(ranks[i]!, counts[i]!);",
        "",
      ],
    ],
  },
  {
    file: "lib/eval/targets/kaplan_meier.ts",
    tests: ["tests/eval/targets/metrics_test.ts"],
    changes: [
      ["atRisk -= group.length;", "atRisk -= events;"],
      ["atRisk * (atRisk - events)", "atRisk * atRisk"],
    ],
  },
  {
    file: "lib/eval/metrics.ts",
    tests: ["tests/eval/metrics_test.ts"],
    changes: [
      ["values[c]! > values[best]!", "values[c]! >= values[best]!"],
      ["negatives + tiedNegatives / 2", "negatives + tiedNegatives"],
      [
        "Math.ceil(confidence * CALIBRATION_BINS) - 1",
        "Math.floor(confidence * CALIBRATION_BINS)",
      ],
      ["2 * row[c]! / occurrences", "row[c]! / occurrences"],
      [".filter((recall) => !Number.isNaN(recall))", ""],
      [
        "const occurrences = sum(row) + sum(confusion.map((other) => other[c]!));",
        "const occurrences = 2 * sum(row);",
      ],
      [
        "classes === 2 ? [1]",
        "classes === 2 ? [0]",
        "of two classes the one is ranked by 1 - p of the other: the area is the same",
      ],
      ["Math.max(row[label]!, Number.EPSILON)", "row[label]!"],
      [
        "confusion[labels[i]!]![predicted[i]!]!",
        "confusion[predicted[i]!]![labels[i]!]!",
      ],
      ["sum(gaps.map(Math.abs))", "Math.abs(sum(gaps))"],
    ],
  },
  {
    file: "lib/eval/bootstrap.ts",
    tests: ["tests/eval/bootstrap_test.ts"],
    changes: [
      ["Math.sqrt(squares / (count - 1))", "Math.sqrt(squares / count)"],
      ["studentT(count - 1)", "studentT(count)"],
      [
        "const place = q * (sorted.length - 1);",
        "const place = q * sorted.length;",
      ],
      ["const tail = (1 - CONFIDENCE) / 2;", "const tail = 1 - CONFIDENCE;"],
      ["groupCounts[groupOf[i]!]!;", "groupCounts[i]!;"],
      ["groupCounts.fill(0);", ""],
      ["randomKey(seed)", "randomKey(0)"],
    ],
  },
  {
    file: "lib/eval/attention_hits.ts",
    tests: ["tests/eval/attention_hits_test.ts"],
    changes: [
      [
        "clipRegion(centresHolding(middle, subTileSize), image)",
        "centresHolding(middle, subTileSize)",
      ],
      ["if (bottom <= reached) continue;", ""],
      ["bottom - Math.max(y, reached)", "bottom - y"],
      ["hits.length / subTiles.length", "hits.length / objects.length"],
      [
        "massToChance: chance === 0 ? null : mass / chance",
        "massToChance: chance === 0 ? null : drawn / chance",
      ],
    ],
  },
  {
    file: "lib/eval/heatmap/heatmap.ts",
    tests: ["tests/eval/heatmap/heatmap_test.ts"],
    changes: [
      ["(value) => alpha * value", "(value) => value"],
      ["shares[i] = overlap / (to - from);", "shares[i] = overlap;"],
      ["(value) => value / area", "(value) => value"],
    ],
  },
  {
    file: "lib/eval/geojson.ts",
    tests: ["tests/eval/geojson_test.ts"],
    changes: [
      ["x: x - (bounds?.x ?? 0)", "x: x + (bounds?.x ?? 0)"],
      [
        "    { x: x + width, y: y + height },\n    { x, y: y + height },",
        "    { x, y: y + height },\n    { x: x + width, y: y + height },",
      ],
      ["told.set(key, before + 1);", ""],
      ["index % COLOURS.length", "0"],
    ],
  },
];
