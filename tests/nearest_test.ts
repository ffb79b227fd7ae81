import assert from "node:assert/strict";
import { nearest } from "../lib/nearest.ts";

const KNOWN = ["image", "label", "split", "fold", "training.learningRate"];

Deno.test("nearest finds the word that was meant", () => {
  for (
    const [word, meant] of [
      ["lable", "label"], // two letters change places
      ["imag", "image"], // one is missing
      ["folds", "fold"], // one too many
      ["SPLIT", "split"],
      ["training.learningrate", "training.learningRate"],
      ["label", "label"],
    ] as const
  ) assert.equal(nearest(word, KNOWN), meant);
});

Deno.test("nearest offers nothing for another word, or for a letter", () => {
  for (const word of ["", "f", "xy", "patient", "learningRate"]) {
    assert.equal(nearest(word, KNOWN), undefined, word);
  }
  assert.equal(nearest("label", []), undefined);
});

Deno.test("of two names equally near the first is taken", () => {
  assert.equal(nearest("fond", ["fold", "find"]), "fold");
});
