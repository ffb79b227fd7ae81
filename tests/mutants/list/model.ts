/** Faults in lib/model/. @module */
import type { MutantGroup } from "../mutant.ts";

export const MODEL: readonly MutantGroup[] = [
  {
    file: "lib/model/zoom_in.ts",
    tests: ["tests/model/zoom_in_test.ts"],
    changes: [
      ["1 / (turn.locations - 1)", "1 / turn.locations"],
      ["isTurned(turn) ? -share[i]! : 1", "isTurned(turn) ? share[i]! : 1"],
      ["contrastive && locations > 1", "contrastive && locations > 0"],
    ],
  },
  {
    file: "lib/model/targets/classes.ts",
    tests: [
      "tests/model/targets/targets_test.ts",
      "tests/train/step/loss_test.ts",
      "tests/train/step/step_test.ts",
    ],
    changes: [
      [
        "table[start + target] = weight * (1 - smoothing);",
        "table[start + target] = 1;",
      ],
      ["return weight * (p - wanted);", "return p - wanted;"],
      [
        "values.indexOf(Math.max(...values)) === classIndex",
        "values.indexOf(Math.min(...values)) === classIndex",
      ],
    ],
  },
  {
    file: "lib/model/targets/cox.ts",
    tests: ["tests/model/targets/cox_test.ts"],
    changes: [
      ["atRisk - l / d * tied", "atRisk"],
      ["hazard[i]! * rateOfTied", "0"],
      ["passed[next]!.from > place", "passed[next]!.from >= place"],
      ["sort(([a], [b]) => b - a)", "sort(([a], [b]) => a - b)"],
    ],
  },
  {
    file: "lib/model/targets/labels.ts",
    tests: ["tests/model/targets/targets_test.ts"],
    changes: [
      ["weights[row]! / shape[1]", "weights[row]!"],
      ["fitted?.thresholds?.[place] ?? DEFAULT_THRESHOLD", "DEFAULT_THRESHOLD"],
    ],
  },
  {
    file: "lib/model/targets/ordinal.ts",
    tests: ["tests/model/targets/targets_test.ts"],
    changes: [
      ["place < grade! ? 1 : 0", "place <= grade! ? 1 : 0"],
      ["least = Math.min(least, value)", "value"],
    ],
  },
  {
    file: "lib/model/look/places.ts",
    tests: ["tests/model/look/places_test.ts"],
    changes: [
      ["(cell + 0.5) / side - 0.5", "cell / side - 0.5"],
      ["tf.sub(sums, Math.log(places))", "sums"],
    ],
  },
  {
    file: "lib/model/look/draw/sampler.ts",
    tests: [
      "tests/model/look/blocks_test.ts",
      "tests/model/zoom_in_test.ts",
    ],
    changes: [
      ["(locations?.[row] ?? columns) === 1", "columns === 1"],
      ["mask ? tf.add(weights, mask) : weights", "weights"],
      [
        "end = start + Math.min(count, locations)",
        "end = start + count",
      ],
    ],
  },
  {
    file: "lib/model/look/draw/sub_tile_draws.ts",
    tests: [
      "tests/model/look/blocks_test.ts",
      "tests/model/look/evidence_draws_test.ts",
    ],
    changes: [
      ["[first, 0], [size - first,", "[0, 0], [size - first,"],
      ["logs[tile * locations + index]!", "logs[index]!"],
      ["mask && tf.exp(mask) as tf.Tensor2D", "undefined"],
    ],
  },
  {
    file: "lib/model/look/draw/sampler.ts",
    tests: ["tests/model/look/evidence_draws_test.ts"],
    changes: [
      ["Float64Array.from(own, Math.exp)", "own.map(() => 1)"],
    ],
  },
  {
    file: "lib/model/look/draw/proposal.ts",
    tests: ["tests/model/look/evidence_draws_test.ts"],
    changes: [
      ["(1 - exploration) * alpha / proposal", "(1 - exploration) / proposal"],
      ["exploration * uniform / proposal", "exploration / proposal"],
      ["tf.sum(allowed, 1, true)", "beta.shape[1]"],
    ],
  },
  {
    file: "lib/model/look/draws.ts",
    tests: ["tests/model/look/support/support_test.ts"],
    changes: [
      [
        "support ? support.total : locations * rows * columns",
        "locations * rows * columns",
      ],
    ],
  },
  {
    file: "lib/model/look/support/support.ts",
    tests: ["tests/model/look/support/support_test.ts"],
    changes: [
      ["if (allowed?.[tile] === 0) continue;", ""],
      ["last.last = cell;", ""],
      ["const EDGE = 1e-6;", "const EDGE = -1e-6;"],
      ["if (!allowed) contrast[i] = -Infinity;", ""],
    ],
  },
  {
    file: "lib/model/look/support/in_blocks.ts",
    tests: ["tests/model/look/support/support_test.ts"],
    changes: [
      ["column - part.x", "column"],
      ["if (allowed?.[i] === 0) continue;", ""],
      ["{ view: size, halo: CONTRAST_RADIUS }", "{ view: size, halo: 0 }"],
    ],
  },
  {
    file: "lib/model/zoom_in.ts",
    tests: [
      "tests/train/step/evidence_loss_test.ts",
      "tests/model/look/evidence_blocks_test.ts",
    ],
    changes: [
      ["from < at ? from : from + 1", "from + 1"],
      ["objects ?? all", "all"],
      ['evidence.shape[1], 1, "int32"', 'evidence.shape[1], 2, "int32"'],
    ],
  },
  {
    file: "lib/model/look/draws.ts",
    tests: [
      "tests/model/look/draws_test.ts",
      "tests/model/look/blocks_test.ts",
      "tests/model/zoom_in_test.ts",
    ],
    changes: [
      [
        "randomKey(...image, STAGE1, contrastive ? 1 : 0)",
        "randomKey(...image, STAGE1, 0)",
      ],
      [
        "randomKey(...image, STAGE2, contrastive ? 1 : 0, tile)",
        "randomKey(...image, STAGE2, contrastive ? 1 : 0)",
      ],
      ["firstTile += draw.tiles.length", "firstTile += 1"],
    ],
  },
  {
    file: "lib/model/look/whole.ts",
    tests: [
      "tests/model/look/whole_test.ts",
      "tests/model/look/blocks_test.ts",
      "tests/model/zoom_in_test.ts",
    ],
    changes: [
      ["plain.sort((a, b) => a.image - b.image);", ""],
      ["all.set(mask, i * rows * columns)", "all.set(mask, 0)"],
    ],
  },
  {
    file: "lib/model/look/whole_look.ts",
    tests: [
      "tests/model/look/whole_test.ts",
      "tests/model/look/blocks_test.ts",
      "tests/model/zoom_in_test.ts",
    ],
    changes: [
      ["mask ? tf.add(logits, mask) : logits", "logits"],
      ["starts[image]! + tile", "tile"],
      ["row * size, (row + 1) * size", "0, size"],
      ["rest[tile] = 0;", ""],
      ["betas.subarray(at, at += locations)", "betas.subarray(0, locations)"],
    ],
  },
  {
    file: "lib/model/look/block_look.ts",
    tests: [
      "tests/model/look/blocks_test.ts",
      "tests/train/step/block_gradients_test.ts",
    ],
    changes: [
      ["shares[i]! * negative", "share * negative"],
      ["[negative, entropy]),", "[negative, negative]),"],
      ["drawn.has(indexInMap(block, i, map.columns))", "drawn.has(i)"],
    ],
  },
  {
    file: "lib/model/look/look.ts",
    tests: [
      "tests/train/step/micro_batch_test.ts",
      "tests/train/step/block_gradients_test.ts",
      "tests/train/step/step_test.ts",
    ],
    changes: [
      [
        "return contrastive ? 0 : share / tiles.length;",
        "return share / tiles.length;",
      ],
      [
        "return contrastive ? 0 : share / tiles.length;",
        "return contrastive ? 0 : share;",
      ],
    ],
  },
  {
    file: "lib/model/look/blocks.ts",
    tests: ["tests/model/look/blocks_test.ts"],
    changes: [
      [
        "(logit) => Math.exp(logit - tileMap.logNormaliser)",
        "(logit) => Math.exp(logit)",
      ],
      ["firstTile: firstTile + i * size", "firstTile"],
      ["values[i * count + index]!", "values[index]!"],
      [
        "contrastiveBlock(logits, { logNormaliser, locations }),",
        "contrastiveBlock(logits, { logNormaliser: 0, locations }),",
      ],
      [
        "subTileKey(this.#image.key, tile, contrastive)",
        "subTileKey(this.#image.key, tile, false)",
      ],
      ["if (!tiles[seen.glimpse]!.contrastive) {", "{"],
    ],
  },
  {
    file: "lib/model/look/tile_map.ts",
    tests: ["tests/model/look/blocks_test.ts"],
    changes: [
      ["logit + mask.values![i]!", "logit"],
      ["this.#room -= logits.length;", ""],
      [
        "      halo: ATTENTION_RADIUS,\n    });\n    const",
        "      halo: ATTENTION_RADIUS - 1,\n    });\n    const",
      ],
      ["width * height <= MAX_BLOCKS * blockPixels", "true"],
    ],
  },
  {
    file: "lib/model/look/input.ts",
    tests: [
      "tests/model/look/whole_test.ts",
      "tests/model/look/blocks_test.ts",
    ],
    changes: [
      [
        "x + width <= image.width && y + height <= image.height",
        "x + width <= image.height && y + height <= image.width",
      ],
    ],
  },
  {
    file: "lib/model/normalise.ts",
    tests: ["tests/model/normalise_test.ts"],
    changes: [
      [
        "tf.mean(tf.square(tf.sub(input as tf.Tensor, mean)), 0)",
        "tf.mean(tf.square(input as tf.Tensor), 0)",
      ],
      ["if (fixed) return [straight, dScale, dShift];", ""],
      ["tf.mul(share, dShift)", "dShift"],
    ],
  },
  {
    file: "lib/model/look/attention.ts",
    tests: [
      "tests/model/zoom_in_test.ts",
      "tests/model/look/blocks_test.ts",
    ],
    changes: [
      [
        "{ start: part.x, locations: part.width }",
        "{ start: part.y, locations: part.width }",
      ],
      ["all.set(matrix, n * rows * columns)", "all.set(matrix, 0)"],
      ["+= tile * ofTile", "+= tile"],
    ],
  },
  {
    file: "lib/model/mil_pooling.ts",
    tests: ["tests/model/mil_pooling_test.ts"],
    changes: [
      ["own === row ? 0 : ELSEWHERE", "0"],
      ["tf.tanh(tf.add(", "tf.relu(tf.add("],
    ],
  },
  {
    file: "lib/model/look/sub_tiles.ts",
    tests: ["tests/train/step/micro_batch_test.ts"],
    changes: [
      [
        "Math.max(1, Math.floor(pixels / area))",
        "Math.floor(pixels / subTileSize)",
      ],
      ["alone && hasBatchStatistics[network.features]", "alone"],
    ],
  },
  {
    file: "lib/model/safetensors.ts",
    tests: [
      "tests/model/safetensors_test.ts",
      "tests/model/checkpoint_test.ts",
    ],
    changes: [
      ["start + to > fileBytes", "to > fileBytes"],
      ["if (start > fileBytes) {", "if (start > fileBytes + 8) {"],
      ["if (next && next[1].from < to) {", "if (false) {"],
      [
        '{ dtype: "F32", shape, data_offsets: [size, end] }',
        '{ dtype: "F32", shape, data_offsets: [size, size] }',
      ],
    ],
  },
  {
    file: "lib/model/checkpoint.ts",
    tests: ["tests/model/checkpoint_test.ts"],
    changes: [
      ["if (`${found}` !== `${shape}`) {", "if (!found) {"],
      [
        "for (const name of [BEST, LAST]) {",
        "for (const name of [LAST, BEST]) {",
      ],
      ["tensors.set(TRAINER_PREFIX + name, tensor);", ""],
      ["name.slice(TRAINER_PREFIX.length), tensor", "name, tensor"],
    ],
  },
];
