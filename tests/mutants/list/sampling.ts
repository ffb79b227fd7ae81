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
    file: "lib/sampling/expectation.ts",
    tests: ["tests/sampling/expectation_test.ts"],
    changes: [
      [
        "n < samples ? n / (samples - n) : 0",
        "n < samples ? 1 / (samples - n) : 0",
      ],
      [
        "n < samples ? samples / (samples - n) : 0",
        "n < samples ? samples / (samples - 1) : 0",
      ],
      ["tf.sub(g, layout.spread(others))", "tf.add(g, layout.spread(others))"],
      ["tf.mul(tf.sub(g, layout.spread(others)), spread)", "tf.mul(g, spread)"],
      ["samples / (samples - 1)),", "1),"],
      ["counts[tile]! / samples;\n    });", "1 / samples;\n    });"],
      [
        "const after = tf.sub(tf.sub(n, 1), layout.order());",
        "const after = tf.sub(n, layout.order());",
      ],
      [
        "tf.relu(tf.sub(1, layout.sumBefore(b)))",
        "tf.sub(1, layout.sumBefore(b))",
      ],
      [
        "tf.cumsum(this.#table(values), 1, true)",
        "tf.cumsum(this.#table(values), 1, false)",
      ],
      ["layout.sumBefore(g), tf.mul(k, g)", "layout.sumBefore(g), g"],
      ["if (samples === 1) return", "if (samples === 0) return"],
      ["count / draws.samples),", "1 / draws.samples),"],
      ["tf.maximum(alpha, MIN_ATTENTION)", "alpha"],
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
