/** Faults in lib/data/. @module */
import type { MutantGroup } from "../mutant.ts";

export const DATA: readonly MutantGroup[] = [
  {
    file: "lib/data/folds.ts",
    tests: ["tests/data/folds_test.ts"],
    changes: [
      ["n * n + 2 * n * excess", "2 * n * excess"],
      ["n * n + 2 * n * excess", "n * n - 2 * n * excess"],
      [
        "(n * n + 2 * n * excess) / wanted.get(label)!",
        "n * n + 2 * n * excess",
      ],
      [
        "b.entries.length - a.entries.length ||",
        "a.entries.length - b.entries.length ||",
      ],
      ["rarity(a) - rarity(b) ||", "rarity(b) - rarity(a) ||"],
      ["fold: partOf.get(entry)! + 1", "fold: partOf.get(entry)!"],
      [
        "const byName = groups.toSorted((a, b) =>\n    firstName(a) < firstName(b) ? -1 : 1\n  );",
        "const byName = groups;",
      ],
      ["randomKey(seed)", "randomKey(0)"],
      ["sizes[b]! < sizes[a]!", "sizes[b]! > sizes[a]!"],
      ["Math.max(1, share * n)", "share * n"],
      ["if (n < parts.length)", "if (n < parts.length - 1)"],
      ["`image ${path}` : `group ${group}`", "`${path}` : `${group}`"],
    ],
  },
  {
    file: "lib/data/manifest.ts",
    tests: ["tests/data/manifest_test.ts"],
    changes: [
      ["if (isPlausibleMpp(mpp)) return mpp;", "if (mpp > 0) return mpp;"],
      ["/^\\d{1,9}$/.test(word)", "/^\\d/.test(word)"],
      [
        "const names = classes ? [...classes] : sortClasses(entries);",
        "const names = sortClasses(entries);",
      ],
      [
        "Object.hasOwn(SPLITS, word) ? SPLITS[word] : undefined",
        "SPLITS[word]",
      ],
      [
        "isUrl(image) ? image : resolve(folder, image)",
        "resolve(folder, image)",
      ],
    ],
  },
  {
    file: "lib/data/leaks.ts",
    tests: ["tests/data/leaks_test.ts"],
    changes: [
      ["leaks.length > shown.length", "leaks.length > LEAKS_SHOWN + 1"],
      ["if (fold !== undefined) parts", "if (false) parts"],
      ["if (key === undefined) continue;", ""],
    ],
  },
  {
    file: "lib/data/rois.ts",
    tests: ["tests/data/rois_test.ts"],
    changes: [
      [
        "width: right - left, height: bottom - top",
        "width: right - left, height: right - left",
      ],
      ['type !== "lookalike"', 'type === "lookalike"'],
      ["right < left || bottom < top", "right < left && bottom < top"],
      ["type = row.fields.objectId", "type"],
    ],
  },
  {
    file: "lib/data/table.ts",
    tests: ["tests/data/manifest_test.ts", "tests/data/table_test.ts"],
    changes: [
      ["[columns, ...rows]", "[...rows]"],
      ["{ quoted_match: /^\\s|\\s$/ }", "{}"],
      ["columns.indexOf(column) < i", "columns.indexOf(column) > i"],
      [".toSorted((a, b) => a.line - b.line)", ""],
      ["if (size > MAX_BYTES) {", "if (false) {"],
      ["(records.at(-1)?.line ?? 0) + 1", "(records.at(-1)?.line ?? 0)"],
    ],
  },
];
