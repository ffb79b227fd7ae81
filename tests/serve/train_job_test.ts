import assert from "node:assert/strict";
import { DEFAULT_LIMITS } from "../../lib/serve/limits.ts";
import { folderOfFile } from "../commands/process.ts";
import {
  drawModels,
  ended,
  post,
  SMALL_SETTINGS,
  withServer,
} from "./served.ts";

const folder = folderOfFile(drawModels);

Deno.test("training refuses what classification refuses as too large", async () => {
  const limits = { ...DEFAULT_LIMITS, maxPixels: 100 * 100 }; // they have 128
  await withServer(folder, { limits }, async (url) => {
    const response = await post(`${url}/v1/train`, {
      ...{ data: "manifest.csv", name: "large", preset: "needle", epochs: 1 },
      settings: SMALL_SETTINGS,
    });
    const { id } = await response.json();
    const { state, error } = await ended(url, id);
    assert.equal(state, "failed");
    assert.match(error!, /images\/\w+.png.* more than the 10000 px allowed/);
  });
});
