/** `train --jobs` and `work --kinds share`, as processes. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { NATS_SERVER, startNats } from "../serve/jobs/nats/nats_server.ts";
import { eventually } from "../waiting.ts";
import {
  assertFailsInOneLine,
  drawSet,
  folderOfFile,
  inParallel,
  outcome,
  SMALL,
  start,
  succeed,
  zoomin,
} from "./process.ts";

const folder = folderOfFile(drawSet);
const SEEDS = ["0", "1"];
const TRAIN = ["train", "--data", "set/manifest.csv"];
const RUN = [...TRAIN, ...SMALL, "--epochs", "20", "--workers", "1"];
const NOWHERE = "nats://127.0.0.1:1";

/** A host that shares runs; `log` is what it has said so far. */
function host(url: string) {
  const process = start(
    folder,
    ...["work", "--kinds", "share", "--jobs", url],
    ...["--data-root", "set", "--workers", "1"],
  );
  const said = saying(process);
  return { process, said };
}

/** Follows what a process says on stderr, and awaits its end. */
function saying({ stdout, stderr, status }: Deno.ChildProcess) {
  let text = "";
  const read = stderr.pipeThrough(new TextDecoderStream())
    .pipeTo(new WritableStream({ write: (part) => void (text += part) }));
  return {
    get text() {
      return text;
    },
    ended: Promise.all([status, stdout.cancel(), read]),
  };
}

Deno.test({
  name: "two runs share two hosts, one of which is killed, with the same bits",
  ignore: NATS_SERVER === undefined,
  async fn() {
    await using servers = await startNats();
    const [one, two] = [host(servers.url), host(servers.url)];
    const isThere = ({ said }: typeof one) => said.text.includes('"working"');
    await eventually("hosts are there", () => [one, two].every(isThere));
    const leaders = SEEDS.map((seed) => {
      const more = ["--seed", seed, "--jobs", servers.url];
      return saying(start(folder, ...RUN, "--out", `shared-${seed}`, ...more));
    });
    // As soon as one has a host, unless they were done before.
    const ended = Promise.all(leaders.map(({ ended }) => ended));
    let isOver = false;
    ended.then(() => isOver = true);
    await eventually(
      "a host shares a run",
      () =>
        isOver || leaders.some(({ text }) => text.includes("shares the run")),
    );
    one.process.kill("SIGKILL");
    for (const [i, [{ code }]] of (await ended).entries()) {
      assert.equal(code, 0, leaders[i]!.text);
    }
    two.process.kill("SIGTERM");
    const [{ code }] = await two.said.ended;
    assert.equal(code, 0, two.said.text);
    await one.said.ended;
    for (const seed of SEEDS) {
      const alone = `alone-${seed}`;
      await succeed(folder, ...RUN, "--out", alone, "--seed", seed);
      await assertSame(alone, `shared-${seed}`);
    }
  },
});

async function assertSame(...runs: [string, string]): Promise<void> {
  for (const file of ["best.safetensors", "last.safetensors"]) {
    const [a, b] = await Promise.all(
      runs.map((run) => Deno.readFile(join(folder, run, file))),
    );
    assert.deepEqual(a, b, `${file} of ${runs}`);
  }
}

Deno.test({
  name: "a host whose leader is killed is free for the run that continues",
  ignore: NATS_SERVER === undefined,
  async fn() {
    await using servers = await startNats();
    const { process, said } = host(servers.url);
    await eventually("the host is there", () => said.text.includes("working"));
    const run = [...TRAIN, ...SMALL, "--out", "killed", "--workers", "1"];
    const endless = [...run, "--epochs", "100000", "--jobs", servers.url];
    const killed = start(folder, ...endless);
    const { ended } = saying(killed);
    const shares = () => said.text.split('"sharing"').length - 1;
    await eventually("it shares the run", () => shares() === 1);
    killed.kill("SIGKILL");
    await ended;
    const continued = start(folder, ...endless, "--resume");
    const leader = saying(continued);
    await eventually("it shares the run again", () => shares() === 2);
    assert.match(said.text, /the leader does not answer/);
    continued.kill("SIGTERM");
    await leader.ended;
    process.kill("SIGTERM");
    await said.ended;
  },
});

Deno.test("runs and hosts that cannot share are refused in one line", async () => {
  const leads = [...TRAIN, "--out", "refused", "--jobs", NOWHERE];
  const shares = ["work", "--kinds", "share", "--jobs", NOWHERE];
  const wrong: [argv: string[], message: RegExp][] = [
    [
      [...leads, "--preset", "needle", "--set", "training.batchSize=1"],
      /a step has one image \(training\.batchSize\): leave out --jobs$/,
    ],
    [
      [...leads, "--preset", "needle", "--set", "network.features=resnet"],
      /resnet looks at the images of a step together: leave out --jobs$/,
    ],
    [
      [...leads, "--preset", "needle", "--features", "scattering"],
      /training\.dense reads the features of an image once: leave out --jobs$/,
    ],
    [
      [...leads, "--preset", "needle", "--backend", "webgpu"],
      /^--jobs shares steps that are computed on the CPU/,
    ],
    [[...leads, "--preset", "needle", "--folds", "2"], /no folds/],
    [shares, /^--kinds share reads no image without --data-root DIR/],
    [[...shares, "--models", "set"], /^--models has no effect/],
    [["work", "--jobs", NOWHERE], /^Missing flag: give --models DIR$/],
    [
      ["work", "--jobs", NOWHERE, "--kinds", "share,train"],
      /^--kinds must be .* or share alone, not "share,train"$/,
    ],
  ];
  await inParallel(wrong, async ([argv, message]) => {
    const result = await zoomin(folder, ...argv);
    assertFailsInOneLine(result, { code: 2, message });
  });
});

Deno.test("a host of runs without NATS says where it looked", async () => {
  const result = await outcome(start(
    folder,
    ...["work", "--kinds", "share", "--jobs", NOWHERE, "--data-root", "set"],
  ));
  assert.equal(result.code, 1, result.stderr);
  assert.match(
    result.stderr,
    /Cannot share images at nats:\/\/127\.0\.0\.1:1: .*; start nats-server there, and check --jobs/,
  );
});
