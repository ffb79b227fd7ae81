/**
 * A run that hosts share, by a real NATS server: they are processes, and come,
 * fall silent and die between steps and within them.
 */
import assert from "node:assert/strict";
import { cp } from "node:fs/promises";
import { join } from "node:path";
import sharp from "sharp";
import { ImageCache } from "../../../lib/image/image_cache.ts";
import { Memory } from "../../../lib/memory.ts";
import { BEST, LAST } from "../../../lib/model/checkpoint.ts";
import type { Config } from "../../../lib/model/config.ts";
import { preset } from "../../../lib/model/presets.ts";
import { connectNats } from "../../../lib/serve/jobs/nats/connection.ts";
import { type Refusal, subjectsOf } from "../../../lib/train/hosts/protocol.ts";
import { train, type TrainOptions } from "../../../lib/train/trainer.ts";
import { start } from "../../commands/process.ts";
import { testOnWasm } from "../../engines.ts";
import { eventually, within } from "../../waiting.ts";
import {
  NATS_SERVER,
  type NatsServers,
  startNats,
} from "../../serve/jobs/nats/nats_server.ts";
import { CLASSES, inFolder, writePictures } from "../dense/toy_images.ts";

const IMAGE_BYTES = 2 ** 20;

/** A small network that sees 64-px images, four images a step. */
function toyConfig(): Config {
  const config = preset("needle");
  config.referenceClass = CLASSES[0]!;
  Object.assign(config.view, {
    scale1: 0.125,
    scale2: 0.25,
    tileSize: 16,
    tileStride: 8,
    subTileSize: 7,
    samples: 3,
  });
  config.evaluation.samples = 3;
  Object.assign(config.training, {
    epochs: 2,
    batchSize: 4,
    learningRate: 3e-3,
    attentionLearningRate: 3e-3,
    contrastiveFrom: 2,
  });
  return config;
}

/** Steps of a run of {@linkcode trained}: 2 epochs of 2. */
const STEPS = 4;

/** Options of {@linkcode trained}. */
type RunOptions = Partial<TrainOptions> & {
  /** Draws other images in the place of the usual ones. */
  draw?: () => Promise<unknown>;
};

/** Side of a {@linkcode uncompressedTiff}, px. */
const TIFF_SIDE = 640;

/** An image whose file is larger than what is looked at of it. */
async function uncompressedTiff(seed: number): Promise<Uint8Array> {
  const pixels = Uint8Array.from(
    { length: 3 * TIFF_SIDE ** 2 },
    (_, i) => (i * (seed + 7)) % 251,
  );
  const raw = { width: TIFF_SIDE, height: TIFF_SIDE, channels: 3 as const };
  return await sharp(pixels, { raw }).tiff({ compression: "none" }).toBuffer();
}

/** Changes what lies between the 64 blocks that are looked at of a file. */
function spoilBetweenBlocks(bytes: Uint8Array): void {
  const block = 16 * 1024, step = (bytes.length - block) / 63;
  for (let i = 0; i < 63; i++) {
    const from = Math.ceil(i * step + block);
    bytes.fill(0, from, Math.floor((i + 1) * step));
  }
}

/** Trains on 8 images, 3 for validation; its checkpoints. */
async function trained(
  folder: string,
  name: string,
  { config = toyConfig(), draw, ...options }: RunOptions = {},
): Promise<Uint8Array[]> {
  const entries = await writePictures(join(folder, "images"), 0, 11);
  await draw?.();
  const isSurvival = config.target === "survival";
  if (isSurvival) {
    entries.forEach((entry, i) => entry.goal = [1 + i % 4, i % 2]);
  }
  const run = join(folder, name);
  await train({
    classes: isSurvival ? ["risk"] : CLASSES,
    train: entries.slice(0, 8),
    validation: entries.slice(8),
  }, {
    folder: run,
    config,
    seed: 3,
    cache: new ImageCache(IMAGE_BYTES),
    memory: new Memory(),
    resume: false,
    environment: { test: true },
    ...options,
  });
  return await Promise.all(
    [BEST, LAST].map((file) => Deno.readFile(join(run, file))),
  );
}

/** Trains with hosts; `before` each step, from 1, something may happen. */
async function shared(
  folder: string,
  { url }: Pick<NatsServers, "url">,
  before: (step: number, remarks: readonly string[]) => Promise<void>,
  options: RunOptions = {},
): Promise<{ files: Uint8Array[]; remarks: string[] }> {
  const { connection, prefix } = await connectNats({ url });
  const remarks: string[] = [];
  const onRemark = (text: string) => void remarks.push(text);
  let step = 0;
  try {
    const files = await trained(folder, "shared", {
      ...options,
      parallel: {
        workers: 1,
        imageBytes: IMAGE_BYTES,
        hosts: { connection, prefix, onRemark },
      },
      turn: () => before(++step, remarks),
    });
    assert.equal(step, STEPS);
    return { files, remarks };
  } finally {
    await connection.close();
  }
}

/** A host that shares runs, as a process. */
function host(folder: string, { url }: Pick<NatsServers, "url">, data: string) {
  const process = start(
    folder,
    ...["work", "--kinds", "share", "--jobs", url],
    ...["--data-root", data, "--workers", "1"],
  );
  let log = "";
  const logged = process.stderr.pipeThrough(new TextDecoderStream())
    .pipeTo(new WritableStream({ write: (text) => void (log += text) }));
  const ended = Promise.all([process.status, process.stdout.cancel(), logged]);
  return {
    /** Its log so far. */
    get log() {
      return log;
    },
    process,
    async [Symbol.asyncDispose]() {
      try {
        process.kill("SIGCONT");
        process.kill("SIGKILL");
      } catch { // it has ended
      }
      await within("the host ends", ended);
    },
  };
}

/** Waits until one of the remarks matches, for the `times`-th time. */
async function remarked(
  remarks: readonly string[],
  text: RegExp,
  times = 1,
): Promise<void> {
  await eventually(
    `${text}`,
    () => remarks.filter((remark) => text.test(remark)).length >= times,
  );
}

const JOINED = /^host \S+ shares the run: 1 worker$/;

/** Defines a test of a folder with images and a server, where there is NATS. */
function testHosts(
  name: string,
  test: (folder: string, servers: NatsServers) => Promise<void>,
): void {
  if (NATS_SERVER === undefined) {
    return Deno.test({ name, ignore: true, fn() {} });
  }
  testOnWasm(name, () =>
    inFolder(async (folder) => {
      await Deno.mkdir(join(folder, "images"));
      await using servers = await startNats();
      await test(folder, servers);
    }));
}

testHosts(
  "the same bits with a host that joins, is cut off, comes back and dies",
  async (folder, servers) => {
    const alone = await trained(folder, "alone");
    await using one = host(folder, servers, "images");
    const { files, remarks } = await shared(
      folder,
      servers,
      async (step, remarks) => {
        if (step === 1) await remarked(remarks, JOINED);
        if (step === 2) one.process.kill("SIGSTOP"); // with a piece, or before
        if (step === 3) {
          await remarked(remarks, /^host \S+ does not answer/);
          one.process.kill("SIGCONT");
          await remarked(remarks, JOINED, 2);
        }
        if (step === 4) one.process.kill("SIGKILL");
      },
    );
    assert.deepEqual(files, alone, remarks.join("\n"));
  },
);

testHosts(
  "hosts do images, and leave when they are asked to",
  async (folder, servers) => {
    const alone = await trained(folder, "alone");
    await using one = host(folder, servers, "images");
    await using two = host(folder, servers, "images");
    const { files, remarks } = await shared(
      folder,
      servers,
      async (step, remarks) => {
        if (step === 1) await remarked(remarks, JOINED, 2);
        if (step < 4) return;
        one.process.kill("SIGTERM");
        await remarked(remarks, /^host \S+ has left; it computed \d+ images?$/);
      },
    );
    assert.deepEqual(files, alone, remarks.join("\n"));
    assert.match(remarks.at(-1)!, /^host \S+ computed [1-9]\d* images?$/);
    await eventually("the other is free", () => two.log.includes("has ended"));
  },
);

testHosts(
  "a loss over all images of a step is the same bits with a host",
  async (folder, servers) => {
    const config = toyConfig();
    Object.assign(config, { target: "survival", referenceClass: null });
    const alone = await trained(folder, "alone", { config });
    await using _host = host(folder, servers, "images");
    const { files } = await shared(folder, servers, async (step, remarks) => {
      if (step === 1) await remarked(remarks, JOINED);
    }, { config });
    assert.deepEqual(files, alone);
  },
);

testHosts(
  "a run goes on without NATS, and hosts come back with it",
  async (folder, servers) => {
    const alone = await trained(folder, "alone");
    await using _host = host(folder, servers, "images");
    const [server] = servers.nodes;
    const { files, remarks } = await shared(
      folder,
      servers,
      async (step, remarks) => {
        if (step === 1) await remarked(remarks, JOINED);
        if (step === 2) {
          await server!.kill();
          await remarked(remarks, /^NATS is away: this machine does all/);
        }
        if (step === 3) {
          await server!.start();
          await remarked(remarks, JOINED, 2);
        }
      },
    );
    assert.deepEqual(files, alone, remarks.join("\n"));
  },
);

testHosts(
  "an image that nobody can read is left out, and no host for it",
  async (folder, servers) => {
    const config = toyConfig();
    config.network.normaliseInput = false; // reads no image before the steps do
    const options = {
      config,
      skipBad: true,
      draw: () =>
        Deno.writeTextFile(join(folder, "images", "2.png"), "no image"),
    };
    const alone = await trained(folder, "alone", options);
    await using _host = host(folder, servers, "images");
    const before = async (step: number, remarks: readonly string[]) => {
      if (step === 1) await remarked(remarks, JOINED);
    };
    const { files, remarks } = await shared(folder, servers, before, options);
    assert.deepEqual(files, alone);
    assert.equal(remarks.length, 2, remarks.join("\n"));
    assert.match(remarks[1]!, /^host \S+ computed \d+ images?$/);
  },
);

testHosts(
  "a host whose images differ is left out in one line",
  async (folder, servers) => {
    const alone = await trained(folder, "alone");
    await cp(join(folder, "images"), join(folder, "copy"), { recursive: true });
    for (let i = 0; i < 8; i++) { // of the same size
      const path = join(folder, "copy", `${i}.png`);
      const bytes = await Deno.readFile(path);
      bytes[bytes.length - 1]! ^= 1;
      await Deno.writeFile(path, bytes);
    }
    await using one = host(folder, servers, "copy");
    const { files, remarks } = await shared(
      folder,
      servers,
      async (step, remarks) => {
        if (step === 1) await remarked(remarks, JOINED);
        if (step === 3) {
          const line =
            /^host \S+ is left out: \S+copy\/\d\.png differs from the image of the run \(.*\); copy it again$/;
          await remarked(remarks, line);
        }
      },
    );
    assert.deepEqual(files, alone, remarks.join("\n"));
    await eventually("the host says so", () => one.log.includes("left out"));
  },
);

testHosts(
  "a host that computes other bits is left out in one line",
  async (folder, servers) => {
    // What is looked at of the files is the same, but not the images.
    const names = Array.from({ length: 11 }, (_, i) => `${i}.png`);
    const copy = join(folder, "copy");
    await Deno.mkdir(copy);
    const drawn = (folder: string, isOther: boolean) =>
      Promise.all(names.map(async (name, i) => {
        const bytes = await uncompressedTiff(i);
        if (isOther) spoilBetweenBlocks(bytes);
        await Deno.writeFile(join(folder, name), bytes);
      }));
    const draw = () => drawn(join(folder, "images"), false);
    await drawn(copy, true);
    const alone = await trained(folder, "alone", { draw });
    await using _host = host(folder, servers, "copy");
    const { files, remarks } = await shared(
      folder,
      servers,
      async (step, remarks) => {
        if (step === 1) await remarked(remarks, JOINED);
        if (step === 3) {
          await remarked(
            remarks,
            /^host \S+ is left out: it does not compute the same bits;/,
          );
        }
      },
      { draw },
    );
    assert.deepEqual(files, alone, remarks.join("\n"));
  },
);

testHosts(
  "a host without the images says so, and the run goes on without it",
  async (folder, servers) => {
    const alone = await trained(folder, "alone");
    await Deno.mkdir(join(folder, "empty"));
    await using one = host(folder, servers, "empty");
    const { files } = await shared(folder, servers, async (step, remarks) => {
      const line =
        /^host \S+ does not share the run: Cannot read .*\/\d+\.png": there is no such file in the folders of data \(--data-root\)$/;
      if (step === 1) await remarked(remarks, line);
    });
    assert.deepEqual(files, alone);
    assert.match(one.log, /"event":"not sharing"/);
  },
);

testHosts(
  "a host does not share the run of another version, and says so",
  async (folder, servers) => {
    await using one = host(folder, servers, "images");
    const { connection, prefix } = await connectNats(servers);
    const subjects = subjectsOf(prefix);
    const refusal = Promise.withResolvers<Refusal>();
    connection.subscribe(subjects.refusals("other"), {
      callback: (_, message) => refusal.resolve(message.json<Refusal>()),
    });
    await eventually("the host refuses", () => {
      const identity = "protocol 99, Deno 9.9.9, linux x86_64";
      connection.publish(
        subjects.calls,
        JSON.stringify({ run: "other", leader: "x", identity, hosts: [] }),
      );
      return one.log.includes("not sharing");
    });
    const { reason } = await within("the leader is told", refusal.promise);
    assert.match(
      reason,
      /^it has protocol \d+, Deno \S+, .*, the run protocol 99, .*; give both the same$/,
    );
    await connection.close();
  },
);
