/** Configurations that are valid, and cannot be trained: the job says why. */
import assert from "node:assert/strict";
import { ended, post, serverOfFile, SMALL_SETTINGS } from "../serve/served.ts";

const server = serverOfFile("--workers", "1");

const CASES: [settings: Record<string, number>, reason: RegExp][] = [
  [
    { "view.tileSize": 100_000 },
    /^Cannot train: the sizes .* more memory than an engine has \(.+\); lower view\.tileSize/,
  ],
  [
    { "view.tileSize": 100_000, "view.scale1": 1e-5, "view.scale2": 0.5 },
    /^Cannot train.* source width times result width must be < 2\^32/,
  ],
  [{ "training.learningRate": 1e30 }, /the loss is NaN/],
];

for (const [settings, reason] of CASES) {
  const name = Object.keys(settings).join(", ");
  Deno.test(`a training that cannot be done says why: ${name}`, async () => {
    const response = await post(`${server.url}/v1/train`, {
      data: "manifest.csv",
      name: "second",
      preset: "needle",
      settings: { ...SMALL_SETTINGS, ...settings },
      epochs: 1,
    });
    assert.equal(response.status, 202);
    const { id } = await response.json();
    const { state, error } = await ended(server.url, id);
    assert.equal(state, "failed");
    assert.match(error!, reason);
    assert.doesNotMatch(error!, /\n/);
  });
}
