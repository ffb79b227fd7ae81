import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { readManifest } from "../../lib/data/manifest.ts";
import type { FoldResult } from "../../lib/train/runs/crossval.ts";
import { type LogLine, readLog } from "../../lib/train/run_log.ts";
import {
  assertFails,
  assertFailsInOneLine,
  drawSet,
  folderOfFile,
  inParallel,
  outcome,
  remarks,
  SMALL,
  startWith,
  succeed,
  zoomin,
} from "./process.ts";
import { eventually, within } from "../waiting.ts";

const folder = folderOfFile(drawSet);

const DATA = ["--data", "set/manifest.csv"];
const EPOCHS = 5;

/** The command line of a run into `out`. */
function training(out: string, ...more: string[]): string[] {
  return ["train", ...DATA, "--out", out, ...SMALL, ...more];
}

// This seed's second epoch is the best: a continued run must remember it.
const LONG = ["--epochs", String(EPOCHS), "--seed", "4"];

/** Lines of a run's log. */
async function logOf(run: string): Promise<LogLine[]> {
  return await readLog(join(folder, run, "log.jsonl"));
}

/** The log of a run, without its times. */
async function traceOf(run: string): Promise<LogLine[]> {
  const lines = await logOf(run);
  return lines.filter(({ type }) => type === "epoch").map((line) => {
    const { trainSeconds, seconds, cpuSeconds, peakBytes: _, ...rest } = line;
    assert.ok((trainSeconds as number) <= (seconds as number));
    assert.ok((cpuSeconds as number) > 0);
    return rest as LogLine;
  });
}

/** Epochs 1 to EPOCHS of an undisturbed run; run once. */
let whole: Promise<LogLine[]> | undefined;
function undisturbedTrace(): Promise<LogLine[]> {
  return whole ??= succeed(folder, ...training("whole", ...LONG))
    .then(() => traceOf("whole"));
}

/** Checks that a run equals the undisturbed one, bit for bit. */
async function assertUndisturbed(run: string): Promise<void> {
  assert.deepEqual(await traceOf(run), await undisturbedTrace());
  for (const name of ["best.safetensors", "last.safetensors"]) {
    const [actual, expected] = await Promise.all(
      [run, "whole"].map((run) => Deno.readFile(join(folder, run, name))),
    );
    assert.ok(Buffer.compare(actual!, expected!) === 0, name);
  }
}

const HELD = fileURLToPath(new URL("held_run.ts", import.meta.url));

/** Sends `signal` to a run that is held in its third epoch. */
async function stopInThirdEpoch(
  run: string,
  signal: Deno.Signal,
): Promise<void> {
  const argv = training(run, ...LONG);
  const process = startWith([`--preload=${HELD}`], folder, argv);
  const ended = outcome(process);
  await eventually(
    "three epochs are in the log",
    async () => (await traceOf(run).catch(() => [])).length === 3,
    120_000,
  );
  process.kill(signal);
  const result = await within("it has stopped", ended);
  assert.equal((await traceOf(run)).length, 3);
  assert.equal(result.stdout, "");
  if (signal === "SIGKILL") return void assert.equal(result.code, 137);
  assert.equal(result.code, 130);
  assert.deepEqual(remarks(result).slice(1), [
    "Stopped: --resume continues from the last complete epoch",
  ]);
}

Deno.test("train writes its configuration, splits, log and checkpoints", async () => {
  const result = await succeed(
    folder,
    ...training("run", "--epochs", "2", "--json"),
  );
  const { peakBytes, last, ...rest } = JSON.parse(result.stdout);
  assert.ok(peakBytes > 2 ** 20);
  assert.equal(result.stdout.split("\n").length, 2); // one line
  assert.equal(rest.run, "run");
  assert.equal(rest.epochs, 2);
  assert.ok(rest.bestEpoch === 1 || rest.bestEpoch === 2);
  assert.match(result.stderr, /^engine: wasm: as requested$/m);
  assert.match(
    result.stderr,
    /^10 images to train on \(negative 5, positive 5\), 2 for validation; preset needle, 2 epochs, seed 0$/m,
  );
  assert.match(result.stderr, /^peak memory: \d+ MB$/m);
  assert.equal(remarks(result).length, 2);
  for (const epoch of [1, 2]) {
    const line = new RegExp(
      `^epoch ${epoch}/2  loss \\d\\.\\d{3}  accuracy \\d\\.\\d{3}  validation loss .*  \\d+ s$`,
      "m",
    );
    assert.match(result.stderr, line);
  }
  assert.match(result.stderr, /^report: run\/report\.html$/m);

  const names = (await Array.fromAsync(Deno.readDir(join(folder, "run"))))
    .map(({ name }) => name).sort();
  assert.deepEqual(names, [
    "best.safetensors",
    "config.json",
    "last.safetensors",
    "log.jsonl",
    "report.html",
    "splits.csv",
  ]);
  const config = JSON.parse(
    await Deno.readTextFile(join(folder, "run", "config.json")),
  );
  assert.equal(config.preset, "needle");
  assert.equal(config.training.epochs, 2);

  const { entries } = await readManifest(join(folder, "run", "splits.csv"));
  const counts = Object.groupBy(entries, ({ split }) => split!);
  assert.deepEqual(
    [counts.train, counts.validation, counts.test].map((side) => side?.length),
    [10, 2, 8],
  );

  const [run, ...epochs] = await logOf("run");
  assert.equal(run!.type, "run");
  assert.equal(run!.seed, 0);
  assert.deepEqual(run!.config, config);
  assert.equal(run!.backend, "wasm");
  for (const key of ["deno", "v8", "tfjs", "os", "cpu"]) {
    assert.equal(typeof run![key], "string", key);
  }
  assert.ok((run!.cores as number) >= 1 && (run!.memoryBytes as number) > 0);
  assert.equal(epochs.length, 2);
  for (const [i, line] of epochs.entries()) checkEpoch(line, i + 1);
  const { type: _, epoch, ...line } = epochs[1]!;
  const { trainSeconds, seconds, cpuSeconds, peakBytes: peak, ...figures } =
    line;
  assert.ok((peak as number) > 2 ** 20);
  assert.equal(epoch, 2);
  for (const time of [trainSeconds, seconds, cpuSeconds]) {
    assert.ok((time as number) > 0);
  }
  assert.deepEqual(last, figures);
});

function checkEpoch(line: LogLine, epoch: number): void {
  const figure = (key: string) => {
    assert.ok(Number.isFinite(line[key]), `${key} of ${JSON.stringify(line)}`);
    return line[key] as number;
  };
  assert.equal(line.type, "epoch");
  assert.equal(line.epoch, epoch);
  assert.ok(figure("loss") > 0 && figure("validationLoss") > 0);
  for (const key of ["accuracy", "validationAccuracy", "validationAuc"]) {
    assert.ok(figure(key) >= 0 && figure(key) <= 1, key);
  }
  for (const net of ["a", "b", "f", "g"]) {
    assert.ok(figure(`gradientNorm_${net}`) > 0, net);
  }
  assert.ok(figure("liveChannels") >= 1);
  assert.ok(Math.abs(figure("featureCosine")) <= 1);
  // At most that of a uniform map: 16 x 16 tiles, 16 x 16 sub-tiles.
  for (const key of ["tileEntropy", "subTileEntropy"]) {
    assert.ok(figure(key) > 0 && figure(key) <= Math.log(256) + 1e-4, key);
  }
}

Deno.test("train says in words what it came to", async () => {
  const { stdout } = await succeed(
    folder,
    ...training("words", "--epochs", "1"),
  );
  assert.match(
    stdout,
    /^words: 1 epoch done, the best epoch is 1 \(best\.safetensors\)\n {2}last epoch: loss \d\.\d{3}, accuracy \d\.\d{3}, validation loss \d\.\d{3}, accuracy \d\.\d{3}, AUC [\d.-]+\n$/,
  );
  const again = await zoomin(folder, ...training("words", "--epochs", "1"));
  assertFailsInOneLine(again, {
    code: 2,
    message: /^words already holds a run: add --resume/m,
  });
});

Deno.test("train names the classes, and an epoch that nothing chose", async () => {
  const { entries } = await readManifest(join(folder, "set", "manifest.csv"));
  const labels = ["b", ..."BBacdefghijklm"];
  const rows = labels.map((label, i) => `${entries[i]!.path},${label},train`);
  await Deno.writeTextFile(
    join(folder, "classes.csv"),
    ["image,label,split", ...rows, ""].join("\n"),
  );
  const argv = training("classes", "--epochs", "1");
  argv[argv.indexOf("--data") + 1] = "classes.csv";
  const set = ["training.validation=0", "training.contrastiveFrom=null"]
    .flatMap((setting) => ["--set", setting]);
  const { stdout, stderr } = await succeed(
    folder,
    ...[...argv, ...set, "--labels-as-they-are"],
  );
  assert.match(
    stderr,
    /^15 images to train on \(B 2, a 1, b 1, c 1, .*, j 1, k 1, 2 more\), 0 for /m,
  );
  assert.match(
    stdout,
    /^classes: 1 epoch done, best\.safetensors holds the last epoch, /,
  );
});

Deno.test("train --epochs 0 gives a checkpoint that classifies", async () => {
  const start = await succeed(
    folder,
    ...training("untrained", "--epochs", "0"),
  );
  assert.match(start.stdout, /0 epochs done, no epoch was run: best\./);
  const { stdout } = await succeed(
    folder,
    ...["classify", "--checkpoint", "untrained", "--json", "--backend", "wasm"],
    "set/images/test_00000.png",
  );
  const { probabilities } = JSON.parse(stdout);
  assert.deepEqual(Object.keys(probabilities), ["negative", "positive"]);
});

Deno.test("any words are labels while nothing refers to a reference class", async () => {
  await Deno.writeTextFile(
    join(folder, "words.csv"),
    `image,label\n${IMAGE(0)},chat\ngrey.png,chien\n`,
  );
  await sharp(join(folder, IMAGE(1))).greyscale().toColourspace("b-w")
    .toFile(join(folder, "grey.png"));
  const result = await succeed(
    folder,
    ...["train", "--data", "words.csv", "--out", "mine", "--preset", "needle"],
    ...["--test", "0", "--set", "training.validation=0", "--epochs", "0"],
    ...["--backend", "wasm"],
  );
  assert.match(result.stderr, /^warning: 1 image: grey expanded to RGB$/m);
  const entries = await readManifest(join(folder, "mine", "splits.csv"));
  assert.deepEqual(entries.classes, ["chat", "chien"]);
});

Deno.test("a run that was killed continues as if it had not been", async () => {
  await stopInThirdEpoch("killed", "SIGKILL");
  await succeed(folder, ...training("killed", ...LONG, "--resume"));
  await assertUndisturbed("killed");
});

Deno.test("Ctrl-C stops with 130; --resume needs no settings to continue", async () => {
  await stopInThirdEpoch("stopped", "SIGINT");
  const { stdout } = await succeed(
    folder,
    ...["train", ...DATA, "--out", "stopped", "--resume", "--backend", "wasm"],
  );
  assert.match(stdout, /^stopped: 5 epochs done, /);
  await assertUndisturbed("stopped");
});

Deno.test("--resume refuses what would be another run, and leaves its files", async () => {
  await succeed(folder, ...training("kept", "--epochs", "1"));
  const path = (name: string) => join(folder, "kept", name);
  const files = ["config.json", "splits.csv", "log.jsonl", "last.safetensors"];
  const read = () =>
    Promise.all(files.map((name) => Deno.readFile(path(name))));
  const before = await read();
  const manifest = join(folder, "set", "fewer.csv");
  const rows = (await Deno.readTextFile(join(folder, "set", "manifest.csv")))
    .split("\n");
  await Deno.writeTextFile(manifest, rows.toSpliced(1, 1).join("\n"));
  const resume = ["train", "--out", "kept", "--resume", "--backend", "wasm"];
  await inParallel<[argv: string[], message: RegExp]>([
    [
      [...DATA, "--seed", "9"],
      /with --seed 9: it was started with 0; leave out --seed$/m,
    ],
    [[...DATA, "--set", "view.samples=5"], /another view than that of kept/],
    [[...DATA, "--preset", "colon"], /another view, /],
    [[...DATA, "--foreground", "tissue"], /another view than/],
    [
      [...DATA, "--foreground", "set/images/train_00000.png"],
      /another --foreground: it was started with no file$/m,
    ],
    [
      ["--data", "set/fewer.csv"],
      /images or their split differ from kept\/splits\.csv; /,
    ],
  ], async ([argv, message]) => {
    const result = await zoomin(folder, ...resume, ...argv);
    assertFailsInOneLine(result, { code: 2, message });
  });
  for (const [i, bytes] of (await read()).entries()) {
    assert.ok(Buffer.compare(bytes, before[i]!) === 0, files[i]!);
  }

  // More epochs are no other run; what changed is said, once.
  const settings = ["training.clipNorm=2", "training.augmentation.stains=0.2"];
  const { stderr } = await succeed(
    folder,
    ...[...resume, ...DATA, "--epochs", "2"],
    ...settings.flatMap((setting) => ["--set", setting]),
  );
  assert.equal((await traceOf("kept")).length, 2);
  assert.match(
    stderr,
    /^changed: training\.epochs 1 -> 2, .*\.augmentation\.stains 0 -> 0\.2$/m,
  );
  const again = await succeed(folder, ...resume, ...DATA);
  assert.doesNotMatch(again.stderr, /changed/);
});

/** Faults of manifests and configurations: files to write, and messages. */
interface Fault {
  name: string;
  files: Record<string, string>;
  argv?: string[];
  code: number;
  message: RegExp;
}

const IMAGE = (i: number, side = "train") => `set/images/${side}_0000${i}.png`;

const FAULTS: Fault[] = [
  {
    name: "a manifest that is not there",
    files: {},
    code: 1,
    message: /none\.csv/,
  },
  {
    name: "a configuration that is not JSON",
    files: { "config.json": "{" },
    argv: ["--config", "config.json"],
    code: 2,
    message: /^Cannot read config\.json as JSON: /m,
  },
  {
    name: "a configuration with a wrong and an unknown field",
    files: {
      "fields.json":
        '{"preset": "needle", "view": {"scale1": "much"}, "training": {"epoch": 3}}',
    },
    argv: ["--config", "fields.json"],
    code: 2,
    message:
      /^Cannot use fields\.json as a configuration: view\.scale1: [^;]+; there is no "training\.epoch", did you mean "training\.epochs"\?$/m,
  },
  {
    name: "a configuration that names no preset",
    files: { "short.json": '{"training": {"epochs": 3}}' },
    argv: ["--config", "short.json"],
    code: 2,
    message:
      /^The configuration short\.json has no "preset": set it to one of colon/m,
  },
  {
    name: "labels without the reference class",
    files: {
      "labels.csv": `image,label\n${IMAGE(0)},cat\n${IMAGE(1)},dog\n`,
    },
    argv: ["--data", "labels.csv", "--preset", "needle-paper"],
    code: 2,
    message: /"negative".*labels\.csv are cat, dog; .*--set referenceClass=/,
  },
  {
    name: "one label only",
    files: { "one.csv": `image,label\n${IMAGE(0)},cat\n${IMAGE(1)},cat\n` },
    argv: ["--data", "one.csv"],
    code: 1,
    message: /one\.csv: all its images have the label "cat"/,
  },
  {
    name: "one label only among the images to train on",
    files: {
      "side.csv": `image,label,split\n${IMAGE(0)},cat,train\n${
        IMAGE(1)
      },cat,train\n${IMAGE(2)},dog,test\n`,
    },
    argv: ["--data", "side.csv"],
    code: 1,
    message: /side\.csv: all images of the split "train" have the label "cat"/,
  },
  {
    name: "faults of a manifest, all of them by line",
    files: {
      "faults.csv": `image,label,split\n${IMAGE(0)},a,train\nnone.png,b,tset\n${
        IMAGE(1)
      },,test\n`,
    },
    argv: ["--data", "faults.csv"],
    code: 1,
    message:
      /^faults\.csv:3: split is "tset".*\nfaults\.csv:3: image "none\.png" is not a file.*\nfaults\.csv:4: empty label/m,
  },
  {
    name: "a group on both sides",
    files: {
      "groups.csv": `image,label,split,group\n${IMAGE(0)},negative,train,Ann\n${
        IMAGE(1)
      },positive,train,Bob\n${IMAGE(0, "test")},negative,test,Ann\n`,
    },
    argv: ["--data", "groups.csv", "--preset", "needle"],
    code: 1,
    message:
      /groups\.csv:2 .*and groups\.csv:4 .*: group "Ann" is on both sides/,
  },
  {
    name: "no image to train on",
    files: {
      "tests.csv": `image,label,split\n${IMAGE(0)},negative,test\n${
        IMAGE(1)
      },positive,test\n`,
    },
    argv: ["--data", "tests.csv", "--preset", "needle"],
    code: 1,
    message: /tests\.csv: no image has the split "train"/,
  },
  {
    name: "the manifest's folds, where it has none",
    files: {
      "nofold.csv": `image,label\n${IMAGE(0)},negative\n${IMAGE(1)},positive\n`,
    },
    argv: ["--data", "nofold.csv", "--preset", "needle", "--folds", "manifest"],
    code: 1,
    message: /nofold\.csv has no column "fold"/,
  },
  {
    name: "folds of test images only",
    files: {
      "aside.csv": `image,label,split,fold\n${IMAGE(0)},negative,test,1\n${
        IMAGE(1)
      },positive,test,2\n`,
    },
    argv: ["--data", "aside.csv", "--preset", "needle", "--folds", "manifest"],
    code: 1,
    message:
      /aside\.csv are left for folds: all have the split "test"; mark some/,
  },
  {
    name: "more folds than images that are not set aside",
    files: {},
    argv: [...DATA, "--preset", "needle", "--folds", "8"],
    code: 1,
    message:
      /^left out of the folds: 8 test images\nCannot make 8 parts .* has only 6 groups/m,
  },
  {
    name: "a group that is set aside and in a fold",
    files: {
      "apart.csv": `image,label,split,fold,group\n${
        IMAGE(0)
      },negative,train,1,Ann\n${IMAGE(1)},positive,train,2,Bob\n${
        IMAGE(0, "test")
      },negative,test,1,Ann\n`,
    },
    argv: ["--data", "apart.csv", "--preset", "needle", "--folds", "manifest"],
    code: 1,
    message: /group "Ann" is on both sides/,
  },
  {
    name: "a fold that is not there",
    files: {},
    argv: [...DATA, "--preset", "needle", "--folds", "2", "--fold", "3"],
    code: 1,
    message: /fold 3: the manifest's folds are 1, 2/,
  },
  {
    name: "an output folder that is a file",
    files: { "file": "" },
    argv: [...DATA, "--preset", "needle", "--out", "file"],
    code: 2,
    message:
      /^Cannot write a run to file: it is a file; give a folder as --out$/m,
  },
  {
    name: "a damaged training image",
    files: {
      "damaged.png": "\x89PNG\r\n\x1a\n no more",
      "damaged.csv": `image,label,split\ndamaged.png,negative,train\n${
        IMAGE(1)
      },positive,train\n`,
    },
    argv: [
      ...["--data", "damaged.csv", "--preset", "needle"],
      ...["--set", "training.validation=0"],
    ],
    code: 1,
    message: /damaged\.png/,
  },
];

Deno.test("train names what is wrong with its input, and leaves no run", async () => {
  for (const { files } of FAULTS) {
    for (const [name, text] of Object.entries(files)) {
      const bytes = Uint8Array.from(text, (c) => c.charCodeAt(0));
      await Deno.writeFile(join(folder, name), bytes);
    }
  }
  await inParallel([...FAULTS.entries()], async ([i, fault]) => {
    const result = await zoomin(
      folder,
      ...["train", "--data", "none.csv", "--out", `fault-${i}`],
      ...["--backend", "wasm", ...fault.argv ?? []],
    );
    assertFails(result, fault);
    const checkpoint = join(folder, `fault-${i}`, "last.safetensors");
    await assert.rejects(Deno.stat(checkpoint), Deno.errors.NotFound);
  });
});

Deno.test("train --folds: both protocols, once", async () => {
  const argv = training("cv", "--folds", "2", "--epochs", "2");
  const first = await succeed(folder, ...argv);
  const [header, ...lines] = first.stdout.trimEnd().split("\n");
  assert.match(header!, /^protocol +fold +epoch +accuracy +AUC +hit +chance$/);
  const cells = [
    ["best-epoch", "1"],
    ["best-epoch", "2"],
    ["held-out", "1"],
    ["held-out", "2"],
  ];
  assert.deepEqual(
    lines.slice(0, 4).map((line) => line.split(/ +/).slice(0, 2)),
    cells,
  );
  for (const protocol of ["best-epoch", "held-out"]) {
    for (const name of ["accuracy", "AUC", "hit rate"]) {
      const total = new RegExp(
        `^${protocol}: ${name} \\d\\.\\d{3} \\(deviation .*, 2 folds\\)$`,
        "m",
      );
      assert.match(first.stdout, total);
    }
  }
  const progress = remarks(first);
  // Images left out, a line a cell, and the peak memory.
  assert.equal(progress.length, 6);
  assert.equal(progress[0], "left out of the folds: 8 test images");
  for (const [protocol, fold] of cells) { // in the order in which they ended
    const line = new RegExp(
      `^fold ${fold} ${protocol}: accuracy \\d\\.\\d{3}, AUC `,
    );
    assert.ok(progress.some((text) => line.test(text)), `${progress}`);
  }

  const { results, summaries, seed } = JSON.parse(
    await Deno.readTextFile(join(folder, "cv", "crossval.json")),
  );
  assert.equal(seed, 0);
  assert.equal(summaries.length, 2);
  assert.equal(results.length, 4);
  let scored = 0;
  for (const [i, [protocol, fold]] of cells.entries()) {
    const cell = join(folder, "cv", protocol!, `fold-0${fold}`);
    const result = JSON.parse(
      await Deno.readTextFile(join(cell, "result.json")),
    );
    assert.deepEqual(result, results[i]);
    assert.equal(result.protocol, protocol);
    scored += result.report.images;
    const table = await Deno.readTextFile(join(cell, "predictions.csv"));
    assert.equal(table.trimEnd().split("\n").length, result.report.images + 1);
  }
  assert.equal(scored, 2 * 12); // each image but the test ones, once a protocol
  await checkNoLeak();
  await checkFoldSplits();

  const writtenAt = () =>
    cells.map(([protocol, fold]) => {
      const cell = join(folder, "cv", protocol!, `fold-0${fold}`);
      return Deno.statSync(join(cell, "last.safetensors")).mtime!.getTime();
    });
  const before = writtenAt();
  const again = await succeed(folder, ...argv);
  assert.equal(again.stdout, first.stdout);
  assert.deepEqual(writtenAt(), before, "it trained again");

  await inParallel<[string[], RegExp]>([
    [["--folds", "3"], /cv\/folds\.csv; give the --data, --seed/],
    [["--folds", "2", "--seed", "1"], /continue cv with another --seed: /],
    [["--folds", "2", "--set", "view.samples=5"], /another configuration: /],
    [
      ["--folds", "2", "--foreground", "set/images/train_00000.png"],
      /another --foreground: /,
    ],
  ], async ([changes, message]) => {
    const argv = training("cv", "--epochs", "2", ...changes);
    const result = await zoomin(folder, ...argv);
    assertFails(result, { code: 2, message });
  });
  const third = await succeed(folder, ...argv, "--json");
  assert.deepEqual(JSON.parse(third.stdout).results, results);

  // One fold requested alone: the others stay on record.
  const part = await succeed(folder, ...argv, "--fold", "1", "--json");
  assert.equal(JSON.parse(part.stdout).results.length, 2);
  const record = JSON.parse(
    await Deno.readTextFile(join(folder, "cv", "crossval.json")),
  );
  assert.deepEqual(record.results, results);
});

Deno.test("train --folds manifest: no fold has the images of the split test", async () => {
  const { entries } = await readManifest(join(folder, "set", "manifest.csv"));
  const rows = entries.map(({ path, label, split }, i) =>
    `${path},${label},${split},${1 + Math.floor(i / 2) % 2}`
  );
  await Deno.writeTextFile(
    join(folder, "both.csv"),
    ["image,label,split,fold", ...rows, ""].join("\n"),
  );
  const argv = training("cv8", "--folds", "manifest", "--epochs", "1");
  argv[argv.indexOf("--data") + 1] = "both.csv";
  const { stdout, stderr } = await succeed(
    folder,
    ...[...argv, "--protocol", "best-epoch", "--json"],
  );
  const results: FoldResult[] = JSON.parse(stdout).results;
  assert.deepEqual(results.map(({ report }) => report.images), [6, 6]);
  assert.match(stderr, /^left out of the folds: 8 test images$/m);
});

Deno.test("train --folds --workers: side by side is as one by one", async () => {
  const run = async (name: string, workers: string) => {
    const argv = training(name, "--folds", "2", "--epochs", "2");
    const both = ["--workers", workers, "--protocol", "held-out", "--json"];
    const { stdout } = await succeed(folder, ...argv, ...both);
    const { results } = JSON.parse(stdout);
    return results.map(untimed);
  };
  assert.deepEqual(await run("cv2", "2"), await run("cv1", "1"));
});

/** The one fold that is run without validation. */
async function unvalidated(
  name: string,
  protocol: string,
  ...more: string[]
): Promise<FoldResult[]> {
  const { stdout } = await succeed(
    folder,
    ...training(name, "--folds", "2", "--fold", "1", "--epochs", "3"),
    ...["--set", "training.validation=0", "--protocol", protocol],
    ...["--workers", "1", "--json", ...more],
  );
  return JSON.parse(stdout).results;
}

Deno.test("without validation both protocols share one training", async () => {
  const run = unvalidated;
  const alone = await run("cv4", "held-out");
  const [best, last] = await run("cv5", "both");
  assert.equal(last!.bestEpoch, 3); // nothing chose it
  assert.deepEqual(untimed(last!), untimed(alone[0]!));
  assert.ok(last!.seconds > best!.seconds && last!.cpuSeconds > 0);
});

Deno.test("workers side by side share a training, too", async () => {
  await unvalidated("beside", "both", "--workers", "2");
  const [best, last] = await Promise.all(
    ["best-epoch", "held-out"].map((protocol) =>
      Deno.readTextFile(join(folder, "beside", protocol, "fold-01/log.jsonl"))
    ),
  );
  assert.equal(last, best); // with its times
});

Deno.test("a training that the fold may end is not shared", async () => {
  const patience = [
    "training.patience=1",
    "training.learningRate=1e-20", // nothing moves: no epoch beats the first
    "training.attentionLearningRate=1e-20",
    "network.centreFeatures=false",
  ].flatMap((setting) => ["--set", setting]);
  const [alone] = await unvalidated("patient1", "held-out", ...patience);
  const [, last] = await unvalidated("patient2", "both", ...patience);
  const ended = await traceOf(join("patient2", "best-epoch", "fold-01"));
  assert.equal(ended.length, 2);
  assert.equal(last!.bestEpoch, 3);
  assert.deepEqual(untimed(last!), untimed(alone!));
});

Deno.test("a shared training takes the place of one that was cut off", async () => {
  const [best] = await unvalidated("shared", "best-epoch");
  const own = join(folder, "shared", "held-out", "fold-01");
  await Deno.mkdir(own, { recursive: true });
  await succeed(folder, ...training("early", "--epochs", "1"));
  for (const name of ["best.safetensors", "last.safetensors"]) {
    await Deno.copyFile(join(folder, "early", name), join(own, name));
  }
  const [, last] = await unvalidated("shared", "both");
  assert.equal(last!.bestEpoch, 3);
  assert.ok(last!.seconds > best!.seconds);
});

Deno.test("the time of a fold is that of all its pieces", async () => {
  const [whole] = await unvalidated("pieces", "held-out");
  // The state after a stop behind the last epoch.
  const run = join("pieces", "held-out", "fold-01");
  await Deno.remove(join(folder, run, "result.json"));
  const [again] = await unvalidated("pieces", "held-out");
  const epochs = (await logOf(run)).filter(({ type }) => type === "epoch");
  for (const time of ["seconds", "cpuSeconds"] as const) {
    const trained = epochs.reduce((sum, line) => sum + Number(line[time]), 0);
    assert.ok(trained > 0 && whole![time] > trained);
    assert.ok(again![time] > trained, `${time} ${again![time]}`);
  }
});

Deno.test("workers without a fold to do take no memory from those that have", async () => {
  await succeed(
    folder,
    ...training("crowd", "--folds", "2", "--fold", "1", "--epochs", "1"),
    ...["--set", "network.features=resnet", "--protocol", "held-out"],
    ...["--workers", "64", "--memory", "512MB"],
  );
});

Deno.test("train --folds: an image that cannot be read is one line", async () => {
  const broken = join(folder, "broken");
  await Deno.mkdir(broken);
  await Deno.writeTextFile(join(broken, "bad.png"), "\x89PNG\r\n\x1a\nno more");
  const rows = (await readManifest(join(folder, "set", "manifest.csv"))).entries
    .slice(0, 8).map(({ path, label }) => `${path},${label}`);
  await Deno.writeTextFile(
    join(broken, "manifest.csv"),
    ["image,label", ...rows, "bad.png,positive", ""].join("\n"),
  );
  const argv = training("cv3", "--folds", "2", "--epochs", "1");
  argv[argv.indexOf("--data") + 1] = join(broken, "manifest.csv");
  const result = await zoomin(folder, ...argv, "--protocol", "held-out");
  assert.equal(result.code, 1);
  const lines = result.stderr.trimEnd().split("\n");
  assert.match(lines.at(-3)!, /1 image cannot be read/);
  assert.match(lines.at(-2)!, /manifest\.csv:10: .*bad\.png/);
  assert.ok(!result.stderr.includes("    at "), result.stderr);
});

Deno.test("train --folds: a picture twice is on one side of validation", async () => {
  const twins = join(folder, "twins");
  await Deno.mkdir(twins);
  const images = (await readManifest(join(folder, "set", "manifest.csv")))
    .entries.slice(0, 12);
  const rows = images.flatMap(({ path, label }, i) => [
    `${path},${label},${i % 3}`,
    `${i}.png,${label},${i % 3}`,
  ]);
  for (const [i, { path }] of images.entries()) {
    await Deno.copyFile(path, join(twins, `${i}.png`));
  }
  await Deno.writeTextFile(
    join(twins, "manifest.csv"),
    ["image,label,fold", ...rows, ""].join("\n"),
  );
  const argv = training("cv6", "--folds", "manifest", "--epochs", "1");
  argv[argv.indexOf("--data") + 1] = join(twins, "manifest.csv");
  const held = ["--protocol", "held-out"];
  const result = await zoomin(folder, ...argv, ...held);
  assert.equal(result.code, 1);
  assert.match(
    result.stderr,
    /, split train, .*, split validation, .*: the same image/,
  );
});

Deno.test("train --folds says what decoding changed in an image", async () => {
  const grey = join(folder, "grey");
  await Deno.mkdir(grey);
  const images = (await readManifest(join(folder, "set", "manifest.csv")))
    .entries.slice(0, 12);
  for (const [i, { path }] of images.entries()) {
    const picture = sharp(path);
    if (i === 0) picture.greyscale().toColourspace("b-w");
    await picture.toFile(join(grey, `${i}.png`));
  }
  const rows = images.map(({ label }, i) => `${i}.png,${label}`);
  await Deno.writeTextFile(
    join(grey, "manifest.csv"),
    ["image,label", ...rows, ""].join("\n"),
  );
  const argv = training("cv7", "--folds", "2", "--epochs", "1");
  argv[argv.indexOf("--data") + 1] = join(grey, "manifest.csv");
  const { stderr } = await succeed(folder, ...argv, "--workers", "2");
  assert.match(stderr, /^warning: 1 image: .*grey/m);
});

/** A result without what a clock measured. */
function untimed(
  { seconds: _, cpuSeconds: __, peakBytes: ___, ...result }: FoldResult,
) {
  return result;
}

/**
 * The held-out protocol chooses its epoch on images that are no test images.
 */
async function checkNoLeak(): Promise<void> {
  const { entries } = await readManifest(join(folder, "cv", "folds.csv"));
  const tested = new Set(
    entries.filter(({ fold }) => fold === 1).map(({ path }) => basename(path)),
  );
  const table = await Deno.readTextFile(
    join(folder, "cv", "held-out", "fold-01", "predictions.csv"),
  );
  const predicted = table.trimEnd().split("\n").slice(1)
    .map((line) => basename(line.split(",")[0]!));
  assert.deepEqual(new Set(predicted), tested);
  const lines = await logOf(join("cv", "held-out", "fold-01"));
  assert.ok(lines.every((line) => line.testLoss === undefined));
  const chosen = await logOf(join("cv", "best-epoch", "fold-01"));
  assert.ok(
    chosen.filter(({ type }) => type === "epoch")
      .every(({ testLoss }) => Number.isFinite(testLoss)),
  );
}

/**
 * A fold keeps its split, so that eval knows the training images of its run.
 */
async function checkFoldSplits(): Promise<void> {
  const warned = async (protocol: string) => {
    const result = await succeed(
      folder,
      ...["eval", "--checkpoint", `cv/${protocol}/fold-01`],
      ...["--data", "cv/folds.csv", "--split", "all", "--backend", "wasm"],
    );
    return remarks(result).filter((line) => line.startsWith("warning: "));
  };
  assert.deepEqual(await warned("held-out"), [
    "warning: the run was trained or selected on 6 of these 12 images; score new ones with --data cv/held-out/fold-01/splits.csv --split test",
  ]);
  assert.deepEqual(await warned("best-epoch"), [
    "warning: the run was trained or selected on 12 of these 12 images",
  ]);
}
