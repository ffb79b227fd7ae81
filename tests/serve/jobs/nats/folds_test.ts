/** A cross-validation that several hosts do together. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { exists } from "../../../../lib/files.ts";
import { openNats } from "../../../../lib/serve/jobs/nats/connection.ts";
import { NatsFolders } from "../../../../lib/serve/jobs/nats/folders.ts";
import { NatsJobStore } from "../../../../lib/serve/jobs/nats/store.ts";
import { folderOfFile } from "../../../commands/process.ts";
import { eventually } from "../../../waiting.ts";
import {
  drawModels,
  ended,
  type JobDocument,
  post,
  serve,
  SMALL_SETTINGS,
  until,
} from "../../served.ts";
import { host, worker } from "./hosts.ts";
import { NATS_SERVER, startNats } from "./nats_server.ts";

const ignore = NATS_SERVER === undefined;
const folder = folderOfFile(drawModels);

/** Asks for a cross-validation. */
async function ask(
  url: string,
  request: Record<string, unknown>,
): Promise<string> {
  const response = await post(`${url}/v1/train`, {
    data: "manifest.csv",
    name: "folds",
    preset: "needle",
    settings: SMALL_SETTINGS,
    folds: 2,
    protocol: "held-out",
    ...request,
  });
  const { id, ...job }: JobDocument = await response.json();
  assert.equal(response.status, 202, JSON.stringify(job));
  return id;
}

async function act(url: string, id: string, action: "cancel" | "resume") {
  const response = await post(`${url}/v1/jobs/${id}/${action}`, {});
  assert.equal(response.status, action === "cancel" ? 200 : 202);
  await response.body?.cancel();
}

/** What a cross-validation has come to, without the times that it took. */
async function outcomeOf(url: string, id: string, models: string) {
  const text = async (path: string) =>
    await (await fetch(`${url}/v1/jobs/${id}${path}`)).text();
  const result = JSON.parse(
    await text("/result"),
    (name, value) => name === "seconds" ? 0 : value,
  );
  assert.match(await text("/report"), /<title>folds: Cross-validation/);
  const run = join(folder, models, ".server", "jobs", id, "run");
  const predictions = await Promise.all(
    [1, 2].map((fold) =>
      Deno.readTextFile(join(run, `held-out/fold-0${fold}/predictions.csv`))
    ),
  );
  const log = (await text("/log")).trim().split("\n")
    .map((line) => JSON.parse(line));
  const epochs = log.filter(({ type }) => type === "epoch")
    .map(({ fold, epoch, loss }) => ({ fold, epoch, loss }));
  return { result, predictions, epochs, log };
}

Deno.test({
  name: "a fold continues on another host, and the result is that of one",
  ignore,
  async fn() {
    const request = { epochs: 200 };
    await using servers = await startNats();
    const { connection, ...nats } = await openNats({
      url: servers.url,
      leaseMs: 15_000,
    });
    const shared = new NatsFolders({ connection, ...nats });
    await using one = await host(folder, "models", servers);
    const other = worker(folder, "a/b", servers, "--kinds", "fold");
    await eventually("it works", () => other.log.includes('"working"'));
    const id = await ask(one.url, request);
    const taken = () => RegExp(`"job started".*"${id}-(\\d)"`).exec(other.log);
    await eventually("it has a fold", () => taken() !== null);
    const piece = `${id}-${taken()![1]}`;
    const kept = join(folder, "kept");
    await eventually("its checkpoint is kept", async () => {
      const isLast = (path: string) => path.endsWith("last.safetensors");
      await shared.fetch(`job.${piece}`, kept, isLast);
      const fold = 1 + Number(piece.at(-1));
      const file = `run/held-out/fold-0${fold}/last.safetensors`;
      return await exists(join(kept, file));
    });
    await other.kill("SIGKILL");
    const { state, error, progress } = await ended(one.url, id, 300_000);
    assert.equal(state, "succeeded", `${error} ${one.stderr}`);
    assert.deepEqual([progress!.folds, progress!.total], [2, 2]);
    const { log, ...outcome } = await outcomeOf(one.url, id, "models");
    const fold = 1 + Number(piece.at(-1));
    const starts = log.filter((line) =>
      line.type === "run" && line.fold === fold
    );
    assert.equal(starts.length, 2, "it continued from its checkpoint");
    await connection.close();

    await Deno.mkdir(join(folder, "alone"));
    await using alone = await serve(
      folder,
      ...["--models", "alone", "--data-root", "set", "--workers", "1"],
    );
    const whole = await ask(alone.url, request);
    await ended(alone.url, whole, 300_000);
    const { log: _, ...expected } = await outcomeOf(alone.url, whole, "alone");
    assert.deepEqual(outcome, expected);
  },
});

Deno.test({
  name: "folds stop with their cross-validation, and continue with it",
  ignore,
  async fn() {
    await using servers = await startNats();
    await using one = await host(folder, "models", servers);
    const id = await ask(one.url, { epochs: 30 });
    const isTrained = ({ state, progress }: JobDocument) =>
      state === "running" && (progress?.epoch ?? 0) > 2;
    await until(one.url, id, isTrained);
    await act(one.url, id, "cancel");
    assert.equal((await ended(one.url, id)).state, "cancelled");
    const stopped = () =>
      one.log.some(({ event, job, reason }) =>
        event === "job stopped" && `${job}` !== id && reason === "cancel"
      );
    // On a slow machine both may be done before one hears of it.
    const areDone = () =>
      one.log.filter(({ event, kind }) =>
        event === "job succeeded" && kind === "fold"
      ).length === 2;
    await eventually("its fold has stopped", () => stopped() || areDone());
    await act(one.url, id, "resume");
    const { state, error } = await ended(one.url, id, 300_000);
    assert.equal(state, "succeeded", `${error} ${one.stderr}`);
    const { epochs } = await outcomeOf(one.url, id, "models");
    assert.deepEqual(
      epochs.map(({ fold, epoch }) => [fold, epoch]),
      [1, 2].flatMap((fold) =>
        Array.from({ length: 30 }, (_, i) => [fold, i + 1])
      ),
    );
  },
});

Deno.test({
  name: "folds name every image that cannot be read before the first of them",
  ignore,
  async fn() {
    await Deno.writeTextFile(join(folder, "set/images/cut.png"), "no image");
    const rows = (await Deno.readTextFile(join(folder, "set/manifest.csv")))
      .trim().split("\n");
    rows[1] = ["images/cut.png", ...rows[1]!.split(",").slice(1)].join();
    await Deno.writeTextFile(join(folder, "set/bad.csv"), rows.join("\n"));
    await using servers = await startNats();
    await using one = await host(folder, "models", servers);
    const id = await ask(one.url, { data: "bad.csv", epochs: 1 });
    const { state, error } = await ended(one.url, id);
    assert.equal(state, "failed");
    assert.match(`${error}`, /1 image cannot be read:\n.*cut\.png/);
  },
});

Deno.test({
  name: "the folder of a piece stays while the piece is not removed",
  ignore,
  async fn() {
    await using servers = await startNats();
    const store = await NatsJobStore.open({
      url: servers.url,
      part: "-pieces",
      leaseMs: 15_000,
      waitMs: 100,
      queuedJobs: 10,
    });
    await store.add({ id: "of-a-long-fold", kind: "fold", request: {} });
    await store.claim(["fold"]);
    const jobs = join(folder, "models", ".server", "jobs");
    const longAgo = Date.now() / 1000 - 7200;
    for (const name of ["of-a-long-fold", "of-none"]) {
      await Deno.mkdir(join(jobs, name), { recursive: true });
      await Deno.utime(join(jobs, name), longAgo, longAgo);
    }
    await using one = await host(folder, "models", servers);
    await (await fetch(`${one.url}/livez`)).body?.cancel();
    assert.equal(await exists(join(jobs, "of-none")), false);
    assert.equal(await exists(join(jobs, "of-a-long-fold")), true);
    await store.close();
  },
});
