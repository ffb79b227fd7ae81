/** Faults in lib/sampling/. @module */
import type { MutantGroup } from "../mutant.ts";

export const SAMPLING: readonly MutantGroup[] = [
  {
    file: "lib/sampling/evidence.ts",
    tests: ["tests/sampling/evidence_test.ts"],
    changes: [
      ["counts[s]! / subTiles[s]!", "1 / subTiles[s]!"],
      ["samples * tiles[tile]!", "samples"],
      ["tf.mul(shares, spread(upstream", "tf.mul(1, spread(upstream"],
      ["elsewhere[row * rows.length + s] = 0", "elsewhere[s] = 0"],
      ["(progress - start) / (end - start)", "(progress - start) / end"],
    ],
  },
  {
    file: "lib/sampling/systematic.ts",
    tests: ["tests/sampling/systematic_test.ts"],
    changes: [
      ["* samples - start", "* samples"],
      ["sum / total * samples", "sum * samples"],
    ],
  },
  {
    file: "lib/sampling/entropy.ts",
    tests: ["tests/sampling/entropy_test.ts", "tests/train/step/loss_test.ts"],
    changes: [["if (p > 0) sums.entropy", "sums.entropy"]],
  },
  {
    file: "lib/sampling/streams.ts",
    tests: ["tests/sampling/streams_test.ts"],
    changes: [
      ["this.#sum * Math.exp(this.#max - value) + 1", "this.#sum + 1"],
      ["this.#max + Math.log(this.#sum)", "Math.log(this.#sum)"],
      ["else if (value !== -Infinity)", "else"],
      ["this.slope += p * entropySlope(p)", "this.slope += entropySlope(p)"],
      ["this.entropy -= p * log", "this.entropy += p * log"],
      ["this.negative += entropyTerm(p)", "this.negative -= entropyTerm(p)"],
      ["if (logit === -Infinity) continue;", ""],
      [
        "Math.log(Math.max(0, 1 - Math.exp(logit - logNormaliser)))",
        "Math.log(1 - Math.exp(logit - logNormaliser))",
      ],
      ["if (locations === 1) return logits;", ""],
      ["Math.floor(index / block.columns)", "Math.floor(index / columns)"],
      ["index % block.columns", "index % columns"],
    ],
  },
];
