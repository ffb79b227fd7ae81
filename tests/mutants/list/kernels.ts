/** Faults in kernels/. @module */
import type { MutantGroup } from "../mutant.ts";

export const KERNELS: readonly MutantGroup[] = [
  {
    file: "kernels/colour/input_colours.ts",
    tests: ["tests/kernels/colour/input_colours_test.ts"],
    changes: [
      ["pixels % GROUP_PIXELS || GROUP_PIXELS", "GROUP_PIXELS"],
      ["if (shares) table.set(shares, OPTION.count);", ""],
      ["-one / deviation[c]!", "-one"],
      ["subarray(n * length, (n + 1) * length)", "subarray(0, length)"],
    ],
  },
  {
    file: "kernels/colour/wasm_routines.ts",
    tests: ["tests/kernels/colour/input_colours_test.ts"],
    changes: [
      ["minimum(value, share)", "minimum(value, value)"],
      ["f.maximum(value, darkest).set(value);", ""],
      ["f.minimum(sum, zero).set(sum);", ""],
      [".multiply(share, ofRow).set(share)", ""],
      ["if (shared) f.multiply(value, share).set(value);", ""],
      ["if (shared) f.multiply(shifts[c]!, share).set(shift);", ""],
      ["[1, 4, 7, 7]", "[1, 4, 6, 6]"],
    ],
  },
  {
    file: "kernels/wasm/elementary.ts",
    tests: ["tests/kernels/wasm/elementary_test.ts"],
    changes: [
      ["const ROOT_BITS = 0x3f3504f3;", "const ROOT_BITS = 0x3f000000;"],
      ["const LOWEST = -87.3;", "const LOWEST = -187.3;"],
    ],
  },
  {
    file: "kernels/conv/wasm/register_blocks.ts",
    tests: ["tests/kernels/conv/conv_test.ts"],
    changes: [
      [".sort((a, b) => a - b)", ""],
      ["run <= MAX_RUN ? run :", "run <= MAX_RUN ? run - 1 :"],
    ],
  },
  {
    file: "kernels/conv/wasm/padding.ts",
    tests: ["tests/kernels/conv/conv_test.ts"],
    changes: [
      ["clear(start, 1, before, 0);", ""],
      ["clear(start + before + inside, 1, image - before - inside, 0);", ""],
      ["row - xRow, row);", "row - xRow - pixel, row);"],
    ],
  },
  {
    file: "kernels/conv/wasm/kernels.ts",
    tests: [
      "tests/kernels/conv/conv_test.ts",
      "tests/kernels/conv/known_layers_test.ts",
    ],
    changes: [
      ["relus[layer] ? reluGradient(backend, dy, y) : dy", "dy"],
      ["for (const { dataId } of spent) backend.disposeData(dataId);", ""],
      [
        "for (let at = rows * together; at < length; at++)",
        "for (let at = length; at < length; at++)",
      ],
    ],
  },
  {
    file: "kernels/resample/area_means.ts",
    tests: ["tests/kernels/resample/downsample_test.ts"],
    changes: [
      ["from > 0 && from <= width", "from > 0 && from < width"],
      ["tail > 0 && to >= 0 && to < width", "tail > 0 && to > 0 && to < width"],
      ["weight === 0 || row < 0 ||", "weight === 0 || row <= 0 ||"],
      ["addRow(sums, source, last, rows.after[i]!);", ""],
      ["phase: phase?.x ?? 0,", "phase: phase?.y ?? 0,"],
      ["limit: end?.y ?? NO_END,", "limit: NO_END,"],
      ["const MAX_TOGETHER = 256;", "const MAX_TOGETHER = 2560;"],
    ],
  },
  {
    file: "kernels/resample/downsample.ts",
    tests: ["tests/kernels/resample/downsample_test.ts"],
    changes: [
      ["output < 1 || output > source", "output < 1 || output > source + 1"],
    ],
  },
  {
    file: "kernels/resample/wasm.ts",
    tests: ["tests/kernels/resample/downsample_test.ts"],
    changes: [
      ["width > 0 && last - first <= MAX_ROWS", "width > 0"],
      ["boxes: whole - cut, width: ends - left", "boxes: 0, width"],
      ["boxes: Number(rest > 0), width: rest", "boxes: 0, width"],
      ["Math.min(columnOf(whole), right)", "columnOf(whole)"],
      ["this.#result.fill(0, to, to + 3 * count);", ""],
      ["before[j] === 0 && after[j] === 0 &&", ""],
      ["(to + 3 * box) * FLOAT_BYTES", "to * FLOAT_BYTES"],
      ["end - VECTOR_PIXELS * PIXEL_BYTES", "end - 2 * PIXEL_BYTES"],
    ],
  },
  {
    file: "kernels/resample/axis_cover.ts",
    tests: ["tests/kernels/resample/downsample_test.ts"],
    changes: [
      ["cover.before[i] = first - start / output;", ""],
      ["Math.max(0, limit - start) / output", "0"],
      ["const start = phase + i * source", "const start = i * source"],
    ],
  },
  {
    file: "kernels/resample/downsample.wgsl",
    tests: ["tests/kernels/resample/downsample_test.ts"],
    gpu: true,
    changes: [
      ["params.phase.x, params.end.x,", "params.phase.x, params.end.y,"],
      ["(end + params.output - 1u)", "end"],
    ],
  },
  {
    file: "kernels/expectation/expectation.ts",
    tests: ["tests/sampling/expectation_test.ts"],
    changes: [
      ["(samples * mean - n * own)", "(samples * mean - own)"],
      ["(samples * mean - n * own)", "(samples * mean + n * own)"],
      ["(g - others) * share", "g * share"],
      ["(g - others) * share", "g - others"],
      ["(own - mean) * samples / (samples - 1),", "own - mean,"],
      ["count / samples * ofTiles[c]!;", "ofTiles[c]! / samples;"],
      ["(left + (n - 1 - k) * b) / n", "(left + (n - k) * b) / n"],
      ["Math.max(0, 1 - before)", "1 - before"],
      ["    before += b;\n    return", "    before = b;\n    return"],
      ["plain - k * g[k]!", "plain - g[k]!"],
      ["weighted += b * g[k]!;", "weighted += g[k]!;"],
      ["if (samples === 1) return { own", "if (samples === 0) return { own"],
      ["weight * share;", "weight;"],
      ["Math.max(tileAttention[c]!, MIN_ATTENTION)", "tileAttention[c]!"],
    ],
  },
  {
    file: "kernels/expectation/expectation.wgsl",
    tests: ["tests/kernels/expectation/expectation_test.ts"],
    gpu: true,
    changes: [
      ["(samples * mean - count * own)", "(samples * mean - own)"],
      ["(known_of_weights[s] - others) * share", "known_of_weights[s] * share"],
      ["plain - f32(k) * g)", "plain - g)"],
      ["tiles[i].row == tile.row", "true"],
      ["max(tile_attention[c], LEAST_ATTENTION)", "tile_attention[c]"],
      ["if (tiles[c].row != row) { continue; }", ""],
    ],
  },
  {
    file: "kernels/entropy/entropy.ts",
    tests: [
      "tests/kernels/entropy/entropy_test.ts",
      "tests/train/step/loss_test.ts",
    ],
    changes: [
      [
        "Math.log(p + EPSILON) + p / (p + EPSILON)",
        "Math.log(p + EPSILON) - p / (p + EPSILON)",
      ],
      ["if (p !== 0) entropy -=", "entropy -="],
      ["total + weight * sums[2 * row]!", "total + sums[2 * row]!"],
      ["upstream * weights[row]!", "weights[row]!"],
    ],
  },
  {
    file: "kernels/entropy/wasm.ts",
    tests: ["tests/kernels/entropy/entropy_test.ts"],
    changes: [
      ["const RUN = 8;", "const RUN = 4096;"],
      ["given[0]! * ofRows[row]!", "ofRows[row]!"],
      ["fill(0)", "fill(1)"],
      ["add(last.copyOf(attention, row), 1)", "last.copyOf(attention, row)"],
      ["gradient.set(last.values,", "last.values.fill(1,"],
    ],
  },
  {
    file: "kernels/entropy/entropy.wgsl",
    tests: ["tests/kernels/entropy/entropy_test.ts"],
    gpu: true,
    changes: [
      ["log(p + EPSILON) + p / (p + EPSILON)", "log(p + EPSILON)"],
      ["upstream[0] * weights", "weights"],
      ["-p * log(max(p, LEAST))", "-p * log(p)"],
    ],
  },
  {
    file: "kernels/adamw/adamw.ts",
    tests: [
      "tests/kernels/adamw/adamw_test.ts",
      "tests/train/optimizer_test.ts",
    ],
    changes: [
      ["learningRate / (1 - BETA1 ** steps)", "learningRate"],
      ["1 / (1 - BETA2 ** steps)", "1"],
      ["1 - learningRate * weightDecay", "1 - weightDecay"],
      ["(1 - BETA2) * g * g", "BETA2 * g * g"],
      ["norm <= clipNorm ? 1 : clipNorm / norm", "clipNorm / norm"],
      ["+ EPSILON) * rate", ") * rate"],
    ],
  },
  {
    file: "kernels/adamw/adamw.wgsl",
    tests: ["tests/kernels/adamw/adamw_test.ts"],
    gpu: true,
    changes: [
      ["1.0, norm <= params.clip_norm", "1.0, true"],
      ["(1.0 - BETA2) * gradient", "BETA2 * gradient"],
      ["at >= table[i].start", "at > table[i].start"],
    ],
  },
  {
    file: "kernels/colour/input_colours.wgsl",
    tests: ["tests/kernels/colour/input_colours_test.ts"],
    gpu: true,
    changes: [
      ["vec3f(inside));\n", "vec3f(1.0));\n"],
      ["min(exp(changed), vec3f(1.0))", "exp(changed)"],
      ["mean * inside) / deviation", "mean) / deviation"],
      ["params.height + index % params.width", "index % params.width"],
    ],
  },
  {
    file: "kernels/loss/cross_entropy.ts",
    tests: ["tests/kernels/loss/cross_entropy_test.ts"],
    changes: [
      ["weight * Math.exp(log)", "Math.exp(log)"],
      ["if (wanted[c] !== 0) loss -= wanted[c]! * log;", "loss -= log;"],
    ],
  },
  {
    file: "kernels/step_report/step_report.ts",
    tests: ["tests/kernels/step_report/step_report_test.ts"],
    changes: [
      [
        "(square - sumOf(SAME)) / (rows * (rows - 1))",
        "square / (rows * rows)",
      ],
      ["let i = 1; i < sums.length", "let i = 0; i < sums.length"],
    ],
  },
  {
    file: "kernels/unit_rows/unit_rows.ts",
    tests: ["tests/kernels/unit_rows/unit_rows_test.ts"],
    changes: [
      ["length > MIN_LENGTH ? 1 / length : 0", "1 / length"],
      ["upstream[i]! - y[i]! * along", "upstream[i]!"],
    ],
  },
  {
    file: "kernels/unit_rows/unit_rows.wgsl",
    tests: ["tests/kernels/unit_rows/unit_rows_test.ts"],
    gpu: true,
    changes: [
      ["1.0 / length, length > LEAST_LENGTH", "1.0 / length, true"],
      ["upstream[at] - unit[at] * along", "upstream[at]"],
    ],
  },
  {
    file: "kernels/random.ts",
    tests: ["tests/kernels/random_test.ts"],
    changes: [
      ["const limit = TWO_32 - (TWO_32 % n);", "const limit = TWO_32;"],
      ["while (bits >= limit)", "while (bits > limit)"],
      ["this.below(i + 1)", "this.below(i)"],
      ["pcg4d(word, high, key[0], key[1])", "pcg4d(word, 0, key[0], key[1])"],
      ["Math.sqrt(2 * exponential", "Math.sqrt(exponential"],
      ["(bits + 0.5) / TWO_32", "bits / TWO_32"],
    ],
  },
  {
    file: "kernels/random.wgsl",
    tests: ["tests/kernels/sample/sample_test.ts"],
    gpu: true,
    changes: [["  v ^= v >> vec4u(16u);\n", ""]],
  },
  {
    file: "kernels/sum/sums.ts",
    tests: ["tests/kernels/sum/sums_test.ts"],
    changes: [
      ["before = out;", ""],
      ["let i = vectors * LANES; i < sum.length", "let i = sum.length; i < 0"],
    ],
  },
  {
    file: "kernels/sample/wasm_routines.ts",
    tests: ["tests/kernels/sample/sample_test.ts"],
    changes: [
      ["32 * Math.LN2 + MARGIN", "31 * Math.LN2 + MARGIN"],
      ["addProduct(z, start[1], x, y);", ""],
      ["addIntegers(column, four).set(column)", "get(column).set(column)"],
    ],
  },
  {
    file: "kernels/sample/sample.ts",
    tests: ["tests/kernels/sample/sample_test.ts"],
    changes: [
      ["column = offset.column;\n      row++;", "column = 0;\n      row++;"],
      ["(Math.clz32(bits) + 1) * Math.LN2", "Math.clz32(bits) * Math.LN2"],
      ["if (first === columns) [row, first]", "if (first < 0) [row, first]"],
      ["const column = offset.column + first;", "const column = first;"],
      ["tf.relu(tf.sub(1, attention))", "tf.sub(1, attention)"],
      [
        "key: [keys[2 * row]!, keys[2 * row + 1]!]",
        "key: [keys[0]!, keys[1]!]",
      ],
    ],
  },
  {
    file: "kernels/sample/sample.wgsl",
    tests: ["tests/kernels/sample/sample_test.ts"],
    gpu: true,
    changes: [
      ["params.column_offset + index", "index"],
      ["indices[a] < indices[b]", "indices[a] > indices[b]"],
      ["pair.index <= known_indices", "pair.index < known_indices"],
    ],
  },
  {
    file: "kernels/sample/top_k.ts",
    tests: ["tests/kernels/sample/top_k_test.ts"],
    changes: [
      ["this.#indices[slot]! > index", "this.#indices[slot]! < index"],
      ["let child = 2 * slot + 1;", "let child = 2 * slot + 2;"],
      [
        "this.#size < this.k ? -Infinity",
        "this.#size <= this.k ? -Infinity",
        "offer() decides; the threshold only spares it what it would refuse",
      ],
    ],
  },
  {
    file: "kernels/sample/with_replacement.ts",
    tests: ["tests/kernels/sample/with_replacement_test.ts"],
    changes: [
      ["m === 1 ? key :", "m === 0 ? key :"],
      ["this.#noise(this.count + 1)", "this.#noise(this.count)"],
      [
        "Math.exp(values[0]! - values[rank]!)",
        "Math.exp(values[rank]! - values[0]!)",
      ],
      ["this.#left -= whole;", "this.#left -= 1;"],
      ["column: offset.column + (index % columns)", "column: index % columns"],
    ],
  },
  {
    file: "kernels/softmax/softmax.ts",
    tests: ["tests/kernels/softmax/softmax_test.ts"],
    changes: [
      ["const scale = sum === 0 ? 0 : 1 / sum;", "const scale = 1 / sum;"],
      ["(upstream[i]! - dot)", "(upstream[i]! + dot)"],
    ],
  },
  {
    file: "kernels/softmax/softmax.wgsl",
    tests: ["tests/kernels/softmax/softmax_test.ts"],
    gpu: true,
    changes: [
      ["a.y * exp(a.x - highest) + b.y", "a.y + b.y"],
      ["(upstream[i] - dot_product)", "upstream[i]"],
    ],
  },
  {
    file: "kernels/pool/max_pool.ts",
    tests: ["tests/kernels/pool/max_pool_test.ts"],
    changes: [
      ["x[a]! >= x[b]! ? a : b", "x[a]! > x[b]! ? a : b"],
      ["y + 1 < height; y += 2", "y < height; y += 2"],
      ["to.fill(0); // an odd", "// an odd"],
    ],
  },
  {
    file: "kernels/pool/max_pool.wgsl",
    tests: ["tests/kernels/pool/max_pool_test.ts"],
    gpu: true,
    changes: [
      ["select(given, Element(0), a == largest)", "given"],
      ["+ 2u * row) * params.width", "+ row) * params.width"],
    ],
  },
  {
    file: "kernels/resample/gather_patches.ts",
    tests: ["tests/kernels/resample/gather_patches_test.ts"],
    changes: [
      ["regionSize.width + x + left;", "regionSize.width + x;"],
      [
        "Math.min(height, regionSize.height - y)",
        "Math.min(height, regionSize.height)",
        "below the last row there are no bytes, which count as 0",
      ],
      ["(pixel >> 8) & 255", "(pixel >> 16) & 255"],
    ],
  },
  {
    file: "kernels/resample/gather_patches.wgsl",
    tests: ["tests/kernels/resample/gather_patches_test.ts"],
    gpu: true,
    changes: [["all(at >= vec2i(0)) && ", ""]],
  },
  {
    file: "kernels/conv/conv.ts",
    tests: ["tests/kernels/conv/conv_test.ts"],
    changes: [
      [
        "run(CONV_INPUT_GRADIENT, { dy: upstream,",
        "run(CONV_INPUT_GRADIENT, { dy: dy as tf.Tensor,",
      ],
      [
        "const y = oy * s.stride + ky - s.padding;",
        "const y = oy * s.stride + ky + s.padding;",
      ],
      ["(length + 2 * padding - kernel)", "(length + padding - kernel)"],
      [
        "dBias[at % shape.outputs]! += dy[at]!",
        "dBias[at % shape.outputs]! = dy[at]!",
      ],
    ],
  },
  {
    file: "kernels/gradients.ts",
    tests: ["tests/kernels/gradients_test.ts"],
    changes: [
      ["tf.sub(1, tf.square(y!))", "tf.sub(1, y!)"],
      [
        "tf.matMul(dy as tf.Tensor, b!, false, true)",
        "tf.matMul(dy as tf.Tensor, b!, false, false)",
      ],
      ["axis < added || shape[axis - added] === 1", "axis < added"],
    ],
  },
];
