/** Faults in lib/data/. @module */
import type { MutantGroup } from "../mutant.ts";

export const DATA: readonly MutantGroup[] = [
  {
    file: "lib/data/folds.ts",
    tests: ["tests/data/folds_test.ts"],
    changes: [
      ["fold: partOf.get(entry)! + 1", "fold: partOf.get(entry)!"],
      ["parents.set(rootOf(site!), rootOf(first));", ""],
      ["`${site}\\0${label}`", "label"],
    ],
  },
  {
    file: "lib/data/assignment.ts",
    tests: ["tests/data/folds_test.ts"],
    changes: [
      ["n * n + 2 * n * excess", "2 * n * excess"],
      ["n * n + 2 * n * excess", "n * n - 2 * n * excess"],
      [
        "(n * n + 2 * n * excess) / wanted.get(name)!",
        "n * n + 2 * n * excess",
      ],
      [
        "b.entries.length - a.entries.length ||",
        "a.entries.length - b.entries.length ||",
      ],
      ["rarity(a) - rarity(b) ||", "rarity(b) - rarity(a) ||"],
      [
        "const byName = groups.toSorted((a, b) =>\n    firstName(a) < firstName(b) ? -1 : 1\n  );",
        "const byName = groups;",
      ],
      ["randomKey(seed)", "randomKey(0)"],
      ["#sizes[b]! < this.#sizes[a]!", "#sizes[b]! > this.#sizes[a]!"],
      ["if (change < -TIE) {", "if (change > TIE) {"],
      ["change -= filling.cost(group.strata, part);", ""],
      ["own.distance < least - TIE", "own.distance > least - TIE"],
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
        "const names = classes ? [...classes] : namesOf(entries, reader);",
        "const names = namesOf(entries, reader);",
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
    file: "lib/data/goals.ts",
    tests: ["tests/data/goals_test.ts"],
    changes: [
      ['part !== ""', "true"],
      ["label.endsWith(CENSORED) ? 0 : 1,", "1,"],
      ["? time : `${time}${CENSORED}`", "? `${time}${CENSORED}` : time"],
      ['return parts.length > 0 ? parts : [""];', "return [label];"],
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
      ['type !== "lookalike"', 'type === "lookalike"'],
      ['!type.endsWith("*")', "true"],
      ["!labels.has(type)", "true"],
      ["type === undefined || type === label ||", "type === undefined ||"],
      ["if (objects.size === 0) {", "if (false) {"],
      [
        "matchImages(path, images, { entries, names: false })",
        "matchImages(path, [], { entries, names: false })",
      ],
    ],
  },
  {
    file: "lib/data/annotations/csv.ts",
    tests: ["tests/data/rois_test.ts", "tests/data/annotations/file_test.ts"],
    changes: [
      [
        "width: right - left, height: bottom - top",
        "width: right - left, height: right - left",
      ],
      ["right < left || bottom < top", "right < left && bottom < top"],
    ],
  },
  {
    file: "lib/data/annotations/match.ts",
    tests: ["tests/data/rois_test.ts"],
    changes: [
      ["if (!names) return found;", ""],
      [
        "if (more.length === 0 && others.length === 0) {",
        "if (more.length === 0) {",
      ],
      [" && !alike.some(({ path }) => found.has(path))", ""],
    ],
  },
  {
    file: "lib/data/annotations/coco.ts",
    tests: ["tests/data/annotations/file_test.ts"],
    changes: [
      ["if (polygons.length > 0) return", "if (false) return"],
      ["corners.length % 2 !== 0", "false"],
      ["return [[...ring, ring[0]!]];", "return [ring];"],
    ],
  },
  {
    file: "lib/data/annotations/asap.ts",
    tests: ["tests/data/annotations/file_test.ts"],
    changes: [
      ["corners.sort((a, b) => a.order - b.order)", "corners"],
      ["if (depth > MAX_DEPTH)", "if (false)"],
      ["ordered.length < MIN_CORNERS", "false"],
    ],
  },
  {
    file: "lib/data/annotations/geojson.ts",
    tests: ["tests/data/annotations/file_test.ts"],
    changes: [
      ["if (depth < MAX_DEPTH) {", "if (depth <= MAX_DEPTH) {"],
      ['names.join(": ")', "names[0]"],
    ],
  },
  {
    file: "lib/data/annotations/places.ts",
    tests: ["tests/data/annotations/places_test.ts"],
    changes: [
      ["if (found.length === 0) found.push", "if (false) found.push"],
      ["from.y <= y === to.y <= y", "from.y < y === to.y < y"],
      ["a.distance - b.distance || a.toMiddle", "a.toMiddle"],
      [
        "a.distance - b.distance || a.toMiddle",
        "b.distance - a.distance || a.toMiddle",
      ],
      ["<= within)", "< within / 2)"],
      ["pair += 2", "pair += 1"],
      ["Math.min(1, Math.max(0, along))", "along"],
      [
        "for (const step of [1, -1]) {\n    for (let row",
        "for (const step of [1]) {\n    for (let row",
      ],
      [
        "for (const step of [1, -1]) {\n    for (let i",
        "for (const step of [1]) {\n    for (let i",
      ],
    ],
  },
  {
    file: "lib/data/annotations/seen.ts",
    tests: ["tests/data/annotations/seen_test.ts"],
    changes: [
      ["UNDONE[orientation] ?? orientation", "orientation"],
      ["orientedSize(size, orientation), undone", "size, undone"],
      ["rescaledRegion(at, stored, size)", "rescaledRegion(at, size, stored)"],
      ["x < right && y < bottom", "x <= right && y < bottom"],
    ],
  },
  {
    file: "lib/data/table.ts",
    tests: ["tests/data/manifest_test.ts", "tests/data/table_test.ts"],
    changes: [
      ["[columns, ...rows]", "[...rows]"],
      ["{ quoted_match: /^\\s|\\s$/ }", "{}"],
      ["header.lastIndexOf(name) !== at", "header.lastIndexOf(name) < at"],
      [".toSorted((a, b) => a.line - b.line)", ""],
      ["&& size <= MAX_BYTES", ""],
      ["rows.length === MAX_ROWS", "false"],
      ["${last + 1}: ${advice}", "${last}: ${advice}"],
    ],
  },
];
