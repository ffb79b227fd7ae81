/** Faults in lib/image/. @module */
import type { MutantGroup } from "../mutant.ts";

export const IMAGE: readonly MutantGroup[] = [
  {
    file: "lib/image/resampled.ts",
    tests: ["tests/image/resampled_test.ts"],
    changes: [
      [
        "level.width >= size.width && level.height >= size.height",
        "level.width >= size.width || level.height >= size.height",
      ],
      ["const TOLERANCE = 0.02;", "const TOLERANCE = 0.2;"],
      ["const scale = own / mpp;", "const scale = mpp / own;"],
      [
        "const own = known ?? pyramid.mpp;",
        "const own = pyramid.mpp ?? known;",
      ],
      [
        "pyramid.levels.slice(this.#finer + 1)",
        "pyramid.levels.slice(this.#finer)",
      ],
      ["side >= 1 && side <= MAX_SIDE", "side <= MAX_SIDE"],
      [
        "const right = Math.ceil(cellEdge(x + width,",
        "const right = Math.ceil(cellEdge(x,",
      ],
      ["if (read) super.release(read);", ""],
      ["return this.inner.stored ?? this.inner;", "return this.inner;"],
    ],
  },
  {
    file: "lib/image/views.ts",
    tests: ["tests/image/views_test.ts"],
    changes: [
      ["&& phase.x === 0 && phase.y === 0", "&& phase.y === 0"],
      ["phase.x === 0 && phase.y === 0", "phase.x === 0"],
      ["        end,\n", ""],
      ["end.x >= width * size.width && ", ""],
      ["&& end.y >= height * size.height", ""],
      ["joined(strips, 1)", "joined(strips, 2)"],
      [
        "levels.length === 1 && width * height <= MAX_WHOLE",
        "levels.length === 1",
      ],
    ],
  },
  {
    file: "lib/image/level_parts.ts",
    tests: ["tests/image/views_test.ts"],
    changes: [
      ["at.region.x - shown.x", "at.region.x"],
      ["y: Math.min(shown.y, level.height - 1),", "y: shown.y,"],
      ["to.fill(row.at(-1)!, y * width, (y + 1) * width);", ""],
    ],
  },
  {
    file: "lib/image/level_geometry.ts",
    tests: ["tests/image/views_test.ts", "tests/image/geometry_test.ts"],
    changes: [
      ["const rest = begin - first * unit;", "const rest = 0;"],
      ["phase = Math.round(rest / unit * output);", "phase = 0;"],
      ["rest / shared];", "rest];"],
      ["Math.max(left, 0) : 0", "Math.max(left, 0) + 1 : 0"],
      [
        "phase: { x: x.phase, y: y.phase }",
        "phase: { x: y.phase, y: x.phase }",
      ],
      [
        "Math.abs(extent / times - levelExtent) < 1",
        "Math.abs(extent / times - levelExtent) < 2",
      ],
      [
        "[whole, whole - 1, whole + 1]",
        "[whole]",
        "no other number fits where the nearest does not: it would take a level of 2 w to 2 w + 1 px, and these fail both ways",
      ],
      [
        "ratio.pixels * to <= from * ratio.per",
        "ratio.pixels * to < from * ratio.per",
      ],
      ["Math.ceil(extent * per / pixels)", "Math.floor(extent * per / pixels)"],
      [
        "const last = Math.ceil((begin + part.count * step) / unit);",
        "const last = Math.floor((begin + part.count * step) / unit);",
      ],
      ["x: part.x + x,", "x,"],
      ["(level.width / image.width) * (level.height / image.height)", "1"],
      ["step / divisor(step, ratio) * ratio", "Math.max(step, ratio)"],
      ["Math.floor(share * (most + 1))", "Math.floor(share * most)"],
      ["extent: extent - most * step", "extent: extent - steps * step"],
    ],
  },
  {
    file: "lib/image/geometry.ts",
    tests: [
      "tests/image/geometry_test.ts",
      "tests/image/pyramids/crop_test.ts",
      "tests/eval/attention_hits_test.ts",
    ],
    changes: [
      [
        "Math.floor((index * (extent - 1)) / (count - 1))",
        "Math.floor((index * extent) / count)",
      ],
      ["return stride * scale <= 1 + ROUNDING;", "return stride * scale < 1;"],
      [
        "((location.column + 0.5) * image.width)",
        "(location.column * image.width)",
      ],
      [
        "y: centre.y - Math.floor(size.height / 2),",
        "y: centre.y - Math.ceil(size.height / 2),",
      ],
      ["x < region.x + region.width", "x <= region.x + region.width"],
      ["Math.min(to, limit) - Math.max(from, 0)", "Math.min(to, limit) - from"],
      ["- size.width + 1 +", "- size.width +"],
      ["extent * scale + ROUNDING", "extent * scale"],
      [
        "Math.min(Math.max(region.x + region.width, x), size.width)",
        "Math.min(region.x + region.width, size.width)",
      ],
      [
        "{ row: Math.floor(index / columns), column: index % columns }",
        "{ row: index % columns, column: Math.floor(index / columns) }",
      ],
    ],
  },
  {
    file: "lib/image/pyramids/orientation.ts",
    tests: [
      "tests/image/pyramids/oriented_test.ts",
      "tests/image/geometry_test.ts",
    ],
    changes: [
      ["[2, 3, 7, 8]", "[2, 3, 6, 7]"],
      ["[3, 4, 6, 7]", "[3, 4, 7, 8]"],
      ["size.width - x - width", "size.width - x"],
    ],
  },
  {
    file: "lib/image/tiff/decode/lzw.ts",
    tests: [
      "tests/image/tiff/decode/lzw_test.ts",
      "tests/image/tiff/pyramid_test.ts",
    ],
    changes: [
      ["next >= (1 << width) - early &&", "next >= (1 << width) &&"],
      [
        "repeat(out, last, lastLength + 1, size)",
        "repeat(out, last, lastLength, size)",
      ],
      ["code === next && last >= 0", "code >= next && last >= 0"],
    ],
  },
  {
    file: "lib/image/stains/stains.ts",
    tests: [
      "tests/image/stains/stains_test.ts",
      "tests/image/stains/normalisation_test.ts",
    ],
    changes: [
      [
        "times(first.slice(row, row + 3) as unknown as Vector, second)",
        "times(second.slice(row, row + 3) as unknown as Vector, first)",
      ],
      ["Math.max(DARKEST, value / 255)", "value / 255"],
      ["[haematoxylin, eosin, 1][stain]!", "[haematoxylin, eosin, 0][stain]!"],
      [
        "[cross(b, c), cross(c, a), cross(a, b)]",
        "[cross(b, c), cross(a, c), cross(a, b)]",
      ],
    ],
  },
  {
    file: "lib/image/stains/normalisation.ts",
    tests: ["tests/image/stains/normalisation_test.ts"],
    changes: [
      ["one[0] > other[0]", "one[0] < other[0]"],
      ["r + g + b >= 3 * MIN_DENSITY", "r + g + b >= 0"],
      [
        "- mean[Math.floor(at / 3)]! * mean[at % 3]!",
        "",
        "colours of two stains lie in one plane through 0, about their mean or not",
      ],
      ["1 / MAX_CHANGE,", "0,"],
      ["if (densities.length < MIN_PIXELS) return null;", ""],
    ],
  },
  {
    file: "lib/image/foreground/foreground.ts",
    tests: [
      "tests/image/foreground/tissue_test.ts",
      "tests/image/pyramids/crop_test.ts",
    ],
    changes: [
      [
        "cells[row * columns + column] === 1",
        "cells[column * rows + row] === 1",
      ],
      ["{ x: point.x + x, y: point.y + y }", "{ x: point.x, y: point.y }"],
      ["centre(block.row + row, 0)", "centre(row, 0)"],
    ],
  },
  {
    file: "lib/image/image_cache.ts",
    tests: ["tests/image/image_cache_test.ts"],
    changes: [
      ["size <= this.#images.maxSize", "size < this.#images.maxSize"],
      ["this.#images.get(path) ??", "this.#images.peek(path) ??"],
      ["this.#opening.get(path) ??", ""],
      ["if (--shared.users > 0) return;", ""],
      ["        release(shared);\n      },", "      },"],
      ["if (isOpen && size", "if (size"],
      ["    if (this.#closed) return;\n", ""],
      [
        "const image = await withSignal(shared.image, signal);",
        "const image = await shared.image;",
      ],
    ],
  },
  {
    file: "lib/image/pyramids/block_cache.ts",
    tests: ["tests/image/pyramids/block_cache_test.ts"],
    changes: [
      ["`${level}/${block}/${source}`", "`${block}/${source}`"],
      ["`${level}/${block}/${source}`", "`${level}/${block}`"],
      ["if (shared === undefined) throw error;", "throw error;"],
      ["this.#decoding === 0 || ", ""],
      [
        "      this.#bytes -= entry.bytes;\n      throw error;",
        "      throw error;",
      ],
      ["entry.abandon.abort();", ""],
      ["if (entry.waiting === 0) free(entry);", "free(entry);"],
    ],
  },
];
