/**
 * A server that is killed again and again while it classifies tables: every row
 * of every job is there once in the end, as a server that was left alone has it.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { randomKey, RandomStream } from "../../kernels/random.ts";
import { drawModels, ended, post, serve } from "../serve/served.ts";

const FLAGS = ["--models", "models", "--data-root", "set"];
const COPIES = 8; // of each of twenty images
const IMAGES = 20, ROWS = COPIES * IMAGES;
// Tables differ by their seed; of each seed one is classified undisturbed.
const SEEDS = 3;
// Longer than a lease, so that some rounds see the jobs of those before.
const MAX_ROUND_MS = 6000;
// Jobs that have not ended: more would only pile up.
const MAX_OPEN = 3;
const LONGEST_MS = 600_000;

/** All that a batch leaves to its caller. */
interface Outputs {
  rows: string[];
  heatmaps: string[];
}

/** Kills a server `times` times during jobs, and checks all of them. */
export async function kills(
  { times, seed }: Record<string, number>,
  report: (figures: Record<string, unknown>) => void,
): Promise<void> {
  const random = new RandomStream(randomKey(seed!));
  const folder = await Deno.makeTempDir({ prefix: "zoomin-kills-" });
  try {
    await drawModels(folder);
    await writeTable(folder);
    const expected = await undisturbed(folder);
    const jobs = new Map<string, number>(); // seed by id
    const started = performance.now();
    for (let round = 0; round < times!; round++) {
      await using served = await serve(folder, ...FLAGS);
      const over = pause(random.below(MAX_ROUND_MS));
      if (await openJobs(served.url) < MAX_OPEN) {
        const seed = round % SEEDS;
        jobs.set(await accept(served.url, seed), seed);
      }
      await over;
      await served.kill();
    }
    await using served = await serve(folder, ...FLAGS);
    let interrupted = 0;
    for (const [id, seed] of jobs) {
      const job = await ended(served.url, id, LONGEST_MS);
      assert.equal(job.state, "succeeded", job.error ?? "");
      interrupted += job.attempts - 1;
      assert.deepEqual(await outputsOf(served.url, id), expected[seed], id);
    }
    report({
      kills: times,
      jobs: jobs.size,
      interrupted,
      rows: jobs.size * ROWS,
      seconds: Math.round((performance.now() - started) / 1000),
    });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** A table of all images, several times. */
async function writeTable(folder: string): Promise<void> {
  const images = await Array.fromAsync(
    Deno.readDir(join(folder, "set", "images")),
    ({ name }) => `images/${name}`,
  );
  assert.equal(images.length, IMAGES);
  const rows = new Array(COPIES).fill(images.sort()).flat();
  await Deno.writeTextFile(
    join(folder, "set", "rows.csv"),
    ["image", ...rows].join("\n"),
  );
}

/** Outputs of a server that nobody kills, by seed. */
async function undisturbed(folder: string): Promise<Outputs[]> {
  await Deno.mkdir(join(folder, "alone"));
  await using served = await serve(folder, ...[...FLAGS, "--state", "alone"]);
  const outputs: Outputs[] = [];
  for (let seed = 0; seed < SEEDS; seed++) {
    const id = await accept(served.url, seed);
    await ended(served.url, id, LONGEST_MS);
    outputs.push(await outputsOf(served.url, id));
  }
  return outputs;
}

async function openJobs(url: string): Promise<number> {
  const counts = await Promise.all(["queued", "running"].map(async (state) => {
    const answer = await fetch(`${url}/v1/jobs?state=${state}`);
    return (await answer.json()).jobs.length as number;
  }));
  return counts[0]! + counts[1]!;
}

async function accept(url: string, seed: number): Promise<string> {
  const response = await post(`${url}/v1/batch`, {
    manifest: "rows.csv",
    heatmaps: true,
    seed,
  });
  assert.equal(response.status, 202);
  return (await response.json()).id;
}

/** Rows and heat maps of a job, without the time they took. */
async function outputsOf(url: string, id: string): Promise<Outputs> {
  const result = await fetch(`${url}/v1/jobs/${id}/result`);
  const lines = (await result.text()).trimEnd().split("\n");
  const rows = lines.map((line) => {
    const { timings: _, ...row } = JSON.parse(line);
    assert.ok(row.label, line);
    return JSON.stringify(row);
  });
  const heatmaps = [];
  for (let i = 0; i < ROWS; i++) {
    const picture = await fetch(`${url}/v1/jobs/${id}/heatmap.png?image=${i}`);
    assert.equal(picture.status, 200);
    heatmaps.push(await digestOf(await picture.bytes()));
  }
  return { rows, heatmaps };
}

async function digestOf(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}
