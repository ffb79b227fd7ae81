/** A job is one trace, whatever processes do it. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { folderOfFile, ROOT, taskFlags } from "../../../commands/process.ts";
import { eventually, within } from "../../../waiting.ts";
import { collector, exportsTo } from "../../collector.ts";
import {
  drawModels,
  ended,
  type JobDocument,
  listening,
  post,
  SMALL_SETTINGS,
  until,
} from "../../served.ts";
import { NATS_SERVER, startNats } from "./nats_server.ts";

const folder = folderOfFile(drawModels);

/** Starts a task that exports its spans as `name`. */
function exporting(
  name: string,
  endpoint: string,
  task: "serve" | "work",
  ...argv: string[]
): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: [
      ...[...taskFlags(task), join(ROOT, "main.ts"), task],
      ...["--backend", "wasm", "--workers", "1", "--data-root", "set"],
      ...argv,
    ],
    cwd: folder,
    env: exportsTo(endpoint, name),
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

Deno.test({
  name: "the host that continues a job continues the trace of its request",
  ignore: NATS_SERVER === undefined,
  async fn() {
    await using servers = await startNats();
    await using collected = collector();
    const models = join(folder, "other");
    await Deno.mkdir(models);
    const { url } = collected;
    const served = await listening(
      exporting(
        ...["one", url, "serve", "--port", "0"] as const,
        ...["--models", "models", "--jobs", servers.url],
      ),
    );
    const table = { manifest: "manifest.csv", model: "first" };
    const batch = await post(`${served.url}/v1/batch`, table);
    const { id }: JobDocument = await batch.json();
    assert.equal((await ended(served.url, id)).state, "succeeded");
    const answer = await post(`${served.url}/v1/train`, {
      data: "manifest.csv",
      name: "endless",
      preset: "needle",
      epochs: 100_000,
      settings: SMALL_SETTINGS,
    });
    const job: JobDocument = await answer.json();
    assert.ok(!("trace" in job), "it is no part of the job's document");
    await until(served.url, job.id, ({ state }) => state === "running");
    const other = exporting(
      ...["two", url, "work", "--models", models] as const,
      ...["--jobs", servers.url, "--kinds", "train"],
    );
    let log = "";
    const logs = [other.stdout, other.stderr].map((stream) =>
      stream.pipeThrough(new TextDecoderStream())
        .pipeTo(new WritableStream({ write: (text) => void (log += text) }))
    );
    await eventually("the other works", () => log.includes('"working"'));
    assert.equal((await served.stop()).code, 0, served.stderr);
    await eventually(
      "it continues the job",
      () => log.includes('"job started"'),
    );
    other.kill("SIGTERM");
    const { code } = await within("it ends", other.status);
    await Promise.all(logs);
    assert.equal(code, 0, log);

    const request = collected.spans.find(({ name }) =>
      name === "POST /v1/train"
    );
    const jobs = collected.spans.filter(({ name }) => name === "job train");
    assert.deepEqual(
      jobs.map(({ service, traceId, parentSpanId }) => ({
        service,
        traceId,
        parentSpanId,
      })),
      ["one", "two"].map((service) => ({
        service,
        traceId: request!.traceId,
        parentSpanId: request!.spanId,
      })),
    );
    const pieces = collected.spans.filter(({ name }) => name === "job batch");
    const whole = pieces.pop(); // it ends last
    assert.ok(pieces.length > 0);
    for (const { parentSpanId } of pieces) {
      assert.equal(parentSpanId, whole!.spanId);
    }
    const asked = collected.spans.find(({ name }) => name === "POST /v1/batch");
    assert.equal(whole!.parentSpanId, asked!.spanId);
    const started = collected.logs.filter(({ body }) =>
      /"job started".*"train"/.test(body.stringValue!)
    );
    assert.deepEqual(
      started.map(({ traceId }) => traceId),
      jobs.map(({ traceId }) => traceId),
    );
  },
});
