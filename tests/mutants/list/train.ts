/** Faults in lib/train/. @module */
import type { MutantGroup } from "../mutant.ts";

export const TRAIN: readonly MutantGroup[] = [
  {
    file: "lib/train/dense/head/bag_loss.ts",
    tests: ["tests/train/dense/head/bag_loss_test.ts"],
    changes: [
      [
        "Math.log(locations / count) - Math.log(objects ?? total)",
        "-Math.log(count)",
      ],
      ["smoothing: SMOOTHING,", ""],
      ["all[place] = evidence[output]!", "all[output] = evidence[output]!"],
      ["= upstream * share;", "= upstream;"],
      ["at % outputs === output);", "true);"],
    ],
  },
  {
    file: "lib/train/dense/head/ensemble.ts",
    tests: ["tests/train/dense/head/ensemble_test.ts"],
    changes: [
      ['"g/weight": mean(', '"g/weight": ('],
      ["member === 0 ? seed", "member < 2 ? seed"],
    ],
  },
  {
    file: "lib/train/dense/head/head_arrays.ts",
    tests: [
      "tests/train/dense/head/head_arrays_test.ts",
      "tests/train/dense/teacher_test.ts",
    ],
    changes: [
      ["value > 0 ? sum * scale : 0", "sum * scale"],
      ["dropout ? 1 / (1 - DROPOUT) : 1", "1"],
      ["values[i]! / (1 - DROPOUT)", "values[i]!"],
    ],
  },
  {
    file: "lib/train/dense/projection.ts",
    tests: ["tests/train/dense/projection_test.ts"],
    changes: [
      ["values[k]! ** -0.25", "values[k]! ** -0.5"],
      ["bias[k]! -= mean[c]! * w", "bias[k]! += mean[c]! * w"],
      ["LEAST_VARIANCE * values[0]!", "-1"],
    ],
  },
  {
    file: "lib/train/dense/student_gradients.ts",
    tests: ["tests/train/dense/student_test.ts"],
    changes: [
      ["tf.mul(saved[0]!, tf.sum(goal, 1, true))", "saved[0]!"],
      ["x === 0 ? NEVER : 0", "0"],
    ],
  },
  {
    file: "lib/train/step/step.ts",
    tests: ["tests/train/step/step_test.ts"],
    changes: [
      ["new Map(steps), clipNorm", "new Map(steps), Infinity"],
      ["sum + squares[i]! : sum", "squares[i]! : sum"],
      ['name.endsWith("/weight") ? weightDecay : 0', "weightDecay"],
      ['name.endsWith("/weight") ? weightDecay : 0', "0"],
      [
        "isAttention(name) ? attentionLearningRate : learningRate",
        "learningRate",
      ],
      ["learningRate: base * rate", "learningRate: base"],
      [
        "passes.map(({ gradients }) => names",
        "[first!, first!].map(({ gradients }) => names",
      ],
    ],
  },
  {
    file: "lib/train/optimizer.ts",
    tests: ["tests/train/optimizer_test.ts"],
    changes: [
      ["this.#steps.set(name, count);", "this.#steps.set(name, 0);"],
      ["both.set(second, first.length);", ""],
      ["this.#takeApart(pack);", ""],
      ["(end += size) - size", "end += size"],
      ["half + start, half + end", "start, end"],
    ],
  },
  {
    file: "lib/train/step/micro_batch.ts",
    tests: [
      "tests/train/step/micro_batch_test.ts",
      "tests/train/step/block_gradients_test.ts",
      "tests/train/step/step_test.ts",
    ],
    changes: [
      ["composed(stains, densities)", "composed(densities, stains)"],
      [
        "(contrastive ? 1 : target.weight(ofRows[row]!, classWeights)) / of",
        "1 / of",
      ],
      ["contrastive ? reference : goals[image]!", "goals[image]!"],
      ["classes[goal[0]!] !== referenceClass,", "true,"],
      ["freezeAttention && isAttention(name)", "isAttention(name) && false"],
      ["training.entropyWeight / of;", "training.entropyWeight;"],
      ["part ? found?.cropped(part) : found", "found"],
      ["        share,\n      });", "        share: 0,\n      });"],
    ],
  },
  {
    file: "lib/train/step/block_gradients.ts",
    tests: ["tests/train/step/block_gradients_test.ts"],
    changes: [
      ["(ofTile.get(tile) ?? 0) + tiles[i]!", "tiles[i]!"],
      ["return p * (own - mean);", "return p * own;"],
      ["let mean = share * entropy!.tileMap.slope;", "let mean = 0;"],
      ["first += count;", ""],
      [
        "if (logit === -Infinity) return 0;",
        "",
        "p is 0 there, and what it is multiplied by is finite",
      ],
      ["shares.slice(firstTile,", "shares.slice(0,"],
    ],
  },
  {
    file: "lib/train/step/passes.ts",
    tests: ["tests/train/targets_test.ts"],
    changes: [
      ["given && lossesAt(given, look.places)", "given"],
      ["rows.push(...await logitsOf(model, look));", "rows.push([0]);"],
    ],
  },
  {
    file: "lib/train/step/evidence_loss.ts",
    tests: ["tests/train/step/evidence_loss_test.ts"],
    changes: [
      ["weight: BACKGROUND / of", "weight: BACKGROUND"],
      [
        "isBackground(shown[row]!) ? weight / counts[row]! : 0",
        "weight / counts[row]!",
      ],
      ["isBackground(own) ? outputs : own.length", "own.length"],
      ["(isBackground(own) ? BACKGROUND_PROPOSAL : 1) / of", "1 / of"],
      ["smoothing: SMOOTHING,", ""],
    ],
  },
  {
    file: "lib/train/schedule.ts",
    tests: ["tests/train/schedule_test.ts"],
    changes: [
      [
        "Math.floor((epoch - 1) / schedule.every)",
        "Math.floor(epoch / schedule.every)",
      ],
      ["(epoch - 1) / (epochs - 1)", "(epoch - 1) / epochs"],
      ["epochs === 1 ? 0 :", ""],
    ],
  },
  {
    file: "lib/train/augmentation.ts",
    tests: ["tests/train/augmentation_test.ts"],
    changes: [
      ["2 * random.uniform() - 1", "random.uniform()"],
      ["[1, 3, 6, 8]", "[1, 3, 5, 8]"],
      [
        "{ haematoxylin: factor(stains), eosin: factor(stains) }",
        "{ haematoxylin: factor(stains), eosin: 1 }",
      ],
    ],
  },
  {
    file: "lib/train/normalisation.ts",
    tests: ["tests/train/normalisation_test.ts"],
    changes: [
      ["square / count - mean[c]! ** 2", "square / count"],
      ["at += 4 * PIXEL_STEP, count++", "at += 4 * PIXEL_STEP"],
      [
        "await openAtMpp(cache, entry, mpp, signal)",
        "await openAtMpp(cache, entry, null, signal)",
      ],
    ],
  },
  {
    file: "lib/train/boxes.ts",
    tests: ["tests/train/boxes_test.ts"],
    changes: [
      [
        "if (paths.has(entry.path)) return source.of(entry);",
        "return source.of(entry);",
      ],
      ["(await allowed.of(entry))", "(await source.of(others[0] ?? entry))"],
      ["label !== referenceClass", "true"],
      ["if (objects.size >= most) break;", ""],
      ["randomKey(seed, BOXES)", "randomKey(BOXES)"],
      ["entries.toSorted((a, b) => a.path < b.path ? -1 : 1)", "[...entries]"],
      ["if (!outside) continue;", "continue;"],
      [".filter((object) => allowed.relevant(entry, object))", ""],
    ],
  },
  {
    file: "lib/train/runs/fold_task.ts",
    tests: ["tests/train/runs/crossval_test.ts"],
    changes: [
      [".sort((a, b) => a - b);\n  // In", ".sort((a, b) => b - a);\n  // In"],
      [
        "PROTOCOLS.filter((protocol) => protocols.includes(protocol))",
        "protocols",
      ],
      ["(folds ?? known).map", "known.map"],
      [".filter((fold) => fold !== undefined)", ""],
    ],
  },
  {
    file: "lib/train/runs/crossval.ts",
    tests: ["tests/train/runs/crossval_test.ts"],
    changes: [
      [
        "training.validation === 0 && training.patience === null",
        "training.validation === 0",
      ],
    ],
  },
  {
    file: "lib/train/epoch_choice.ts",
    tests: ["tests/train/trainer_test.ts"],
    changes: [
      [": -epoch; // nothing", ": epoch; // nothing"],
      ["-figures.testAccuracy!", "figures.testAccuracy!"],
      ["epoch - bestEpoch >= patience", "epoch - bestEpoch > patience"],
    ],
  },
  {
    file: "lib/train/trainer.ts",
    tests: ["tests/train/trainer_test.ts"],
    changes: [
      [
        "bestValue !== null && value >= bestValue",
        "bestValue !== null && value > bestValue",
      ],
      ["epoch >= contrastiveFrom", "epoch > contrastiveFrom"],
      ["epoch <= warm.frozenEpochs", "epoch < warm.frozenEpochs"],
      ["train.length / (classes.length * count)", "train.length / count"],
      [
        "config: { ...checkpoint.model.config, training }",
        "config: checkpoint.model.config",
      ],
    ],
  },
  {
    file: "lib/train/batches.ts",
    tests: ["tests/train/batches_test.ts"],
    changes: [
      [
        "randomKey(seed, purpose, epoch, index)",
        "randomKey(seed, purpose, index)",
      ],
      [
        "randomKey(this.#seed, SHUFFLE, epoch)",
        "randomKey(0, SHUFFLE, epoch)",
      ],
      ["closeAll(images);\n    throw", "throw"],
    ],
  },
];
