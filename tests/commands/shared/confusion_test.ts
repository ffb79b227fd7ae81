import assert from "node:assert/strict";
import { confusionText } from "../../../lib/commands/shared/confusion.ts";

const CONFUSION = [[5, 1], [2, 4]];

Deno.test("a confusion matrix keeps its names where there is room", () => {
  const lines = confusionText(
    CONFUSION,
    ["adenocarcinoma", "benign"],
    Infinity,
  );
  assert.deepEqual(lines.slice(-3), [
    "                  adenocarcinoma          benign",
    "  adenocarcinoma               5               1",
    "          benign               2               4",
  ]);
});

Deno.test("a confusion matrix cuts its names to fit the terminal", () => {
  const lines = confusionText(CONFUSION, ["adenocarcinoma", "benign"], 30);
  assert.deepEqual(lines.slice(-3), [
    "            adenoca…    benign",
    "  adenoca…         5         1",
    "    benign         2         4",
  ]);
  assert.ok(lines.every((line) => line.length <= 30));
});

Deno.test("of too many classes the pairs that are confused most are listed", () => {
  const classes = Array.from({ length: 40 }, (_, i) => `class ${i}`);
  const confusion = classes.map((_, i) =>
    classes.map((_, j) => i === j ? 9 : j === i + 1 ? i : 0)
  );
  const lines = confusionText(confusion, classes, 80);
  assert.equal(lines[1], "     38 of class 38 called class 39");
  assert.equal(lines.length, 14);
  assert.equal(lines.at(-1), "  and 26 more pairs");
  assert.ok(lines.every((line) => line.length <= 80));
});
