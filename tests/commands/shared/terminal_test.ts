import assert from "node:assert/strict";
import { duration, figure } from "../../../lib/commands/shared/terminal.ts";

Deno.test("durations are written as people read them", () => {
  const texts: [seconds: number, text: string][] = [
    [0, "0 s"],
    [0.4, "0 s"],
    [42.2, "42 s"],
    [59.4, "59 s"],
    [59.5, "1 min 00 s"], // not 60 s
    [65, "1 min 05 s"],
    [3599.4, "59 min 59 s"],
    [3599.5, "1 h 00 min"],
    [3725, "1 h 02 min"],
    [100 * 3600, "100 h 00 min"],
  ];
  for (const [seconds, text] of texts) assert.equal(duration(seconds), text);
});

Deno.test("figures have three digits, and a dash where they are undefined", () => {
  assert.equal(figure(0.12345), "0.123");
  assert.equal(figure(12), "12.000");
  assert.equal(figure(-0.5), "-0.500");
  assert.equal(figure(null), "-");
  assert.equal(figure(undefined), "-");
});
