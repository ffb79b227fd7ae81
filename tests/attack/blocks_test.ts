/** Images that take long for their few bytes. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { openImage } from "../../lib/image/open.ts";
import { DEFAULT_LIMITS } from "../../lib/serve/limits.ts";
import { folderOfFile } from "../commands/process.ts";
import {
  assertRefused,
  drawModels,
  ended,
  post,
  withServer,
} from "../serve/served.ts";
import { tiffOfTiles } from "./shared_tiles.ts";

const folder = folderOfFile(drawModels);

Deno.test("a view of too many blocks is refused, or left to a job", async () => {
  const limits = {
    ...DEFAULT_LIMITS,
    viewBlocks: { waited: 100, ofJob: 1000 },
  };
  const path = join(folder, "set", "tiles.tif");
  await withServer(folder, { limits }, async (url) => {
    await Deno.writeFile(path, tiffOfTiles(320)); // 400 blocks
    const ask = { path: "tiles.tif" };
    const { error } = await assertRefused(
      await post(`${url}/v1/classify`, ask),
      {
        status: 422,
        error:
          /read from 400 blocks, and at most 100 are allowed; .*respond-async/,
      },
    );
    assert.doesNotMatch(error, new RegExp(folder));
    const asJob = async () => {
      const answer = await post(`${url}/v1/classify`, ask, {
        prefer: "respond-async",
      });
      return await ended(url, (await answer.json()).id);
    };
    const { state, error: fault } = await asJob();
    assert.equal(state, "succeeded", fault ?? "");
    await Deno.writeFile(path, tiffOfTiles(640)); // 1600 blocks
    assert.match((await asJob()).error!, /at most 1000 are allowed; store/);
  });
});

Deno.test("reading of many blocks can be stopped, whatever they hold", async () => {
  const path = join(folder, "tiles.tif");
  for (const sparse of [false, true]) {
    await Deno.writeFile(path, tiffOfTiles(8192, { sparse }));
    const image = await openImage(path, { heldPixels: 0 });
    const given = new AbortController();
    const timer = setTimeout(() => given.abort(), 1);
    const all = { x: 0, y: 0, width: image.width, height: image.height };
    await assert.rejects(image.read(all, 0, given.signal), {
      name: "AbortError",
    });
    clearTimeout(timer);
    image.close();
  }
});
