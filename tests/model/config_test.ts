import assert from "node:assert/strict";
import { ConfigError } from "../../lib/errors.ts";
import {
  type Config,
  type EncoderConfig,
  filledFrom,
  parseConfig,
  withSettings,
} from "../../lib/model/config.ts";
import { withFrozenFeatures } from "../../lib/model/frozen_settings.ts";
import { preset, presetNames } from "../../lib/model/presets.ts";

/** Fails unless `run` throws a ConfigError with all of `words`. */
function assertConfigError(run: () => unknown, ...words: string[]): void {
  assert.throws(run, (error: Error) => {
    assert.ok(error instanceof ConfigError);
    for (const word of words) {
      assert.ok(error.message.includes(word), `${error.message}: no ${word}`);
    }
    return true;
  });
}

/** The preset as JSON, changed. */
function changed(change: (config: Record<string, unknown>) => void): unknown {
  const config = JSON.parse(JSON.stringify(preset("colon")));
  change(config);
  return config;
}

/** An encoder with an input of a fixed size. */
const FIXED: EncoderConfig = {
  path: "vit.onnx",
  sha256: "0".repeat(64),
  scale: 2,
  inputSize: 224,
  mean: [0, 0, 0],
  deviation: [1, 1, 1],
  outputs: [{ name: "vector", window: 0, pooling: "mean" }],
  channels: 5,
};

Deno.test("a preset with an encoder of a fixed input has its window as sub-tile", () => {
  const config = withFrozenFeatures(preset("colon"), "encoder", FIXED);
  assert.equal(config.view.subTileSize, 112);
});

Deno.test("every preset is valid and survives JSON", () => {
  assert.equal(presetNames.length, 11);
  for (const name of presetNames) {
    const config = preset(name);
    assert.equal(config.preset, name);
    const read = parseConfig(JSON.parse(JSON.stringify(config)), name);
    assert.deepEqual(read, config);
  }
});

Deno.test("what a configuration leaves out is filled in, one form of many is not", () => {
  const colon = preset("colon");
  const schedule = { kind: "step", every: 3, factor: 0.5 };
  const short = { training: { schedule, patience: 4 } };
  assert.deepEqual(parseConfig(filledFrom(colon, short), "short"), {
    ...colon,
    training: { ...colon.training, schedule, patience: 4 },
  });
  const warmStart = { steps: 3, frozenEpochs: 1 }; // where colon has none
  assert.deepEqual(
    filledFrom(colon, { training: { saliencyWarmStart: warmStart } }),
    {
      ...colon,
      training: { ...colon.training, saliencyWarmStart: warmStart },
    },
  );
});

Deno.test("the papers' presets hold the published views", () => {
  // data: s1, s2, N, sub-tile (Kong & Henao, Table 1)
  const published: Record<string, [number, number, number, number]> = {
    "colon": [0.1, 0.2, 10, 27],
    "needle": [0.25, 0.5, 30, 32],
    "traffic-signs": [0.125, 0.3, 10, 100],
    "fmow": [0.25, 0.5, 30, 50],
    "camelyon16": [1 / 32, 1 / 8, 100, 50],
  };
  for (const [name, numbers] of Object.entries(published)) {
    for (const suffix of ["", "-paper"]) {
      const { view, evaluation } = preset(name + suffix);
      const { scale1, scale2, samples, subTileSize } = view;
      assert.deepEqual([scale1, scale2, samples, subTileSize], numbers);
      // Ours draws more if a study has shown that it helps.
      const drawn = name + suffix === "colon" ? 30 : samples;
      assert.equal(evaluation.samples, drawn);
    }
  }
  const { training } = preset("colon-paper");
  assert.equal(training.learningRate, 1e-4);
  assert.equal(training.weightDecay, 1e-5);
  assert.equal(training.clipNorm, 5);
  assert.equal(training.batchSize, 5);
  assert.equal(training.epochs, 100);
  assert.equal(training.entropyWeight, 1e-5);
  assert.equal(training.contrastiveFrom, 10);
  assert.deepEqual(training.schedule, { kind: "step", every: 30, factor: 0.9 });
});

Deno.test("a preset is a copy of its own", () => {
  preset("colon").view.samples = 99;
  preset("colon").training.augmentation.flips = false;
  assert.equal(preset("colon").view.samples, 10);
  assert.equal(preset("colon").training.augmentation.flips, true);
});

Deno.test("an unknown preset is answered with the known ones", () => {
  assertConfigError(() => preset("collon"), `"collon"`, `mean "colon"?`);
  assertConfigError(() => preset("mine"), `"mine"`, "colon-paper, needle");
  assertConfigError(() => preset("toString"), `"toString"`, "colon-paper");
  assertConfigError(() => preset("-paper"), `"-paper"`);
});

Deno.test("a wrong field is named with its source", () => {
  const wrong: [(config: Config) => void, string][] = [
    [(c) => c.view.samples = 0, "view.samples"],
    [(c) => c.view.samples = 1.5, "view.samples"],
    [(c) => c.view.samples = 4097, "view.samples"],
    [(c) => c.evaluation.samples = 4097, "evaluation.samples"],
    [(c) => c.training.learningRate = "fast" as never, "training.learningRate"],
    [(c) => c.training.learningRate = NaN, "training.learningRate"],
    [(c) => c.training.schedule.kind = "poly" as never, "training.schedule"],
    [(c) => c.network.features = "vgg" as never, "network.features"],
    [(c) => delete (c as Partial<Config>).mpp, "mpp"],
    [(c) => c.mpp = 0.001, "mpp"],
    [(c) => c.mpp = 101, "mpp"],
    [(c) => c.view.scale1 = 1.5, "view.scale1"],
    [(c) => c.view.scale2 = 0.01, "view.scale2: must be at least scale1"],
    [(c) => c.view.tileSize = 9, "view.tileSize: must be at least 1 / scale1"],
    [(c) => c.view.subTileSize = 3, "view.subTileSize: must be at least 4 px"],
  ];
  for (const [change, field] of wrong) {
    const value = changed(change as never);
    assertConfigError(
      () => parseConfig(value, "my.json"),
      "Cannot use my.json as a configuration",
      field,
    );
  }
});

Deno.test("settings that do not go with the head are named", () => {
  const dense = {
    maxLocations: 9,
    copies: 0,
    locations: 9,
    strongest: 0,
    objectWeight: 1,
    dropout: true,
  };
  const evidence = (c: Config) => {
    c.network.head = "evidence";
    c.training.contrastiveFrom = null;
  };
  const frozen = (c: Config) => {
    evidence(c);
    c.network.features = "scattering";
    c.training.dense = dense;
  };
  const wrong: [(config: Config) => void, string][] = [
    [(c) => {
      frozen(c);
      c.network.head = "mean";
    }, "network.head: must be evidence for network.features = scattering"],
    [(c) => {
      frozen(c);
      c.network.normaliseStains = true;
    }, "network.normaliseStains: must be false for network.features ="],
    [(c) => {
      frozen(c);
      c.training.dense = null;
    }, "training.dense: is needed for network.features = scattering"],
    [
      (c) => {
        evidence(c);
        c.training.dense = dense;
      },
      "training.dense: needs frozen features (encoder, scattering, dictionary)",
    ],
    [(c) => {
      evidence(c);
      c.network.attention = "instances";
    }, "network.attention: must not be instances under network.head"],
    [(c) => {
      evidence(c);
      c.evaluation.draws = "topN";
    }, "evaluation.draws: must be seeded under network.head = evidence"],
    [(c) => {
      evidence(c);
      c.training.contrastiveFrom = 2;
    }, "training.contrastiveFrom: must be null under network.head"],
    [(c) => {
      c.view.support = 9;
      c.training.contrastiveFrom = 2;
    }, "training.contrastiveFrom: must be null under network.head"],
    [(c) => {
      frozen(c);
      c.network.overview = {
        scale: 0.5,
        outputs: [{ name: "s8", window: 0, pooling: "mean" }],
        channels: 40,
      };
    }, "network.overview: needs an encoder over maps of any size"],
    [(c) => {
      frozen(c);
      c.network.closeUp = {
        inputSize: 64,
        outputs: [{ name: "s8", window: 0, pooling: "mean" }],
        channels: 40,
      };
    }, "network.closeUp: needs an encoder over maps of any size"],
    [
      (c) => {
        frozen(c);
        c.network.features = "encoder";
        c.network.encoder = FIXED;
        c.view.subTileSize = 100; // of 224 px at twice the resolution: 112
      },
      "view.subTileSize: must be 112 px, which an input of 224 px shows at network.encoder.scale = 2",
    ],
    [(c) => c.view.support = 0, "view.support: "],
    [(c) => c.view.support = 1.5, "view.support: "],
    [(c) => c.network.evidence.sharpness = 0, "network.evidence.sharpness: "],
    [(c) => c.network.evidence.objects = 0, "network.evidence.objects: "],
    [
      (c) => c.view.subTileStride = c.view.tileSize + 1,
      "view.subTileStride: must be at most tileSize",
    ],
  ];
  for (const [change, fault] of wrong) {
    const value = changed(change as never);
    assert.throws(() => parseConfig(value, "my.json"), (error: Error) => {
      assert.ok(error instanceof ConfigError);
      const start = "Cannot use my.json as a configuration: ";
      assert.ok(error.message.startsWith(start + fault), error.message);
      const [only] = error.message.slice(start.length).split("; ");
      assert.equal(error.message, start + only, "one fault alone");
      return true;
    });
  }
  for (const right of [evidence, frozen]) {
    parseConfig(changed(right as never), "my.json");
  }
});

Deno.test("an unknown key is named", () => {
  const value = changed((config) => {
    (config.training as Record<string, unknown>).learnRate = 1;
  });
  assertConfigError(
    () => parseConfig(value, "my.json"),
    "training",
    "learnRate",
  );
});

Deno.test("a hint is a key of the schema, and five faults are told", () => {
  const junk = Array.from({ length: 4000 }, (_, i) => [`junk${i}`, 1]);
  const value = { ...preset("colon"), ...Object.fromEntries(junk), vieww: 1 };
  const told = ["junk0", "junk1", "junk2", "junk3", "junk4"]
    .map((key) => `there is no "${key}"`).join("; ");
  assert.throws(() => parseConfig(value, "my.json"), {
    message: `Cannot use my.json as a configuration: ${told}; and 3996 more`,
  });
  assert.throws(
    () => withSettings(preset("colon"), ["training.dense.copie=1"]),
    /there is no "copie"; did you mean "training.dense.copies"\?$/,
  );
  assert.throws(
    () => parseConfig({ ...preset("colon"), ["x".repeat(1e6)]: 1 }, "my.json"),
    ({ message }: Error) => message.length < 200,
  );
});

Deno.test("imagesPerPass of older versions is dropped if null, and named if not", () => {
  const old = (imagesPerPass: unknown) =>
    changed((config) => Object.assign(config.training!, { imagesPerPass }));
  assert.deepEqual(parseConfig(old(null), "config.json"), preset("colon"));
  const text =
    "it was removed, because the memory bound decides how many images are held at once: delete it, and set --memory if need be";
  assert.throws(() => parseConfig(old(2), "config.json"), {
    message:
      `Cannot use config.json as a configuration: training.imagesPerPass: ${text}`,
  });
  assert.throws(
    () => withSettings(preset("colon"), ["training.imagesPerPass=2"]),
    { message: `Cannot set "training.imagesPerPass": ${text}` },
  );
});

Deno.test("all faults are told at once", () => {
  const value = changed((config) => {
    config.mpp = -1;
    (config.view as Record<string, unknown>).samples = "many";
  });
  assertConfigError(() => parseConfig(value, "my.json"), "mpp", "view.samples");
});

Deno.test("a value that is missing is said to be", () => {
  const { training: _, ...rest } = preset("needle");
  const { tileSize: __, ...view } = rest.view;
  assert.throws(() => parseConfig({ ...rest, view }, "a.json"), {
    message:
      "Cannot use a.json as a configuration: view.tileSize: it is missing; training: it is missing",
  });
});

Deno.test("anything but an object is refused", () => {
  for (const value of [null, undefined, 3, "colon", []]) {
    assertConfigError(
      () => parseConfig(value, "my.json"),
      "my.json",
      "(whole)",
    );
  }
});

Deno.test("settings change what they name and nothing else", () => {
  const config = preset("colon");
  const before = structuredClone(config);
  const after = withSettings(config, [
    "training.learningRate=0.002",
    "view.samples=7",
    "network.features=resnet",
    "training.patience=null",
    "training.augmentation.flips=false",
    'referenceClass="1"',
    'training.saliencyWarmStart={"steps":3,"frozenEpochs":1}',
    "training.saliencyWarmStart.steps=4",
  ]);
  assert.deepEqual(config, before); // the argument stays as it was
  before.training.learningRate = 0.002;
  before.view.samples = 7;
  before.network.features = "resnet";
  before.training.patience = null;
  before.training.augmentation.flips = false;
  before.referenceClass = "1";
  before.training.saliencyWarmStart = { steps: 4, frozenEpochs: 1 };
  assert.deepEqual(after, before);
});

Deno.test("a setting may hold an equals sign", () => {
  const { referenceClass } = withSettings(preset("colon"), [
    "referenceClass=a=b",
  ]);
  assert.equal(referenceClass, "a=b");
});

Deno.test("a class may be called by a number", () => {
  const { referenceClass } = withSettings(preset("colon"), [
    "referenceClass=1",
  ]);
  assert.equal(referenceClass, "1");
});

Deno.test("a wrong setting is named", () => {
  const set = (setting: string) => () =>
    withSettings(preset("colon"), [setting]);
  assertConfigError(
    set("training.learnRate=1"),
    `"training.learnRate"`,
    "learningRate",
  );
  assertConfigError(set("nothing=1"), `"nothing"`, "training");
  assertConfigError(set("training.epochs.x=1"), `"training.epochs.x"`);
  assertConfigError(set("training.epochs"), "key=value");
  assertConfigError(set("=3"), "key=value");
  assertConfigError(set("training.epochs=many"), "training.epochs");
  assertConfigError(set("__proto__.x=1"), `"__proto__"`);
  assertConfigError(set("training.constructor=1"), `"constructor"`);
});

Deno.test("a configuration of an older version is one of classes", () => {
  const { target, ...older } = preset("colon");
  assert.equal(target, "classes");
  assert.deepEqual(parseConfig(older, "older"), preset("colon"));
});

Deno.test("what only classes have is refused under other targets, by name", () => {
  const objects = preset("objects");
  assert.equal(objects.target, "labels");
  const colon = preset("colon");
  assertConfigError(
    () => withSettings(colon, ["target=labels"]),
    "referenceClass: must be null under target = labels",
  );
  for (
    const [setting, words] of [
      ["training.contrastiveFrom=3", "training.contrastiveFrom: must be null"],
      ["training.classWeights=balanced", "training.classWeights: must be none"],
    ] as const
  ) {
    assertConfigError(
      () => withSettings(objects, ["target=value", setting]),
      words,
      "under target = value",
    );
  }
  assertConfigError(
    () => withSettings(objects, ["target=survival", "training.batchSize=3"]),
    "training.batchSize: must be at least 4 under target = survival",
  );
  assertConfigError(() => withSettings(objects, ["target=risk"]), "target");
  const withObject = structuredClone(objects);
  withObject.network.closeUp = {
    inputSize: 64,
    outputs: [{ name: "x", window: 0, pooling: "mean" }],
    channels: 3,
  };
  assertConfigError(
    () => parseConfig(withObject, "it"),
    "network.closeUp: must be null under target = labels",
  );
});
