/** Images that crash the engine under what others have asked for. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { DEFAULT_LIMITS } from "../../lib/serve/limits.ts";
import { folderOfFile } from "../commands/process.ts";
import { drawModels, ended, post, until, withServer } from "../serve/served.ts";
import { eventually } from "../waiting.ts";

const folder = folderOfFile(async (folder) => {
  await drawModels(folder);
  await Deno.copyFile(
    join(folder, "set", "images", "test_00000.png"),
    join(folder, "set", "crash.png"),
  );
});

// More than end a job that causes them.
const CRASHES = 12;

Deno.test("a caller's image that crashes the engine ends no job", async () => {
  const held = join(folder, "held");
  await Deno.writeTextFile(held, "");
  const engineModule = new URL("../serve/crashing_engine.ts", import.meta.url);
  engineModule.searchParams.set("file", held);
  const limits = { ...DEFAULT_LIMITS, aloneMs: 1 };
  const options = { engineModule, limits };
  await withServer(folder, options, async (url, { engine }) => {
    const accepted = await post(`${url}/v1/jobs`, {
      kind: "classify",
      path: "images/test_00000.png",
    });
    const { id } = await accepted.json();
    for (let crashes = 1; crashes <= CRASHES; crashes++) {
      await until(url, id, ({ attempts }) => attempts >= crashes);
      await eventually("the engine has the job", () => engine.busy > 0);
      const crash = await post(`${url}/v1/classify`, { path: "crash.png" });
      await crash.body?.cancel();
      assert.equal(crash.status, 503);
    }
    await Deno.remove(held);
    const job = await ended(url, id);
    assert.equal(job.state, "succeeded", job.error ?? "");
    assert.ok(job.attempts > CRASHES);
  });
});

Deno.test("a job whose image crashes the engine is given up", async () => {
  const engineModule = new URL("../serve/crashing_engine.ts", import.meta.url);
  engineModule.searchParams.set("file", join(folder, "none"));
  const limits = { ...DEFAULT_LIMITS, aloneMs: 10 };
  await withServer(folder, { engineModule, limits }, async (url) => {
    const accepted = await post(`${url}/v1/jobs`, {
      kind: "classify",
      path: "crash.png",
    });
    const { id } = await accepted.json();
    const classify = () =>
      post(`${url}/v1/classify`, { path: "images/test_00000.png" })
        .then((response) => response.body?.cancel());
    // Callers come all the time: the job is alone once they are kept out.
    let isEnded = false;
    const coming = (async () => {
      while (!isEnded) await classify();
    })();
    const job = await ended(url, id).finally(() => isEnded = true);
    await coming;
    assert.equal(job.state, "failed");
    assert.match(job.error!, /crashed the server or its engine 10 times/);
  });
});
