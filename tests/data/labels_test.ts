import assert from "node:assert/strict";
import { checkLabels } from "../../lib/data/labels.ts";
import type { ManifestEntry } from "../../lib/data/manifest.ts";

function check(...labels: string[]): void {
  const entries = labels.map((label, i): ManifestEntry => ({
    image: `${i}.png`,
    path: `/${i}.png`,
    label,
    classIndex: 0,
    manifest: "m.csv",
    line: i + 2,
  }));
  checkLabels({ path: "m.csv", entries, target: "classes" }, "add --flag");
}

const DOUBTFUL: [string[], RegExp][] = [
  [
    ["1", "1.0", "0"],
    /^"1" \(1 image, line 2\) and "1\.0" \(1 image, line 3\): one class\?$/m,
  ],
  [["Neg", "pos", "neg"], /^"Neg" .* and "neg" .*: one class\?$/m],
  [["01", "1"], /"01" .* and "1"/],
  [["a b", "a  b"], /one class/],
  [
    ["x", "nan", "y", "nan"],
    /^"nan" \(2 images, line 3\): a missing value\?$/m,
  ],
  [["x", "NA"], /"NA" .*: a missing value/],
  [["x", "#N/A"], /a missing value/],
  [
    ["tumour ", "benign"],
    /^"tumour " \(1 image, line 2\): with a space at its end\?$/m,
  ],
];

for (const [labels, expected] of DOUBTFUL) {
  Deno.test(`checkLabels doubts ${JSON.stringify(labels)}`, () => {
    assert.throws(() => check(...labels), {
      name: "DataError",
      message: expected,
    });
  });
}

Deno.test("checkLabels says what to do", () => {
  assert.throws(
    () => check("x", "X"),
    /^DataError: Cannot take the labels of m\.csv as they are:\n.*\ncorrect them, or add --flag$/,
  );
});

Deno.test("checkLabels takes clear labels", () => {
  check("0", "1", "10", "-1");
  check("none", "tumour", "T1", "1a", "unknown");
  check("1", "11", "1.1");
});
