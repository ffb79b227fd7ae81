import assert from "node:assert/strict";
import { join } from "node:path";
import {
  ChangedCheckpointError,
  CheckpointError,
  EncoderError,
} from "../../lib/errors.ts";
import { writeCheckpoint } from "../../lib/model/checkpoint.ts";
import { disposeParameters } from "../../lib/model/parameters.ts";
import { Messages } from "../../lib/serve/redaction.ts";
import { type ModelEngine, ModelRegistry } from "../../lib/serve/models.ts";
import { testOnEngines } from "../engines.ts";
import { toyModel } from "../model/toy.ts";

/** An engine that loads nothing that `refuse` has an error for. */
class FakeEngine implements ModelEngine {
  readonly loaded = new Set<string>();
  /** Number of models that it was asked to load. */
  asked = 0;
  refuse: (path: string) => Error | undefined = () => undefined;

  load(path: string, sha256: string): Promise<void> {
    this.asked++;
    const error = this.refuse(path);
    if (error) return Promise.reject(error);
    this.loaded.add(sha256);
    return Promise.resolve();
  }

  unload(sha256: string): Promise<void> {
    this.loaded.delete(sha256);
    return Promise.resolve();
  }
}

/** A folder of models and what keeps them. */
async function withModels(
  test: (models: ModelRegistry, engine: FakeEngine, folder: string) => Promise<
    void
  >,
  encoderFiles: readonly string[] = [],
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "zoomin-" });
  const engine = new FakeEngine();
  const models = new ModelRegistry({
    folder,
    stateFolder: join(folder, ".server"),
    engine,
    encoderFiles,
    messages: new Messages([folder]),
    onRemoved: () => Promise.resolve(),
  });
  try {
    await test(models, engine, folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Writes a model whose hash depends on `epoch`. */
async function write(folder: string, name: string, epoch = 1): Promise<void> {
  const model = toyModel();
  await writeCheckpoint(join(folder, `${name}.safetensors`), {
    model,
    epoch,
    seed: 1,
    metrics: {},
    trainer: {},
    trainerTensors: new Map(),
  });
  disposeParameters(model.parameters);
}

testOnEngines(
  "a model that the engine refuses is asked for again once its file changes",
  async () => {
    await withModels(async (models, engine, folder) => {
      await write(folder, "a");
      await write(folder, "b", 2);
      const refused = new CheckpointError("no numbers");
      engine.refuse = (path) => path.includes("a.") ? refused : undefined;
      for (let scan = 0; scan < 3; scan++) {
        await models.refresh();
        assert.deepEqual(models.faults, [{ name: "a", error: "no numbers" }]);
        assert.throws(() => models.loaded("a"), /is not loaded/);
        assert.equal(models.loaded("b").info.epoch, 2);
        assert.equal(engine.asked, 2, "once for each");
      }
      engine.refuse = () => undefined;
      await Deno.utime(join(folder, "a.safetensors"), 1e9, 1e9);
      await models.refresh();
      assert.deepEqual(models.faults, []);
      assert.equal(models.loaded("a").info.epoch, 1);

      engine.refuse = () => refused;
      await write(folder, "a", 3);
      await models.refresh();
      assert.equal(models.faults.length, 1);
      assert.equal(engine.loaded.size, 1, "its former self is gone");
      engine.refuse = () => undefined;
      await models.load("a"); // by request, whatever is remembered
      assert.deepEqual(models.faults, []);
      assert.equal(models.loaded("a").info.epoch, 3);
      await models.refresh();
      assert.deepEqual(models.faults, []);
    });
  },
);

testOnEngines("a model waits for the file of its encoder", async () => {
  const file = await Deno.makeTempFile({ prefix: "zoomin-" });
  await withModels(async (models, engine, folder) => {
    await write(folder, "a");
    engine.refuse = () => new EncoderError("no encoder");
    for (let scan = 0; scan < 2; scan++) await models.refresh();
    assert.equal(engine.asked, 1);
    await Deno.utime(file, 1e9, 1e9);
    engine.refuse = () => undefined;
    await models.refresh();
    assert.deepEqual(models.faults, []);
  }, [file]);
  await Deno.remove(file);
});

testOnEngines(
  "a model that fails for another reason is tried again",
  async () => {
    await withModels(async (models, engine, folder) => {
      await write(folder, "a");
      engine.refuse = () => new Error("out of memory");
      for (let scan = 1; scan <= 2; scan++) {
        await models.refresh();
        assert.equal(models.faults.length, 1);
        assert.equal(engine.asked, scan);
      }
    });
  },
);

testOnEngines("a model that was unloaded stays so", async () => {
  await withModels(async (models, engine, folder) => {
    await write(folder, "a");
    await models.refresh();
    await models.unload("a");
    await models.refresh();
    assert.equal(models.isLoaded(models.get("a")), false);
    await write(folder, "a", 2);
    await models.refresh();
    assert.equal(models.isLoaded(models.get("a")), false, "replaced");
    assert.equal(engine.loaded.size, 0);
    assert.equal((await models.load("a")).info.epoch, 2);

    await models.unload("a");
    await Deno.remove(join(folder, "a.safetensors"));
    await models.refresh();
    await write(folder, "a", 3);
    await models.refresh();
    assert.equal(models.isLoaded(models.get("a")), true, "another of its name");
  });
});

testOnEngines("a model is found by its version, or not at all", async () => {
  await withModels(async (models, _, folder) => {
    await write(folder, "a");
    await models.refresh();
    const { version } = models.get("a");
    assert.equal(models.get("a", version).name, "a");
    assert.throws(() => models.get("a", "0"), {
      name: "NotFoundError",
      message: /The model "a" has no version "0": its version is/,
    });
    assert.throws(() => models.get("b"), { name: "NotFoundError" });
  });
});

testOnEngines("weights that two models share stay for the other", async () => {
  await withModels(async (models, engine, folder) => {
    await write(folder, "a");
    await Deno.copyFile(
      join(folder, "a.safetensors"),
      join(folder, "b.safetensors"),
    );
    await models.refresh();
    assert.equal(engine.loaded.size, 1);
    await models.unload("a");
    assert.equal(engine.loaded.size, 1, "the other needs them");
    assert.equal(models.isLoaded(models.get("b")), true);
    await models.unload("b");
    assert.equal(engine.loaded.size, 0);
  });
});

testOnEngines("the default model is removed last", async () => {
  await withModels(async (models, _, folder) => {
    await Deno.mkdir(join(folder, ".server"));
    await write(folder, "a");
    await write(folder, "b", 2);
    await models.refresh();
    await models.makeDefault("b");
    await assert.rejects(models.remove("b"), {
      name: "ConflictError",
      message: /"b" is the default: make another model the default first/,
    });
    assert.equal(models.get().name, "b");
    await models.remove("a");
    await models.remove("b");
    assert.deepEqual(models.models, []);
  });
});

testOnEngines(
  "a file that could not be loaded is read again, however it looks",
  async () => {
    await withModels(async (models, engine, folder) => {
      const file = join(folder, "a.safetensors");
      await write(folder, "a");
      const { mtime, size } = await Deno.stat(file);
      engine.refuse = () => new ChangedCheckpointError("its bytes are others");
      await models.refresh();
      await write(folder, "a", 2);
      await Deno.utime(file, mtime!, mtime!);
      assert.equal((await Deno.stat(file)).size, size);
      engine.refuse = () => undefined;
      await models.refresh();
      assert.equal(models.loaded("a").info.epoch, 2);
    });
  },
);

testOnEngines("a fault is remembered until the file changes", async () => {
  await withModels(async (models, _, folder) => {
    await write(folder, "a");
    const path = join(folder, "a.safetensors");
    const whole = await Deno.readFile(path);
    const time = new Date(1e12);
    await Deno.writeFile(path, new Uint8Array(whole.length));
    await Deno.utime(path, time, time);
    await models.refresh();
    assert.equal(models.faults.length, 1);
    await Deno.writeFile(path, whole);
    await Deno.utime(path, time, time); // as if it were the same
    await models.refresh();
    assert.equal(models.faults.length, 1);
    await Deno.utime(path, time, new Date(2e12));
    await models.refresh();
    assert.deepEqual(models.faults, []);
  });
});

testOnEngines(
  "a model serves until its successor is loaded, and its tasks end",
  async () => {
    await withModels(async (models, engine, folder) => {
      await write(folder, "a");
      await models.refresh();
      const former = models.loaded("a");
      const held = models.hold(former);
      await write(folder, "a", 2);
      const loading = Promise.withResolvers<void>();
      const asked = Promise.withResolvers<void>();
      const { load } = engine;
      engine.load = async (...given) => {
        asked.resolve();
        await loading.promise;
        await load.apply(engine, given);
      };
      const refreshed = models.refresh();
      await asked.promise;
      assert.equal(models.loaded("a"), former);
      loading.resolve();
      await refreshed;
      assert.equal(models.loaded("a").info.epoch, 2);
      assert.ok(engine.loaded.has(former.info.sha256), "a task uses it");
      held[Symbol.dispose]();
      await models.refresh();
      assert.deepEqual([...engine.loaded], [models.loaded("a").info.sha256]);
    });
  },
);
