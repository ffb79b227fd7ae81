import assert from "node:assert/strict";
import { withFrozenFeatures } from "../../lib/model/frozen_settings.ts";
import { preset } from "../../lib/model/presets.ts";
import { join } from "node:path";
import { trainedSchema } from "../../lib/serve/schemas.ts";
import {
  assertRefused,
  ended,
  type JobDocument,
  post,
  serverOfFile,
  SMALL_SETTINGS,
  until,
} from "../serve/served.ts";

const server = serverOfFile();

// Epochs of hours: such a run ends because it is stopped.
const ENDLESS = 100_000;

/** A run of a few seconds. */
function training(name: string, more: Record<string, unknown> = {}) {
  return {
    data: "manifest.csv",
    name,
    preset: "needle",
    settings: SMALL_SETTINGS,
    epochs: 2,
    ...more,
  };
}

/** A configuration that names a file of the server. */
const WITH_ENCODER = withFrozenFeatures(preset("needle"), "encoder", {
  path: "/etc/passwd",
  sha256: "0".repeat(64),
  scale: 1,
  inputSize: null,
  mean: [0, 0, 0],
  deviation: [1, 1, 1],
  outputs: [{ name: "s8", window: 0, pooling: "mean" }],
  channels: 8,
});

async function accepted(response: Response): Promise<JobDocument> {
  const job = await response.json();
  assert.equal(response.status, 202, JSON.stringify(job));
  return job;
}

async function send(method: string, link: string): Promise<Response> {
  return await fetch(server.url + link, { method });
}

/** The events of a stream, until it ends. */
async function eventsOf(link: string) {
  const response = await send("GET", link);
  assert.match(response.headers.get("content-type")!, /^text\/event-stream/);
  const blocks = (await response.text()).trim().split("\n\n")
    .filter((block) => !block.startsWith(":")); // keeps the connection
  return blocks.map((block) => {
    const [, event, data] = /^event: (\w+)\ndata: (.*)$/.exec(block)!;
    return { event: event!, job: JSON.parse(data!) as JobDocument };
  });
}

Deno.test("a model is trained, told of on the way, and there at once", async () => {
  const job = await accepted(
    await post(`${server.url}/v1/train`, training("trained", { seed: 7 })),
  );
  assert.equal(job.kind, "train");
  const events = await eventsOf(job.links.events!);
  const last = events.at(-1)!;
  assert.equal(last.event, "end");
  assert.equal(last.job.state, "succeeded", last.job.error ?? "");
  const progress = events.map(({ job }) => job.progress)
    .filter((progress) => progress !== null);
  assert.ok(progress.length > 0);
  const names = ["epoch", "epochs", "loss", "accuracy", "secondsLeft"];
  for (const name of names) {
    assert.equal(typeof progress[0]![name], "number", name);
  }

  const model = await (await send("GET", "/v1/models/trained")).json();
  assert.equal(model.state, "loaded");
  assert.equal(model.config.training.epochs, 2);
  const answer = await post(`${server.url}/v1/classify`, {
    path: "images/test_00000.png",
    model: "trained",
  });
  assert.equal((await answer.json()).model.sha256, model.sha256);

  const log = await (await send("GET", last.job.links.log!)).text();
  const lines = log.trim().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(lines.map(({ type }) => type), ["run", "epoch", "epoch"]);
  assert.equal(lines[0].seed, 7);
  const result = await (await send("GET", last.job.links.result!)).json();
  trainedSchema.strict().parse(result);
  assert.equal(result.name, "trained");
  assert.equal(result.epochs, 2);
  await assertRefused(await send("GET", `${last.job.links.self}/heatmap.png`), {
    status: 404,
  });
  await assertRefused(
    await post(`${server.url}/v1/train`, training("trained")),
    { status: 409, error: /taken by another model/ },
  );
});

Deno.test("a run stops at its next step, and continues from its checkpoint", async () => {
  const { links, id } = await accepted(
    await post(
      `${server.url}/v1/train`,
      training("stopped", { epochs: ENDLESS }),
    ),
  );
  await until(server.url, id, ({ progress }) => (progress?.epoch ?? 0) > 2);
  await assertRefused(
    await post(`${server.url}/v1/train`, training("stopped")),
    { status: 409, error: /taken by a job that trains it/ },
  );
  await assertRefused(await send("GET", `${links.self}/result`), {
    status: 409,
    error: /running/,
  });
  await assertRefused(await send("POST", `${links.self}/resume`), {
    status: 409,
  });
  assert.equal((await send("POST", links.cancel!)).status, 200);
  const stopped = await ended(server.url, id);
  assert.equal(stopped.state, "cancelled");
  await assertRefused(await send("GET", "/v1/models/stopped"), { status: 404 });

  await accepted(await send("POST", stopped.links.resume!));
  const again = await until(
    server.url,
    id,
    ({ state, progress }) =>
      state === "running" && progress!.epoch! > stopped.progress!.epoch!,
  );
  assert.equal(again.attempts, 2);
  const log = await (await send("GET", links.log!)).text();
  const epochs = log.trim().split("\n").map((line) => JSON.parse(line))
    .filter(({ type }) => type === "epoch").map(({ epoch }) => epoch);
  assert.deepEqual(epochs, epochs.map((_, i) => i + 1), "each epoch once");
  await send("POST", links.cancel!);
  assert.equal((await ended(server.url, id)).state, "cancelled");
});

Deno.test("a table is classified; a bad image in it is noted", async () => {
  const images = "image\nimages/test_00000.png\nnothing.png\n" +
    "manifest.csv\nimages/test_00001.png\n../../secret.png\n";
  await Deno.writeTextFile(join(server.folder, "set", "batch.csv"), images);
  const job = await accepted(
    await post(`${server.url}/v1/batch`, {
      manifest: "batch.csv",
      seed: 3,
      heatmaps: true,
    }),
  );
  const done = await ended(server.url, job.id);
  assert.equal(done.state, "succeeded", done.error ?? "");
  assert.deepEqual(done.progress, { done: 5, total: 5, failures: 3 });
  const response = await send("GET", done.links.result!);
  assert.equal(response.headers.get("content-type"), "application/x-ndjson");
  const lines = (await response.text()).trim().split("\n")
    .map((line) => JSON.parse(line));
  assert.deepEqual(lines.map(({ source }) => source), [
    "images/test_00000.png",
    "nothing.png",
    "manifest.csv",
    "images/test_00001.png",
    "../../secret.png",
  ]);
  assert.match(lines[1].error, /"nothing.png": there is no such file/);
  assert.match(lines[2].error, /^Cannot open manifest.csv as .*none of PNG/);
  assert.match(lines[4].error, /"..\/..\/secret.png": there is no such file/);
  assert.equal(
    lines[4].error.replaceAll(/"[^"]*"/g, ""),
    lines[1].error.replaceAll(/"[^"]*"/g, ""),
  );
  const direct = await post(`${server.url}/v1/classify`, {
    path: "images/test_00001.png",
    seed: 3,
  });
  assert.equal(lines[3].label, (await direct.json()).label);

  const of = (file: string, query: string) =>
    send("GET", `${done.links.self}/${file}${query}`);
  const regions = await (await of("regions.geojson", "?image=3")).json();
  const { tiles, subTiles } = lines[3];
  assert.equal(regions.features.length, tiles.length + subTiles.length);
  const png = await (await of("heatmap.png", "?image=3")).bytes();
  assert.equal(png[1], "P".charCodeAt(0));
  for (const file of ["regions.geojson", "heatmap.png"]) {
    for (const query of ["", "?image=x"]) {
      await assertRefused(await of(file, query), {
        status: 400,
        field: "image",
      });
    }
    for (const query of ["?image=1", "?image=5"]) {
      await assertRefused(await of(file, query), { status: 404 });
    }
  }
});

Deno.test("one key is one job", async () => {
  const key = { "idempotency-key": "once" };
  const body = { kind: "classify", path: "images/test_00002.png" };
  const ask = (body: unknown) => post(`${server.url}/v1/jobs`, body, key);
  const first = await ask(body);
  assert.equal(first.headers.get("idempotency-replayed"), null);
  const { id } = await accepted(first);
  const second = await ask(body);
  assert.equal(second.headers.get("idempotency-replayed"), "true");
  assert.equal((await accepted(second)).id, id);
  await assertRefused(await ask({ ...body, seed: 1 }), {
    status: 409,
    error: /another request/,
  });

  // Bytes count as well as options.
  const upload = (body: string) =>
    fetch(`${server.url}/v1/classify`, {
      method: "POST",
      headers: {
        "content-type": "image/png",
        prefer: "respond-async",
        "idempotency-key": "bytes",
      },
      body,
    });
  const one = await accepted(await upload("one"));
  assert.equal((await accepted(await upload("one"))).id, one.id);
  await assertRefused(await upload("two"), { status: 409 });
  const failed = await ended(server.url, one.id);
  assert.equal(failed.state, "failed");
  assert.match(failed.error!, /the upload .*none of PNG/);
  await assertRefused(await send("POST", failed.links.resume!), {
    status: 409,
    error: /^The uploaded image was removed: send it again/,
  });

  // Many at once are one as well.
  const many = await Promise.all(
    Array.from(
      { length: 8 },
      () => post(`${server.url}/v1/jobs`, body, { "idempotency-key": "many" }),
    ),
  );
  const ids = await Promise.all(many.map(async (r) => (await accepted(r)).id));
  assert.equal(new Set(ids).size, 1);
});

Deno.test("one key is one job, whatever has become of what it names", async () => {
  const set = join(server.folder, "set"),
    models = join(server.folder, "models");
  const image = await Deno.readFile(join(set, "images", "test_00000.png"));
  const files = ["mortal.png", "mortal.csv"].map((name) => join(set, name));
  await Deno.writeFile(files[0]!, image);
  await Deno.copyFile(join(set, "manifest.csv"), files[1]!);
  const later = { prefer: "respond-async" };
  const named = { path: "mortal.png" };
  const ask: Record<string, () => Promise<Response>> = {};
  const add = (path: string, body: unknown, headers = {}) => {
    const key = `mortal ${Object.keys(ask).length}`;
    ask[key] = () =>
      post(`${server.url}/v1/${path}`, body, {
        "idempotency-key": key,
        ...headers,
      });
  };
  add("jobs", { kind: "classify", ...named });
  add("classify", named, later);
  add("batch", { manifest: "mortal.csv" });
  add("train", training("mortal", { data: "mortal.csv", epochs: 0 }));
  ask.upload = () =>
    fetch(`${server.url}/v1/classify`, {
      method: "POST",
      headers: {
        ...later,
        "content-type": "image/png",
        "idempotency-key": "mortal upload",
      },
      body: image,
    });
  const askAll = () => Promise.all(Object.values(ask).map((ask) => ask()));
  const ids = async (answers: Response[]) => {
    const jobs = await Promise.all(answers.map(accepted));
    return jobs.map(({ id }) => id);
  };
  const first = await ids(await askAll());
  for (const id of first) {
    assert.equal((await ended(server.url, id)).state, "succeeded");
  }
  for (const file of files) await Deno.remove(file);
  const other = join(models, "other.safetensors");
  await Deno.copyFile(join(models, "mortal", "best.safetensors"), other);
  await send("GET", "/v1/models").then((response) => response.body?.cancel());
  for (const action of ["other/default", "other/unload"]) {
    const response = await send("POST", `/v1/models/${action}`);
    assert.equal(response.status, 200);
    await response.body?.cancel();
  }

  const again = await askAll();
  for (const { headers } of again) {
    assert.equal(headers.get("idempotency-replayed"), "true");
  }
  assert.deepEqual(await ids(again), first);
  // Nor need it be said again that a job is preferred.
  const key = { "idempotency-key": "mortal 1" };
  const plain = await post(`${server.url}/v1/classify`, named, key);
  assert.equal((await accepted(plain)).id, first[1]);

  const back = await send("POST", "/v1/models/first/default");
  await back.body?.cancel();
  await Deno.remove(other);
});

Deno.test("of many jobs at once that train one name, one is accepted", async () => {
  const answers = await Promise.all(
    Array.from(
      { length: 8 },
      (_, seed) => post(`${server.url}/v1/train`, training("wanted", { seed })),
    ),
  );
  const won = answers.filter(({ status }) => status === 202);
  assert.equal(won.length, 1, `${answers.map(({ status }) => status)}`);
  for (const answer of answers.filter(({ status }) => status !== 202)) {
    await assertRefused(answer, {
      status: 409,
      // By then the job may be done, and its model is there.
      error: /taken by (a job that trains it|another model)/,
    });
  }
  const { id } = await accepted(won[0]!);
  assert.equal((await ended(server.url, id)).state, "succeeded");
});

Deno.test("jobs are listed by state", async () => {
  const list = async (query: string) =>
    await (await send("GET", `/v1/jobs${query}`)).json() as {
      jobs: JobDocument[];
    };
  const { jobs } = await list("?state=succeeded");
  assert.ok(jobs.length >= 2);
  assert.ok(jobs.every(({ state }) => state === "succeeded"));
  assert.ok((await list("")).jobs.length > jobs.length);
  await assertRefused(await send("GET", "/v1/jobs?state=lost"), {
    status: 400,
    field: "state",
  });
});

Deno.test("jobs are listed by pages, and say what they are", async () => {
  const list = async (query: string) =>
    await (await send("GET", `/v1/jobs${query}`)).json() as {
      jobs: (JobDocument & { model: string; request: unknown })[];
      next: string | null;
    };
  const accepted = await post(`${server.url}/v1/batch`, {
    manifest: "manifest.csv",
    seed: 7,
  });
  const { id } = await accepted.json();
  await ended(server.url, id);
  const all = await list("");
  assert.equal(all.next, null);
  const found: string[] = [];
  let query = "?limit=2";
  for (;;) {
    const { jobs, next } = await list(query);
    found.push(...jobs.map(({ id }) => id));
    if (next === null) break;
    assert.equal(jobs.length, 2);
    query = `?limit=2&before=${next}`;
  }
  assert.deepEqual(found, all.jobs.map(({ id }) => id));
  const batch = all.jobs.find((job) => job.id === id)!;
  assert.ok(batch.model);
  assert.deepEqual(batch.request, {
    manifest: "manifest.csv",
    seed: 7,
    heatmaps: false,
  });
  assert.doesNotMatch(JSON.stringify(all), new RegExp(server.folder));
});

Deno.test("a job that has ended can be removed, with its files", async () => {
  const accepted = await post(`${server.url}/v1/jobs`, {
    kind: "classify",
    path: "images/test_00000.png",
  });
  const { id } = await accepted.json();
  await ended(server.url, id);
  const place = join(server.folder, "models", ".server", "jobs", id);
  await Deno.stat(place);
  assert.equal((await send("DELETE", `/v1/jobs/${id}`)).status, 204);
  await assertRefused(await send("GET", `/v1/jobs/${id}`), { status: 404 });
  await assert.rejects(Deno.stat(place), Deno.errors.NotFound);
  await assertRefused(await send("DELETE", `/v1/jobs/${id}`), { status: 404 });

  const long = await post(
    `${server.url}/v1/train`,
    training("long", {
      epochs: 10_000,
    }),
  );
  const { id: running } = await long.json();
  await assertRefused(await send("DELETE", `/v1/jobs/${running}`), {
    status: 409,
    error: /cancel it before/,
  });
  await send("POST", `/v1/jobs/${running}/cancel`)
    .then((response) => response.body?.cancel());
  await ended(server.url, running);
  assert.equal((await send("DELETE", `/v1/jobs/${running}`)).status, 204);
});

Deno.test("a job that cannot be done is refused, and the field named", async () => {
  await Deno.writeTextFile(
    join(server.folder, "set", "faulty.csv"),
    "image,label\nimages/absent.png,a\n../../../../etc/passwd,b\n",
  );
  const faults: [string, unknown, number, string?][] = [
    ["train", training("x", { data: "absent.csv" }), 403],
    ["train", training("x", { data: "../run/splits.csv" }), 403],
    ["train", training("x", { data: "faulty.csv" }), 400, "data"],
    ["train", training("x", { preset: "best" }), 400, "preset"],
    ["train", training("x", { config: {} }), 400, "config"],
    ["train", training("x", { preset: undefined, config: {} }), 400, "config"],
    [
      "train",
      training("x", { settings: { "training.rate": 1 } }),
      400,
      "settings",
    ],
    [ // a client must not learn which files there are
      "train",
      training("x", { preset: undefined, config: WITH_ENCODER }),
      400,
      "config",
    ],
    ["train", training("x", { epochs: -1 }), 400, "epochs"],
    ["train", training("../x"), 400, "name"],
    ["train", training("x.safetensors"), 400, "name"],
    ["train", training("x", { sedd: 1 }), 400, "sedd"],
    ["train", {}, 400, "data"],
    ["batch", { manifest: "absent.csv" }, 403],
    ["batch", { manifest: "images/test_00000.png" }, 400, "manifest"],
    ["batch", { manifest: "manifest.csv", model: "other" }, 404],
    ["jobs", { kind: "bake" }, 400, "kind"],
    ["jobs", { kind: "classify" }, 400, "uri"],
    ["jobs", { kind: "batch", manifest: "" }, 400, "manifest"],
    ["jobs", { ...training("trained"), kind: "train" }, 409],
  ];
  for (const [path, body, status, field] of faults) {
    const response = await post(`${server.url}/v1/${path}`, body);
    await assertRefused(response, { status, ...(field && { field }) });
  }
});

Deno.test("a manifest does not tell what lies outside the folders of data", async () => {
  const say = async (lines: string[]) => {
    await Deno.writeTextFile(
      join(server.folder, "set", "probe.csv"),
      ["image,label,rois", "images/test_00000.png,a,", ...lines, ""].join("\n"),
    );
    const { error } = await assertRefused(
      await post(
        `${server.url}/v1/train`,
        training("x", { data: "probe.csv" }),
      ),
      { status: 400, field: "data" },
    );
    assert.ok(error.startsWith("probe.csv:3: "), error); // nor where they are
    assert.ok(!error.includes(server.folder), error);
    return error;
  };
  const there = "../models/first/log.jsonl";
  const absent = "../models/first/absent";
  const faults = (place: string) => [
    // Alone, and beside one that is missing for certain.
    [`${place},b,`],
    [`${place},b,`, "missing.png,b,"],
    [`images/test_00001.png,b,${place}`],
  ];
  for (const [i, lines] of faults(there).entries()) {
    assert.equal(
      (await say(lines)).replace(there, "IT"),
      (await say(faults(absent)[i]!)).replace(absent, "IT"),
    );
  }
});

Deno.test("an image need not wait for a table of images", async () => {
  const lines = Array.from({ length: 400 }, () => "images/test_00000.png");
  await Deno.writeTextFile(
    join(server.folder, "set", "long.csv"),
    ["image", ...lines, ""].join("\n"),
  );
  const batch = await accepted(
    await post(`${server.url}/v1/batch`, { manifest: "long.csv" }),
  );
  const image = await accepted(
    await post(`${server.url}/v1/jobs`, {
      kind: "classify",
      path: "images/test_00001.png",
    }),
  );
  assert.equal((await ended(server.url, image.id)).state, "succeeded");
  const { state } = await until(server.url, batch.id, () => true);
  assert.equal(state, "running");
  await send("POST", `/v1/jobs/${batch.id}/cancel`);
  assert.equal((await ended(server.url, batch.id)).state, "cancelled");
});

Deno.test("a run that fails names the image as its manifest does", async () => {
  const set = join(server.folder, "set");
  const image = await Deno.readFile(join(set, "images", "test_00000.png"));
  await Deno.writeFile(join(set, "images", "cut.png"), image.slice(0, 2000));
  const manifest = await Deno.readTextFile(join(set, "manifest.csv"));
  await Deno.writeTextFile(
    join(set, "cut.csv"),
    manifest.replace("images/train_00000.png", "images/cut.png"),
  );
  const { id } = await accepted(
    await post(`${server.url}/v1/train`, training("cut", { data: "cut.csv" })),
  );
  const { state, error } = await ended(server.url, id);
  assert.equal(state, "failed");
  assert.match(
    error!,
    /^Cannot train: .*\ncut.csv:2: Cannot \w+ images\/cut.png/,
  );
  assert.match(error!, /remove their lines$/); // no flag of the command line
  assert.ok(!error!.includes(server.folder), error!);
});

Deno.test({
  name: "a file that is asked for by HEAD is closed",
  ignore: Deno.build.os !== "linux", // where /proc tells what is open
  async fn() {
    // Deno itself may read no /proc.
    const openFiles = async () => {
      const folder = `/proc/${server.served.process.pid}/fd`;
      const { stdout } = await new Deno.Command("ls", {
        args: ["-l", "--time-style=+", folder],
      }).output();
      const files = new TextDecoder().decode(stdout).split(" -> ").slice(1);
      return files.filter((file) => file.startsWith(server.folder)).length;
    };
    const { id } = await accepted(
      await post(`${server.url}/v1/jobs`, {
        kind: "classify",
        path: "images/test_00003.png",
      }),
    );
    const { links } = await ended(server.url, id);
    const before = await openFiles();
    for (const link of [links.result!, links.heatmap!]) {
      const { status, headers } = await send("HEAD", link);
      assert.equal(status, 200);
      assert.match(headers.get("content-type")!, /json|png/);
    }
    assert.equal(await openFiles(), before);
  },
});

Deno.test("there is no other job", async () => {
  const id = crypto.randomUUID();
  for (
    const [method, path] of [
      ["GET", ""],
      ["GET", "/events"],
      ["GET", "/result"],
      ["GET", "/heatmap.png"],
      ["GET", "/regions.geojson"],
      ["GET", "/log"],
      ["POST", "/cancel"],
      ["POST", "/resume"],
    ] as const
  ) {
    await assertRefused(await send(method, `/v1/jobs/${id}${path}`), {
      status: 404,
    });
    await assertRefused(await send(method, `/v1/jobs/7${path}`), {
      status: 400,
      field: "id",
    });
  }
});
