import { parameterSpecs } from "./specs.ts";
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { CheckpointError } from "../../lib/errors.ts";
import { predict, type Prediction } from "../../lib/eval/predict.ts";
import { Memory } from "../../lib/memory.ts";
import {
  BEST,
  type Checkpoint,
  LAST,
  readCheckpoint,
  readCheckpointInfo,
  writeCheckpoint,
} from "../../lib/model/checkpoint.ts";
import { openFrozen } from "../../lib/model/frozen.ts";
import { disposeParameters } from "../../lib/model/parameters.ts";
import { preset } from "../../lib/model/presets.ts";
import {
  decodeSafeTensors,
  encodeSafeTensors,
  type SafeTensors,
} from "../../lib/model/safetensors.ts";
import { testOnEngines } from "../engines.ts";
import { normals } from "../finite_differences.ts";
import { noiseImage, toyModel } from "./toy.ts";

/** Runs `test` in a folder of its own. */
async function inFolder(test: (folder: string) => Promise<void>) {
  const folder = await Deno.makeTempDir();
  try {
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function example(): Omit<Checkpoint, "sha256"> {
  const model = toyModel();
  model.normalisation = { mean: [0.1, 0.2, 0.3], deviation: [1, 0.5, 0.25] };
  model.calibration = { temperature: 0.3, bias: -1, images: 36, samples: 30 };
  return {
    model,
    epoch: 3,
    seed: 2 ** 40,
    metrics: { loss: 0.25, validationAuc: null },
    annotated: { images: 3, objects: 17 },
    trainer: { steps: { "a/conv1/bias": 5 }, choice: { bestEpoch: 2 } },
    trainerTensors: new Map([
      ["a/conv1/bias/first", { shape: [8], data: new Float32Array(8).fill(2) }],
    ]),
  };
}

testOnEngines("a checkpoint is read as it was written", async () => {
  await inFolder(async (folder) => {
    const path = join(folder, "any name");
    const written = example();
    await writeCheckpoint(path, written);
    const { model, sha256, ...rest } = await readCheckpoint(path);
    const { model: original, ...expected } = written;
    assert.deepEqual(rest, expected);
    assert.deepEqual(model.config, original.config);
    assert.deepEqual(model.classes, original.classes);
    assert.deepEqual(model.normalisation, original.normalisation);
    assert.deepEqual(model.calibration, original.calibration);
    assert.deepEqual([...model.parameters.keys()], [
      ...original.parameters.keys(),
    ]);
    for (const [name, variable] of model.parameters) {
      const before = original.parameters.get(name)!;
      assert.deepEqual(variable.shape, before.shape);
      assert.deepEqual(await variable.data(), await before.data());
    }
    const bytes = await Deno.readFile(path);
    assert.equal(sha256, createHash("sha256").update(bytes).digest("hex"));
    // Written again: the same bytes, and nothing else in the folder.
    await writeCheckpoint(path, { ...written, model });
    assert.deepEqual(await Deno.readFile(path), bytes);
    const names = (await Array.fromAsync(Deno.readDir(folder)))
      .map(({ name }) => name);
    assert.deepEqual(names, ["any name"]);
    disposeParameters(model.parameters);
    disposeParameters(original.parameters);
  });
});

testOnEngines(
  "a checkpoint of frozen features and evidence predicts as before",
  async () => {
    await inFolder(async (folder) => {
      const path = join(folder, LAST);
      const model = toyModel({
        view: { tileStride: 16, subTileStride: 8, support: 20 },
        network: { features: "scattering", head: "evidence" },
        training: {
          contrastiveFrom: null,
          dense: {
            maxLocations: 900,
            copies: 1,
            locations: 100,
            strongest: 0,
            objectWeight: 1,
            dropout: true,
          },
        },
        classes: ["negative", "A", "B"],
      });
      let seed = 1;
      for (const [name, variable] of model.parameters) {
        if (!name.startsWith("g/")) continue;
        const values = normals(variable.size, seed++, 0.2);
        tf.tidy(() => variable.assign(tf.tensor(values, variable.shape)));
      }
      const { network } = model.config;
      const encoder = await openFrozen(network, model.parameters);
      const options = { seed: 3, samples: 8, memory: new Memory() };
      const images = [noiseImage({ width: 75, height: 61 }, 1)];
      const before = await predict({ ...model, encoder }, images, options);
      const other = example();
      disposeParameters(other.model.parameters);
      await writeCheckpoint(path, { ...other, model });
      const { model: read } = await readCheckpoint(path);
      assert.deepEqual(read.config, model.config);
      const after = await predict(read, images, options);
      assert.deepEqual(after.predictions, before.predictions);
      const [{ probabilities, subTiles }] = after.predictions as [Prediction];
      assert.ok(new Set(probabilities).size === 3, `${probabilities}`);
      const weights = subTiles.reduce((sum, { weight }) => sum + weight, 0);
      assert.ok(Math.abs(weights - 1) < 1e-4);
      disposeParameters(model.parameters);
      disposeParameters(read.parameters);
    });
  },
);

testOnEngines("a checkpoint of an older version is read", async () => {
  await inFolder(async (folder) => {
    const path = join(folder, LAST);
    const written = example();
    const { config } = written.model;
    for (const imagesPerPass of [null, 2]) {
      const training = { ...config.training, imagesPerPass };
      const model = { ...written.model, config: { ...config, training } };
      await writeCheckpoint(path, { ...written, model, annotated: null });
      assert.match(await Deno.readTextFile(path), /imagesPerPass/);
      assert.doesNotMatch(await Deno.readTextFile(path), /annotated/);
      const { model: read, annotated } = await readCheckpoint(path);
      assert.equal(annotated, null);
      assert.deepEqual(read.config, config);
      disposeParameters(read.parameters);
    }
    disposeParameters(written.model.parameters);
  });
});

testOnEngines(
  "a checkpoint from before calibration is not calibrated",
  async () => {
    await inFolder(async (folder) => {
      const path = join(folder, LAST);
      const written = example();
      await writeCheckpoint(path, written);
      disposeParameters(written.model.parameters);
      const { tensors, metadata } = decodeSafeTensors(
        await Deno.readFile(path),
      );
      const { calibration, ...older } = JSON.parse(metadata.zoomin!);
      assert.deepEqual(calibration, written.model.calibration);
      const zoomin = JSON.stringify(older);
      await Deno.writeFile(
        path,
        encodeSafeTensors({ tensors, metadata: { zoomin } }),
      );
      const { model } = await readCheckpoint(path);
      assert.equal(model.calibration, null);
      disposeParameters(model.parameters);
      assert.equal((await readCheckpointInfo(path)).calibration, null);
    });
  },
);

testOnEngines("a failed write leaves the old checkpoint", async () => {
  await inFolder(async (folder) => {
    const path = join(folder, LAST);
    const written = example();
    await writeCheckpoint(path, written);
    const before = await Deno.readFile(path);
    const unwritable = { ...written, trainer: { count: 1n } }; // no JSON
    await assert.rejects(writeCheckpoint(path, unwritable), TypeError);
    assert.deepEqual(await Deno.readFile(path), before);
    await assert.rejects(
      writeCheckpoint(join(folder, "none", LAST), written),
      Deno.errors.NotFound,
    );
    disposeParameters(written.model.parameters);
  });
});

testOnEngines(
  "the folder of a run: its best checkpoint, else its last",
  async () => {
    await inFolder(async (folder) => {
      const epochOf = async () => {
        const { epoch, model } = await readCheckpoint(folder);
        disposeParameters(model.parameters);
        return epoch;
      };
      await assertCheckpointError(folder, folder, BEST, LAST);
      const written = example();
      await writeCheckpoint(join(folder, LAST), { ...written, epoch: 9 });
      assert.equal(await epochOf(), 9);
      await writeCheckpoint(join(folder, BEST), { ...written, epoch: 4 });
      assert.equal(await epochOf(), 4);
      disposeParameters(written.model.parameters);
    });
  },
);

/** Fails unless reading `path` throws a CheckpointError with `words`. */
async function assertCheckpointError(path: string, ...words: string[]) {
  await assert.rejects(readCheckpoint(path), (error: Error) => {
    assert.ok(error instanceof CheckpointError, `${error}`);
    assert.ok(!error.message.includes("\n"), "one line");
    for (const word of words) {
      assert.ok(error.message.includes(word), `${error.message}: no ${word}`);
    }
    return true;
  });
}

testOnEngines(
  "what is wrong with a checkpoint's metadata is told in a line",
  async () => {
    await inFolder(async (folder) => {
      const path = join(folder, LAST);
      const metadata = {
        format: "zoomin-1",
        config: preset("needle"),
        classes: [],
        epoch: 1,
        seed: 1,
        metrics: {},
        trainer: null,
        colour: "red",
      };
      const cases: [string, string[]][] = [
        [JSON.stringify(metadata), [
          ...["normalisation: it is missing", "classes: ", '"colour"'],
        ]],
        [JSON.stringify(metadata, null, 1).replace("1", "x\n"), ["JSON"]],
      ];
      for (const [zoomin, words] of cases) {
        const tensors = new Map();
        const bytes = encodeSafeTensors({ tensors, metadata: { zoomin } });
        await Deno.writeFile(path, bytes);
        await assertCheckpointError(path, path, ...words);
      }
    });
  },
);

testOnEngines("a damaged checkpoint is named, with what is wrong", async () => {
  await inFolder(async (folder) => {
    const path = join(folder, LAST);
    await assertCheckpointError(path, path);
    const written = example();
    await writeCheckpoint(path, written);
    disposeParameters(written.model.parameters);
    const whole = await Deno.readFile(path);

    const damaged: [Uint8Array, string][] = [
      [new Uint8Array(0), "0 bytes"],
      [new TextEncoder().encode("PNG or anything else"), "beyond the end"],
      [whole.subarray(0, 100), "beyond the end"],
      [whole.subarray(0, whole.length - 1), "does not fit"],
    ];
    for (const [bytes, fault] of damaged) {
      await Deno.writeFile(path, bytes);
      await assertCheckpointError(path, path, fault);
    }

    const change = async (
      edit: (content: SafeTensors) => void,
      ...faults: string[]
    ) => {
      const content = decodeSafeTensors(whole);
      edit(content);
      await Deno.writeFile(path, encodeSafeTensors(content));
      await assertCheckpointError(path, path, ...faults);
    };
    const name = parameterSpecs("lenet", 2)[0]!.name;
    await change(({ tensors }) => tensors.delete(name), `"${name}"`, "missing");
    await change(
      ({ tensors }) =>
        tensors.set(name, { shape: [2], data: new Float32Array(2) }),
      `"${name}"`,
      "[3,3,3,8]",
      "[2]",
    );
    await change(
      ({ metadata }) => delete metadata.zoomin,
      "not written by zoomin",
    );
    await change(({ metadata }) => metadata.zoomin = "{", "JSON");
    await change(({ metadata }) => metadata.zoomin = "[]", "expected object");

    const edited = (edit: (metadata: Record<string, unknown>) => void) =>
    (
      { metadata }: SafeTensors,
    ) => {
      const value = JSON.parse(metadata.zoomin!);
      edit(value);
      metadata.zoomin = JSON.stringify(value);
    };
    await change(
      edited((value) => value.format = "zoomin-9"),
      "format",
      "zoomin-1",
    );
    await change(edited((value) => delete value.epoch), "epoch");
    await change(edited((value) => value.classes = ["one"]), "classes");
    await change(
      edited((value) => (value.config as { mpp: number }).mpp = -1),
      "mpp",
    );
    await change(
      edited((value) =>
        (value.calibration as { temperature: number }).temperature = 0
      ),
      "calibration.temperature",
    );
    await change(
      edited((value) => value.classes = ["one", "one"]),
      "two classes have one name",
    );
    await change(
      edited((value) =>
        value.normalisation = { mean: [0, 0, 0], deviation: [1, 0, 1] }
      ),
      "normalisation.deviation",
    );
    // Three classes, weights for two.
    await change(
      edited((value) => value.classes = ["a", "b", "c"]),
      `"g/weight"`,
      "[48,3]",
      "[48,2]",
    );
  });
});

testOnEngines("weights that are no numbers are named", async () => {
  await inFolder(async (folder) => {
    const path = join(folder, LAST);
    const written = example();
    await writeCheckpoint(path, written);
    disposeParameters(written.model.parameters);
    const { name } = parameterSpecs("lenet", 2)[0]!;
    for (const value of [NaN, Infinity]) {
      const content = decodeSafeTensors(await Deno.readFile(path));
      content.tensors.get(name)!.data[3] = value;
      await Deno.writeFile(path, encodeSafeTensors(content));
      await assert.rejects(readCheckpoint(path), {
        name: "CheckpointError",
        message: new RegExp(`"${name}" holds values that are no numbers`),
      });
    }
  });
});

Deno.test("a file of gigabytes that is no checkpoint is not read", async () => {
  await inFolder(async (folder) => {
    const path = join(folder, LAST);
    const header = new Uint8Array(8);
    for (const [length, fault] of [[5e9, "claims a header"], [2, "written"]]) {
      new DataView(header.buffer).setBigUint64(0, BigInt(length!), true);
      const braces = new TextEncoder().encode("{}");
      await Deno.writeFile(path, Uint8Array.of(...header, ...braces));
      await Deno.truncate(path, 6e9);
      await assert.rejects(readCheckpointInfo(path), {
        name: "CheckpointError",
        message: new RegExp(`${fault}`),
      });
    }
  });
});
