import assert from "node:assert/strict";
import { withFolder } from "./data/folder.ts";
import {
  assertFailsInOneLine,
  inParallel,
  taskCommands,
  zoomin,
} from "./commands/process.ts";

const FILES = "--allow-read --allow-write --allow-env --allow-sys --allow-ffi";
const NET = `${FILES} --allow-net`; // images may lie on web servers

// The command that serves strangers may read only the listed surroundings.
const SERVE = [
  "--allow-read --allow-write",
  "--allow-env=MALLOC_ARENA_MAX,TEMP,TMP,TMPDIR,XDG_RUNTIME_DIR,npm_package_config_libvips",
  "--allow-sys=cpus,hostname,networkInterfaces,osRelease,statfs,systemMemoryInfo",
  "--allow-ffi --allow-net",
].join(" ");

// Exact permissions of each command's task.
const GRANTS: Record<string, string> = {
  train: NET,
  eval: NET,
  classify: NET,
  serve: SERVE,
  work: SERVE,
  jobs: NET,
  check: NET,
  dataset: FILES,
  pyramid: NET,
  report: FILES,
  study: `${NET} --allow-run`, // each run is a process of its own
  merge: NET,
  demo: FILES,
  doctor: FILES,
  completion: "--allow-read --allow-env --allow-sys --allow-ffi",
  openslide: "--allow-read --allow-write --allow-ffi", // loads it once
  encoder:
    "--allow-read --allow-env=TEMP,TMP,TMPDIR,XDG_RUNTIME_DIR --allow-ffi",
};
// May use an encoder, whose packages `deno task` is not to fetch.
const WITH_ENCODERS = "train eval classify serve work jobs study merge encoder"
  .split(
    " ",
  );
// An idle server gives memory back: lib/serve/idle_collector.ts.
const IDLE = "--v8-flags=--expose-gc,--max-semi-space-size=16 ";
const V8_FLAGS: Record<string, string> = {
  serve: IDLE,
  work: IDLE,
};
// Of one heap of the allocator less is lost between what is used than of many.
const ONE_ARENA = "MALLOC_ARENA_MAX=1 ";
const SETTINGS: Record<string, string> = { serve: ONE_ARENA, work: ONE_ARENA };
const COMMANDS = Object.keys(GRANTS);

Deno.test("tasks grant the permissions that their command needs", () => {
  for (const [name, grants] of Object.entries(GRANTS)) {
    const lock = WITH_ENCODERS.includes(name) ? "--lock=encoders.lock " : "";
    assert.equal(
      taskCommands[name],
      `${SETTINGS[name] ?? ""}deno run --no-prompt ${
        V8_FLAGS[name] ?? ""
      }${lock}${grants} main.ts ${name}`,
    );
  }
});

Deno.test("--help prints commands and flags, on stdout", async () => {
  await inParallel([["--help"], ["-h"], ["help"]], async (argv) => {
    const { code, stdout, stderr } = await zoomin(".", ...argv);
    assert.deepEqual({ code, stderr }, { code: 0, stderr: "" });
    for (const name of COMMANDS) {
      assert.match(stdout, new RegExp(`^  ${name} +[A-Z]`, "m"));
    }
  });
  await inParallel(COMMANDS, async (name) => {
    const { code, stdout, stderr } = await zoomin(".", name, "--help");
    assert.deepEqual({ code, stderr }, { code: 0, stderr: "" });
    assert.ok(stdout.startsWith(`deno task ${name}`), stdout);
    for (const line of stdout.split("\n")) {
      assert.ok(line.length <= 90, `${name} --help is too wide: ${line}`);
    }
  });
});

// None of them gets as far as to read or write a file.
const NAMES = "--checkpoint r --data d";
const MISUSES: [argv: string, message: RegExp][] = [
  [
    "",
    /^Missing command: give one of train, eval, classify, serve, work, jobs, /,
  ],
  ["trian", /no command "trian": give one of train, eval/],
  ["toString", /"toString"/],
  ["train --help-me", /no flag --help-me: --help lists/],
  ["train --epoch 3", /--epoch: did you mean --epochs\?/],
  ["train", /--data MANIFEST/],
  ["train --data d", /--out RUN/],
  ["train --data d --out", /'--out/],
  ["train --data= --out o", /--data is empty/],
  ["train --data --out o", /^Cannot take --data without a value/],
  ["train --data d --out o extra", /'extra'/],
  ["train --data d --out o --json=1", /'--json/],
  ["train --data d --out o --epochs 1.5", /--epochs .*integer.*"1\.5"/],
  ["train --data d --out o --seed -1", /^Cannot take --seed without a value/],
  ["train --data d --out o --seed=-1", /--seed .*integer.*"-1"/],
  ["train --data d --out o --test 1", /--test .*\[0, 1\).*"1"/],
  ["train --data d --out o --backend cuda", /--backend .*auto.*"cuda"/],
  ["train --data d --out o --folds 1", /--folds .*"1"/],
  ["train --data d --out o --folds 2 --fold x", /--fold .*"x"/],
  ["train --data d --out o --folds 2 --protocol x", /--protocol .*"x"/],
  ["train --data d --out o --fold 1", /--fold needs --folds/],
  ["train --data d --out o --protocol both", /--protocol needs --folds/],
  [
    "train --data d --out o --folds 2 --test 0.5",
    /--test has no effect with --folds, /,
  ],
  [
    "train --data d --out o --folds 2 --resume",
    /--resume has no effect with --folds, because the same command/,
  ],
  ["train --data d --out o --resume", /Cannot resume o: it has no last/],
  ["train --data d --out o --preset kolon", /"kolon" .*did you mean "colon"\?/],
  [
    "train --data d --out o --preset toString",
    /"toString" .*the presets are colon/,
  ],
  ["train --data d --out o --preset fmow --config c", /--preset and --config/],
  ["train --data d --out o --config none.json", /none\.json/],
  ["train --data d --out o --set view.scale=1", /"view\.scale1"\?/],
  ["train --data d --out o --set learningrate=1", /"training.learningRate"\?/],
  ["train --data d --out o --set view.scale1=2", /view\.scale1: /],
  ["train --data d --out o --set view", /"view" as a setting/],
  ["eval --data d", /--checkpoint RUN/],
  ["eval --checkpoint r", /--data MANIFEST/],
  [`eval ${NAMES} --split tset`, /--split .*validation.*"tset"/],
  [`eval ${NAMES} --samples 0`, /--samples .*\[1, 4096\].*"0"/],
  [`eval ${NAMES} --samples 1000000000`, /--samples .*\[1, 4096\]/],
  [`eval ${NAMES} --draws random`, /--draws .*seeded or topN.*"random"/],
  [`eval ${NAMES} --seed`, /'--seed/],
  [`eval ${NAMES} --predictions=`, /--predictions is empty/],
  ["classify", /--checkpoint RUN/],
  ["classify --checkpoint r", /No image given/],
  ["classify --checkpoint r --samples many i", /--samples .*"many"/],
  ["classify --checkpoint r --heatmap= i", /--heatmap is empty/],
  [
    "classify --checkpoint r --heatmap h a/i.png b/i.png",
    /Two images would be written to h\/i\.png/,
  ],
  ["classify --checkpoint r --shard 1/2 i", /--shard needs --parts DIR/],
  ["classify --checkpoint r --parts p i", /--parts needs --shard I\/N/],
  [`eval ${NAMES} --parts p --shard 3/2`, /--shard must be I\/N .*"3\/2"/],
  [`eval ${NAMES} --parts p --shard auto`, /--shard auto finds no scheduler/],
  ["study needle --out o --shard 0/2", /--shard must be I\/N .*"0\/2"/],
  ["merge", /Give one folder/],
  ["work --models m", /--jobs URL/],
  ["jobs", /"jobs ": the first argument must be list or show or/],
  ["jobs list", /Give --jobs URL, or --state DIR/],
  ["jobs show --state s", /jobs show needs the id of one job/],
  ["jobs list --state s", /There are no jobs in --state s/],
  [
    "work --models m --jobs nats://a --kinds batch,eval",
    /--kinds must be one or more of train,classify,batch,fold, or share alone, not "batch,eval"/,
  ],
  ["serve --models . --jobs a:4222", /--jobs must be nats:\/\/HOST/],
  ["serve --models . --jobs-authority f", /need --jobs URL/],
  ["dataset", /needle or megapixel-mnist/],
  ["dataset needle", /--out DIR/],
  ["dataset needle --out o --images few", /--images .*"few"/],
  ["dataset slide --out o", /--gigapixels G/],
  ["dataset slide --out o --gigapixels 1e9", /--gigapixels .*64\].*"1e9"/],
  ["dataset slide --out o --gigapixels=", /--gigapixels is empty/],
  ["pyramid i.png", /Two arguments are needed: IN and OUT\.tif/],
  ["pyramid i.png o.tif p.tif", /Two arguments/],
  ["pyramid i.png o.tif --tile 100", /--tile .*multiple of 16.*"100"/],
  ["pyramid i.png o.tif --compression lzw", /--compression .*"lzw"/],
  [
    "pyramid i.png o.tif --compression deflate --quality 9",
    /--quality has no effect with --compression deflate/,
  ],
  ["demo --epochs 3", /no flag --epochs: --help lists/],
  ["completion", /"": the first argument must be bash or zsh or fish/],
  ["completion bash now", /'now'/],
  ["doctor --fast", /no flag --fast: --help lists/],
];

Deno.test("a wrong command line: exit 2 and one line that names the flag", async () => {
  await withFolder(async (folder) => {
    await inParallel(MISUSES, async ([argv, message]) => {
      const result = await zoomin(folder, ...argv.split(" ").filter(Boolean));
      assertFailsInOneLine(result, { code: 2, message });
      assert.doesNotMatch(result.stderr, /^engine: /m, argv);
    });
  });
});

Deno.test("doctor tests each engine in a process of its own", async () => {
  const { code, stdout, stderr } = await zoomin(".", "doctor");
  assert.deepEqual({ code, stderr }, { code: 0, stderr: "" });
  assert.match(stdout, /^wasm +ok +softmax +max error /m);
  assert.match(stdout, /^ +ok +convolution, filter gradient +max error /m);
});
