import assert from "node:assert/strict";
import { join } from "node:path";
import { post, serverOfFile } from "../serve/served.ts";

const server = serverOfFile("--workers", "1");

async function get(path: string): Promise<Response> {
  return await fetch(server.url + path);
}

Deno.test("the server says that it lives and is ready", async () => {
  for (const path of ["/livez", "/readyz", "/healthz"]) {
    const response = await get(path);
    assert.equal(response.status, 200);
    const { live, ready, engine, model } = await response.json();
    assert.deepEqual({ live, ready, model }, {
      live: true,
      ready: true,
      model: "first",
    });
    assert.match(engine, /^wasm: /);
  }
});

Deno.test("metrics are there in base units, with few labels", async () => {
  const ask = { path: "images/test_00000.png" };
  const answer = await post(`${server.url}/v1/classify`, ask);
  const { bytesRead } = await answer.json();
  await Deno.writeTextFile(join(server.folder, "set", "damaged.png"), "none");
  await post(`${server.url}/v1/classify`, { path: "damaged.png" })
    .then((response) => response.body?.cancel());
  const job = await post(`${server.url}/v1/jobs`, { kind: "classify", ...ask });
  await job.body?.cancel();
  const response = await get("/metrics");
  assert.match(response.headers.get("content-type")!, /^text\/plain/);
  const text = await response.text();
  const value = (name: string) => {
    const line = text.split("\n").find((line) => line.startsWith(`${name} `));
    assert.ok(line, name);
    return Number(line.split(" ").at(-1));
  };
  const route = 'route="/v1/classify"';
  assert.equal(
    value(`http_requests_total{${route},method="POST",code="200"}`),
    1,
  );
  assert.equal(value(`http_request_duration_seconds_count{${route}}`), 2);
  const stage = (name: string) =>
    value(
      `inference_stage_duration_seconds_count{model="first",stage="${name}"}`,
    );
  for (
    const name of ["open", "read", "stage1", "stage2", "classify", "total"]
  ) {
    assert.ok(stage(name) >= 1, name);
  }
  assert.ok(value("bytes_read_total") >= bytesRead);
  assert.equal(value("inference_pending_requests"), 0);
  assert.equal(value("inference_queue_limit"), 64);
  assert.equal(value('inference_engines{state="down"}'), 0);
  const outcome = (name: string) =>
    value(`classifications_total{model="first",outcome="${name}"}`);
  assert.ok(outcome("ok") >= 1);
  assert.equal(outcome("image"), 1);
  assert.equal(value("gpu_buffer_bytes"), 0);
  assert.equal(value("gpu_device_lost_total"), 0);
  assert.ok(value("process_resident_memory_bytes") > 2 ** 20);
  const states = ["queued", "running", "succeeded", "failed", "cancelled"];
  const jobs = states.map((state) => value(`jobs{state="${state}"}`));
  assert.equal(jobs.reduce((sum, count) => sum + count, 0), 1);
  for (const kind of ["train", "classify", "batch"]) {
    assert.equal(value(`jobs_waiting{kind="${kind}"}`), 0);
  }
  const worker = `worker="localhost:${server.served.process.pid}"`;
  assert.equal(value(`worker_lanes{${worker}}`), 6);
  assert.equal(value(`worker_drained{${worker}}`), 0);
  assert.doesNotMatch(text, /test_00000/, "an image is no label");
});
