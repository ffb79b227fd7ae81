import assert from "node:assert/strict";
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { BEST, writeCheckpoint } from "../../../lib/model/checkpoint.ts";
import { disposeParameters } from "../../../lib/model/parameters.ts";
import { OWN_FOLDERS } from "../../../lib/serve/jobs/shared_folders.ts";
import { SharedModels } from "../../../lib/serve/jobs/shared_models.ts";
import { ModelRegistry } from "../../../lib/serve/models.ts";
import { Messages } from "../../../lib/serve/redaction.ts";
import { testOnEngines } from "../../engines.ts";
import { toyModel } from "../../model/toy.ts";
import { within } from "../../waiting.ts";

testOnEngines(
  "jobs of a model wait until it is brought and loaded",
  async () => {
    const folder = await Deno.makeTempDir({ prefix: "zoomin-" });
    const kept = join(folder, "kept"), own = join(folder, "own");
    await Deno.mkdir(kept);
    await Deno.mkdir(own);
    const model = toyModel();
    await writeCheckpoint(join(kept, BEST), {
      model,
      epoch: 1,
      seed: 1,
      metrics: {},
      trainer: {},
      trainerTensors: new Map(),
    });
    disposeParameters(model.parameters);
    const asked = Promise.withResolvers<void>();
    const loaded = Promise.withResolvers<void>();
    const models = new ModelRegistry({
      folder: own,
      stateFolder: join(own, ".server"),
      engine: {
        load() {
          asked.resolve();
          return loaded.promise;
        },
        unload: () => Promise.resolve(),
      },
      encoderFiles: [],
      messages: new Messages([]),
      onRemoved: () => Promise.resolve(),
    });
    let fetches = 0;
    const shared = new SharedModels({
      ...OWN_FOLDERS,
      async fetch(_, path) {
        fetches++;
        await cp(kept, path, { recursive: true });
      },
    }, models);
    const used = async () => {
      await shared.ensure("first");
      return models.loaded("first").name;
    };
    const jobs = [used(), used()];
    await within("the engine is asked to load it", asked.promise);
    jobs.push(used());
    const all = Promise.all(jobs);
    all.catch(() => {}); // told below
    await setImmediate();
    loaded.resolve();
    assert.deepEqual(await all, ["first", "first", "first"]);
    assert.equal(fetches, 1);
    await Deno.remove(folder, { recursive: true });
  },
);
