import assert from "node:assert/strict";
import { join } from "node:path";
import { startEngine } from "../../lib/engine/select.ts";
import { classifyImage } from "../../lib/eval/classify.ts";
import type { Calibration } from "../../lib/model/calibration.ts";
import { readCheckpoint } from "../../lib/model/checkpoint.ts";
import {
  decodeSafeTensors,
  encodeSafeTensors,
} from "../../lib/model/safetensors.ts";
import { disposeParameters } from "../../lib/model/parameters.ts";
import { succeed } from "../commands/process.ts";
import { writeEvidenceModel } from "../model/evidence_file.ts";
import {
  assertRefused,
  ended,
  filesIn,
  imageOf,
  type JobDocument,
  post,
  serverOfFile,
} from "../serve/served.ts";

const server = serverOfFile();
const IMAGE = "images/test_00000.png";

/** Fields of a classification that the tests use. */
interface Result {
  id: string;
  model: { name: string; version: string; sha256: string };
  label: string;
  probabilities: Record<string, number>;
  image: { width: number; height: number };
  tiles: unknown[];
  subTiles: { weight: number }[];
  timings: Record<string, number>;
  bytesRead: number;
  warnings: string[];
}

function classify(init: RequestInit, query = ""): Promise<Response> {
  return fetch(`${server.url}/v1/classify${query}`, {
    method: "POST",
    ...init,
  });
}

async function resultOf(response: Response): Promise<Result> {
  const result = await response.json();
  assert.equal(response.status, 200, JSON.stringify(result));
  return result;
}

/** The parts that depend on the image and the seed alone. */
function said({ label, probabilities, tiles, subTiles }: Result) {
  return { label, probabilities, tiles, subTiles };
}

Deno.test("bytes, a form, a path and a URI give one answer", async () => {
  const bytes = await imageOf(server.folder);
  const raw = await resultOf(
    await classify({
      headers: { "content-type": "image/png" },
      body: bytes,
    }, "?seed=3&samples=4"),
  );
  assert.equal(raw.model.name, "first");
  assert.match(raw.model.sha256, /^[0-9a-f]{64}$/);
  assert.ok(raw.model.sha256.startsWith(raw.model.version));
  assert.deepEqual(raw.image, { width: 128, height: 128 });
  assert.ok(raw.bytesRead >= bytes.length);
  assert.deepEqual(raw.warnings, []);
  const weight = raw.subTiles.reduce((sum, { weight }) => sum + weight, 0);
  assert.ok(Math.abs(weight - 1) < 1e-5);
  for (const stage of ["openMs", "readMs", "stage1Ms", "stage2Ms"]) {
    assert.ok(raw.timings[stage]! >= 0, stage);
  }

  const form = new FormData();
  form.append("seed", "3");
  form.append("file", new Blob([bytes]), "any name.png");
  form.append("samples", "4");
  const options = { seed: 3, samples: 4 };
  const others = [
    classify({ body: form }),
    post(`${server.url}/v1/classify`, { path: IMAGE, ...options }),
    post(`${server.url}/v1/classify`, {
      path: join(server.folder, "set", IMAGE),
      ...options,
    }),
    post(`${server.url}/v1/classify`, {
      uri: `file://${join(server.folder, "set", IMAGE)}`,
      model: "first",
      ...options,
    }),
  ];
  for (const response of await Promise.all(others)) {
    assert.deepEqual(said(await resultOf(response)), said(raw));
  }
});

/** A classification without what differs from run to run. */
function timeless<R extends { timings: Record<string, number> }>(result: R) {
  return { ...result, timings: Object.keys(result.timings) };
}

Deno.test("the command line, the server and the library give one result", async () => {
  const image = join("set", IMAGE);
  const { stdout } = await succeed(
    server.folder,
    ...["classify", "--checkpoint", "models/first", image, "--json"],
    ...["--seed", "3", "--samples", "4", "--mpp", "0.5", "--backend", "wasm"],
  );
  const { source, ...printed } = JSON.parse(stdout);
  assert.equal(source, image);
  assert.equal(printed.image.mpp, 0.5);

  const options = { seed: 3, samples: 4, mpp: 0.5 };
  const { id, ...answered } = await resultOf(
    await post(`${server.url}/v1/classify`, { path: IMAGE, ...options }),
  );
  assert.match(id, /^[0-9a-f-]{36}$/);
  assert.deepEqual(timeless(printed), timeless(answered));

  await startEngine("wasm");
  const { model } = await readCheckpoint(join(server.folder, "models/first"));
  const { classification, heatmap } = await classifyImage(
    join(server.folder, image),
    model,
    options,
  );
  disposeParameters(model.parameters);
  assert.equal(heatmap, undefined);
  const { model: _, timings: { totalMs: __, ...stages }, ...rest } = printed;
  assert.deepEqual(
    timeless(classification),
    timeless({ ...rest, timings: stages }),
  );
});

/** Copies the first model under another name, with a calibration. */
async function calibratedCopy(
  name: string,
  calibration: Calibration,
): Promise<void> {
  const models = join(server.folder, "models");
  const bytes = await Deno.readFile(join(models, "first", "best.safetensors"));
  const { tensors, metadata } = decodeSafeTensors(bytes);
  const stored = JSON.parse(metadata.zoomin!);
  assert.equal(stored.calibration, null); // two validation images: too few
  const zoomin = JSON.stringify({ ...stored, calibration });
  await Deno.writeFile(
    join(models, name),
    encodeSafeTensors({ tensors, metadata: { zoomin } }),
  );
}

Deno.test("a calibrated model gives one result everywhere", async () => {
  const calibration = { temperature: 0.2, bias: 0.7, images: 60, samples: 4 };
  const name = "calibrated.safetensors";
  await calibratedCopy(name, calibration);
  const image = join("set", IMAGE);
  const { stdout } = await succeed(
    server.folder,
    ...["classify", "--checkpoint", join("models", name), image, "--json"],
    ...["--seed", "3", "--samples", "4", "--backend", "wasm"],
  );
  const { models } = await (await fetch(`${server.url}/v1/models`)).json();
  assert.deepEqual(
    models.map((model: { calibration: unknown }) => model.calibration),
    [calibration, null],
  );
  const options = { seed: 3, samples: 4 };
  const ask = (model: string) =>
    post(`${server.url}/v1/classify`, { path: IMAGE, model, ...options });
  const answered = await resultOf(await ask("calibrated"));
  const plain = await resultOf(await ask("first"));
  await startEngine("wasm");
  const { model } = await readCheckpoint(join(server.folder, "models", name));
  const { classification } = await classifyImage(
    join(server.folder, image),
    model,
    options,
  );
  disposeParameters(model.parameters);
  for (const result of [JSON.parse(stdout), classification]) {
    assert.deepEqual(said(result), said(answered));
  }
  const { negative, positive } = plain.probabilities;
  const odds = Math.log(positive! / negative!) / 0.2 + 0.7;
  const expected = 1 / (1 + Math.exp(-odds));
  assert.ok(Math.abs(answered.probabilities.positive! - expected) < 1e-5);
  assert.notEqual(positive, answered.probabilities.positive);
  assert.deepEqual(answered.subTiles, plain.subTiles);
});

Deno.test("options of the query count beside JSON, whose own come first", async () => {
  const ask = (
    query: string,
    options: Record<string, unknown>,
    headers: Record<string, string> = {},
  ) =>
    post(
      `${server.url}/v1/classify${query}`,
      { path: IMAGE, ...options },
      headers,
    );
  const answerOf = async (response: Response) => said(await resultOf(response));
  const expected = await answerOf(await ask("", { seed: 3, samples: 5 }));
  const asked = [
    ask("?seed=3&samples=5", {}),
    ask("?seed=4&samples=5", { seed: 3 }),
  ];
  for (const response of await Promise.all(asked)) {
    assert.deepEqual(await answerOf(response), expected);
  }
  await assertRefused(await ask("?model=other", {}), { status: 404 });

  const later = { prefer: "respond-async" };
  const response = await ask("?seed=4&samples=5", { seed: 3 }, later);
  const { links } = await ended(server.url, (await response.json()).id);
  const result = await fetch(server.url + links.result!);
  assert.deepEqual(await answerOf(result), expected);
});

Deno.test("concurrent requests give each its own answer", async () => {
  const names = Array.from({ length: 8 }, (_, i) => `test_0000${i}.png`);
  const one = async (name: string) =>
    said(
      await resultOf(
        await post(`${server.url}/v1/classify`, { path: `images/${name}` }),
      ),
    );
  const alone: ReturnType<typeof said>[] = [];
  for (const name of names) alone.push(await one(name));
  const together = await Promise.all(
    [...names, ...names, ...names].map((name) => one(name)),
  );
  // A batch adds in another order: the last digits may differ.
  together.forEach((answer, i) => {
    const expected = alone[i % names.length]!;
    assert.equal(answer.label, expected.label);
    assert.deepEqual(answer.tiles, expected.tiles);
    for (const [name, p] of Object.entries(expected.probabilities)) {
      assert.ok(Math.abs(answer.probabilities[name]! - p) < 1e-5);
    }
  });
});

Deno.test("the heat map and the regions are other forms of the answer", async () => {
  const body = await imageOf(server.folder);
  const headers = { "content-type": "application/octet-stream" };
  const png = await classify({
    headers: { ...headers, accept: "image/png" },
    body,
  });
  assert.equal(png.headers.get("content-type"), "image/png");
  const head = new TextDecoder().decode((await png.bytes()).slice(0, 100));
  assert.match(head, /PNG[^]*tEXtComment\0Colour \(viridis\)/);

  const geojson = await classify({
    headers: { ...headers, accept: "application/geo+json" },
    body,
  });
  assert.equal(geojson.headers.get("content-type"), "application/geo+json");
  const { type, features } = await geojson.json();
  assert.equal(type, "FeatureCollection");
  assert.ok(features.length > 4);
});

Deno.test("a caller who prefers a job gets one, and its files", async () => {
  const response = await classify({
    headers: {
      "content-type": "image/png",
      prefer: "respond-async",
    },
    body: await imageOf(server.folder),
  }, "?seed=3");
  assert.equal(response.status, 202);
  assert.equal(response.headers.get("preference-applied"), "respond-async");
  const { id, links } = await response.json() as JobDocument;
  assert.equal(response.headers.get("location"), `/v1/jobs/${id}`);
  assert.equal(links.self, `/v1/jobs/${id}`);
  const job = await ended(server.url, id);
  assert.equal(job.state, "succeeded", job.error ?? "");
  assert.equal(job.attempts, 1);
  const get = (link: string) => fetch(server.url + job.links[link]!);
  const result = await resultOf(await get("result"));
  assert.equal(result.id, id);
  const direct = await resultOf(
    await post(`${server.url}/v1/classify`, { path: IMAGE, seed: 3 }),
  );
  assert.deepEqual(said(result), said(direct));
  const png = await (await get("heatmap")).bytes();
  assert.equal(png[1], "P".charCodeAt(0));
  const regions = await (await get("regions")).json();
  assert.equal(
    regions.features.length,
    result.tiles.length + result.subTiles.length,
  );
  await assertRefused(
    await fetch(`${server.url}${job.links.regions}?origin=world`),
    { status: 400, field: "origin", error: /not georeferenced/ },
  );
});

Deno.test("draws that a network with evidence cannot do are a 400", async () => {
  const file = join(server.folder, "models", "evidence.safetensors");
  await writeEvidenceModel(file);
  await (await fetch(`${server.url}/v1/models`)).json(); // finds it
  const asked = { path: IMAGE, model: "evidence" };
  await assertRefused(
    await post(`${server.url}/v1/classify`, { ...asked, draws: "topN" }),
    {
      status: 400,
      field: "draws",
      error: /^Cannot draw topN under network\.head = evidence/,
    },
  );
  await resultOf(await post(`${server.url}/v1/classify`, asked));
  const gone = await fetch(`${server.url}/v1/models/evidence`, {
    method: "DELETE",
  });
  await gone.body?.cancel();
});

Deno.test("a faulty request is a 400 that names the field", async () => {
  const faults: [unknown, string][] = [
    [{}, "uri"],
    [{ uri: "http://a/b", path: "a" }, "uri"],
    [{ uri: "ftp://a/b" }, "uri"],
    [{ uri: "nothing" }, "uri"],
    [{ uri: "s3://bucket/\ud800.tif" }, "uri"],
    [{ path: "" }, "path"],
    [{ path: IMAGE, samples: 0 }, "samples"],
    [{ path: IMAGE, samples: "4" }, "samples"],
    [{ path: IMAGE, samples: 4097 }, "samples"],
    [{ path: IMAGE, seed: -1 }, "seed"],
    [{ path: IMAGE, seed: 1.5 }, "seed"],
    [{ path: IMAGE, mpp: 0 }, "mpp"],
    [{ path: IMAGE, mpp: 0.009 }, "mpp"],
    [{ path: IMAGE, mpp: 500 }, "mpp"],
    [{ path: IMAGE, draws: "best" }, "draws"],
    [{ path: IMAGE, model: "../first" }, "model"],
    [{ path: IMAGE, colour: "red" }, "colour"],
    [[], "body"],
  ];
  for (const [body, field] of faults) {
    const response = await post(`${server.url}/v1/classify`, body);
    await assertRefused(response, { status: 400, field });
  }
  const fields = "model, samples, draws, seed, mpp, maps";
  const url = await post(`${server.url}/v1/classify`, { url: "http://a/b" });
  await assertRefused(url, {
    status: 400,
    field: "url",
    error: new RegExp(
      `there is no such field; the fields are uri, path, upload, ${fields}$`,
    ),
  });
  const headers = { "content-type": "application/json" };
  await assertRefused(await classify({ headers, body: "{" }), {
    status: 400,
    field: "body",
  });
  const image = { "content-type": "image/png" };
  await assertRefused(await classify({ headers: image, body: "" }), {
    status: 400,
    field: "body",
  });
  await assertRefused(
    await classify({ headers: image, body: "x" }, "?samples=none"),
    { status: 400, field: "samples" },
  );
  await assertRefused(
    await classify({ headers: image, body: "x" }, "?mpp=500"),
    { status: 400, field: "mpp" },
  );
  const misnamed = new FormData();
  misnamed.append("image", new Blob(["x"]), "a.png");
  await assertRefused(await classify({ body: misnamed }), {
    status: 400,
    field: "image",
  });
  const form = new FormData();
  form.append("file", new Blob(["x"]), "a.png");
  form.append("sample", "4");
  await assertRefused(await classify({ body: form }), {
    status: 400,
    field: "sample",
    error: new RegExp(`there is no such field; the fields are ${fields}$`),
  });
  form.delete("sample");
  form.append("samples", "many");
  await assertRefused(await classify({ body: form }), {
    status: 400,
    field: "samples",
  });
  await assertRefused(
    await classify({
      headers: { "content-type": "multipart/form-data; boundary=x" },
      body:
        '--x\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\ncut',
    }),
    { status: 400, field: "body" },
  );
});

Deno.test("what is not an image is told apart from one that is damaged", async () => {
  const headers = { "content-type": "application/octet-stream" };
  await assertRefused(await classify({ headers, body: "plain words" }), {
    status: 415,
    error: /the upload .*none of PNG/,
  });
  const bytes = await imageOf(server.folder);
  const cut = bytes.slice(0, bytes.length / 2);
  await assertRefused(await classify({ headers, body: cut }), {
    status: 422,
    error: /the upload/,
  });
  const form = new FormData();
  form.append("file", new Blob([cut]), "My slide.png");
  await assertRefused(await classify({ body: form }), {
    status: 422,
    error: /^Cannot \w+ My slide.png/,
  });
  const patterns = new FormData(); // of String.replace
  patterns.append("file", new Blob([cut]), "cost$$5 $& a.png");
  await assertRefused(await classify({ body: patterns }), {
    status: 422,
    error: /^Cannot \w+ cost\$\$5 \$& a\.png /,
  });
  for (const type of ["text/plain", "application/x-www-form-urlencoded"]) {
    await assertRefused(
      await classify({ headers: { "content-type": type }, body: "a=b" }),
      { status: 415 },
    );
  }
  await assertRefused(await classify({ body: new Uint8Array([1]) }), {
    status: 415,
  });
});

Deno.test("an upload cannot name other files", async () => {
  // A Hamamatsu slide is a text that names its JPEG files.
  const path = join(server.folder, "set", "images", "test_00000.png");
  const body = `[Virtual Microscope Specimen]\nImageFile=${path}\n`;
  const headers = { "content-type": "application/octet-stream" };
  await assertRefused(await classify({ headers, body }), {
    status: 422,
    error: /several files/,
  });
});

Deno.test("one bad image of a batch fails alone", async () => {
  const headers = { "content-type": "application/octet-stream" };
  const good = await imageOf(server.folder);
  const bad = good.slice(0, good.length / 2);
  const statuses = await Promise.all(
    Array.from({ length: 12 }, async (_, i) => {
      const response = await classify({ headers, body: i % 3 ? good : bad });
      await response.body?.cancel();
      return response.status;
    }),
  );
  assert.deepEqual(statuses, statuses.map((_, i) => i % 3 ? 200 : 422));
});

Deno.test("nothing outside the folders of data is read or told of", async () => {
  const { folder } = server;
  await Deno.writeTextFile(join(folder, "secret.txt"), "secret");
  await Deno.symlink(
    join(folder, "secret.txt"),
    join(folder, "set", "link.png"),
  );
  await Deno.symlink(folder, join(folder, "set", "up"));
  const names = [
    "images/absent.png",
    "../secret.txt",
    "images/../../secret.txt",
    "link.png",
    "up/secret.txt",
    join(folder, "secret.txt"),
    join(folder, "absent.txt"),
    "/etc/passwd",
    "images", // a folder
    "images/\0.png",
  ];
  for (const path of names) {
    const { error } = await assertRefused(
      await post(`${server.url}/v1/classify`, { path }),
      { status: 403 },
    );
    assert.equal(
      error.replace(JSON.stringify(path), "IT"),
      "Cannot read IT: there is no such file in the folders of data (--data-root)",
    );
  }
  await assertRefused(
    await post(`${server.url}/v1/classify`, { uri: "file:///etc/passwd" }),
    { status: 403, error: /no such file in the folders of data/ },
  );
  const uploads = join(folder, "models", ".server", "uploads");
  assert.deepEqual(await filesIn(uploads), []);
});

Deno.test("a body of no type, or of another, is told what is taken", async () => {
  const image = new Blob([await imageOf(server.folder)]);
  for (
    const type of [
      undefined,
      "text/plain",
      "application/x-www-form-urlencoded",
      "x/y",
    ]
  ) {
    const response = await fetch(`${server.url}/v1/classify`, {
      method: "POST",
      ...(type && { headers: { "content-type": type } }),
      body: image.stream(), // to which fetch gives no type
    });
    await assertRefused(response, {
      status: 415,
      error: /image\/png.*octet-stream.*form-data.*application\/json/,
    });
  }
});
