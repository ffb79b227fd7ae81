/** Objects that are drawn on the images of a table, and trained on. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { readManifest } from "../../lib/data/manifest.ts";
import { readRoisOf } from "../../lib/data/rois.ts";
import {
  assertRefused,
  ended,
  post,
  serverOfFile,
  SMALL_SETTINGS,
} from "../serve/served.ts";

// The host of images whose URLs are signed.
const host = Deno.serve(
  { hostname: "127.0.0.1", port: 0, onListen() {} },
  async (request) => {
    const { pathname, search } = new URL(request.url);
    if (!search) return new Response(null, { status: 403 });
    const bytes = await Deno.readFile(join(server.folder, "set", pathname));
    const [, from, to] = /^bytes=(\d+)-(\d+)$/
      .exec(request.headers.get("range") ?? "")!;
    const end = Math.min(Number(to) + 1, bytes.length);
    return new Response(bytes.slice(Number(from), end), {
      status: 206,
      headers: {
        "content-range": `bytes ${from}-${end - 1}/${bytes.length}`,
        etag: '"1"',
      },
    });
  },
);

Deno.test.afterAll(() => host.shutdown());

const server = serverOfFile(
  ...["--workers", "1", "--allow-host", `127.0.0.1:${host.addr.port}`],
);

const TABLE = "manifest.csv";
const BOX = { x: 10, y: 12, width: 9, height: 8 };
const POINT = { x: 40.5, y: 41, width: 0, height: 0, type: "needle" };
const HOLED = {
  ...{ x: 0, y: 0, width: 9, height: 9 },
  polygons: [[
    [{ x: 0, y: 0 }, { x: 9, y: 0 }, { x: 9, y: 9 }],
    [{ x: 5, y: 2 }, { x: 7, y: 2 }, { x: 7, y: 4 }],
  ]],
};

interface Row {
  image: string;
  label: string;
  split?: string;
  path: string;
  annotated: boolean;
  drawn?: number;
}

function address(route: string, table: string, image?: string): string {
  const query = new URLSearchParams({ table, ...(image && { image }) });
  return `${server.url}/v1/annotations${route}?${query}`;
}

async function rows(): Promise<Row[]> {
  const { rows, isCut } = await (await fetch(address("", TABLE))).json();
  assert.equal(isCut, false);
  return rows;
}

/** The first images to train on that have a needle, in the table's order. */
async function positives(): Promise<string[]> {
  return (await rows())
    .filter(({ label, split }) => label === "positive" && split === "train")
    .map(({ image }) => image);
}

async function objectsOf(image: string) {
  const response = await fetch(address("/image", TABLE, image));
  assert.equal(response.status, 200);
  const { objects } = await response.json();
  return { objects, etag: response.headers.get("etag")! };
}

function put(
  image: string,
  objects: unknown,
  headers: Record<string, string> = {},
): Promise<Response> {
  return fetch(address("/image", TABLE, image), {
    method: "PUT",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify({ objects }),
  });
}

Deno.test("a table lists its images, as requests name them", async () => {
  const listed = await rows();
  assert.equal(listed.length, 20);
  assert.ok(
    listed.every(({ label, annotated }) => annotated || label === "negative" // lookalikes aside
    ),
  );
  const response = await fetch(
    `${server.url}/v1/image?path=${listed[0]!.path}`,
  );
  assert.equal((await response.json()).width, 128);
});

Deno.test("objects are those of the table until some are saved in their place", async () => {
  const [, image] = await positives();
  const before = await objectsOf(image!);
  assert.ok(before.objects.length > 0);
  const table = await Deno.readTextFile(
    join(server.folder, "set", "regions.csv"),
  );
  const saved = await put(image!, [BOX, POINT, HOLED], {
    "if-match": before.etag,
  });
  assert.equal(saved.status, 200, await saved.clone().text());
  await saved.body?.cancel();
  const after = await objectsOf(image!);
  assert.deepEqual(after.objects, [BOX, POINT, HOLED]);
  assert.equal(after.etag, saved.headers.get("etag"));
  assert.notEqual(after.etag, before.etag);
  assert.equal(
    (await rows()).find((row) => row.image === image)!.drawn,
    3,
  );
  // The folders of data stay as they are.
  assert.equal(
    await Deno.readTextFile(join(server.folder, "set", "regions.csv")),
    table,
  );
});

Deno.test("who has seen other objects may not replace them", async () => {
  const [, , image] = await positives();
  const { etag } = await objectsOf(image!);
  const both = await Promise.all([
    put(image!, [BOX], { "if-match": etag }),
    put(image!, [POINT], { "if-match": etag }),
  ]);
  const refused = both.filter(({ status }) => status === 412);
  assert.equal(refused.length, 1);
  await assertRefused(refused[0]!, { status: 412, error: /meanwhile/ });
  await both.find(({ status }) => status === 200)!.body?.cancel();
  await assertRefused(await put(image!, [], { "if-match": etag }), {
    status: 412,
  });
  await assertRefused(await put(image!, []), {
    status: 400,
    field: "if-match",
  });
});

Deno.test("If-Match is read as RFC 9110 has it", async () => {
  const [, , , image] = await positives();
  const { etag } = await objectsOf(image!);
  const weak = await put(image!, [BOX], { "if-match": `W/${etag}` });
  await assertRefused(weak, { status: 412 });
  const tags = `"other", W/"third", ${etag}`;
  const strong = await put(image!, [BOX], { "if-match": tags });
  assert.equal(strong.status, 200, await strong.text());
  for (const objects of [[POINT], []]) {
    const any = await put(image!, objects, { "if-match": " * " });
    assert.equal(any.status, 200, await any.text());
    assert.deepEqual((await objectsOf(image!)).objects, objects);
  }
  await assertRefused(await put("none.png", [], { "if-match": "*" }), {
    status: 404,
  });
});

Deno.test("an image has as many objects as the limits say", async () => {
  const [, , , image] = await positives();
  const objects = Array.from({ length: 10_000 }, (_, i) => ({
    x: -1_234_567.123456789 - i / 7,
    y: 1_234_567.123456789 + i / 7,
    width: 1_234_567.123456789 - i / 7,
    height: 1_234_567.123456789 - i / 7,
    type: "t".repeat(90),
  }));
  const saved = await put(image!, objects, { "if-match": "*" });
  assert.equal(saved.status, 200, await saved.text());
  assert.deepEqual((await objectsOf(image!)).objects, objects);
  const more = await put(image!, [...objects, BOX], { "if-match": "*" });
  await assertRefused(more, { status: 400, field: "objects" });
  const long = await put(
    image!,
    objects.map((object) => ({ ...object, type: "t".repeat(200) })),
    { "if-match": "*" },
  );
  await assertRefused(long, {
    status: 413,
    error: /more than 2097152 bytes/,
  });
  await (await put(image!, [], { "if-match": "*" })).body?.cancel();
});

Deno.test("only images of tables in the folders of data have objects", async () => {
  await assertRefused(await fetch(address("", "../models/x.csv")), {
    status: 403,
    error: /no such file in the folders of data/,
  });
  await assertRefused(await fetch(address("/image", TABLE, "none.png")), {
    status: 404,
    error: /has no image "none.png"/,
  });
  await assertRefused(await fetch(address("", "regions.csv")), {
    status: 400,
    error: /missing column "label"/,
    field: "table",
  });
});

Deno.test("objects outside of the folders of data are not read", async () => {
  const inside = join(server.folder, "set", "linked");
  await Deno.mkdir(inside);
  await Deno.copyFile(
    join(server.folder, "set", "regions.csv"),
    join(server.folder, "secret.csv"),
  );
  await Deno.symlink(
    join(server.folder, "secret.csv"),
    join(inside, "regions.csv"),
  );
  const table = await Deno.readTextFile(join(server.folder, "set", TABLE));
  await Deno.writeTextFile(
    join(inside, TABLE),
    table.replaceAll("images/", "../images/"),
  );
  const response = await fetch(address("", `linked/${TABLE}`));
  const { rows } = await response.json() as { rows: Row[] };
  assert.equal(rows.length, 20);
  assert.ok(rows.every(({ annotated }) => !annotated));
});

Deno.test("boxes as a table are what train --boxes reads", async () => {
  const [image] = await positives();
  const { etag } = await objectsOf(image!);
  const saved = await put(image!, [BOX, POINT], { "if-match": etag });
  await saved.body?.cancel();
  const response = await fetch(address("/boxes.csv", TABLE));
  assert.equal(response.status, 200);
  const file = join(server.folder, "set", "drawn.csv");
  await Deno.writeTextFile(file, await response.text());
  const manifest = await readManifest(join(server.folder, "set", TABLE));
  const rois = await readRoisOf(file, manifest);
  const entry = manifest.entries.find((entry) => entry.image === image)!;
  assert.deepEqual(await rois.of(entry), [BOX, POINT]);
  const other = manifest.entries.find(({ split, label }) =>
    split === "test" && label === "positive"
  )!;
  assert.deepEqual(
    await rois.of(other),
    (await objectsOf(other.image)).objects,
  );
});

const TRAINING = {
  data: TABLE,
  preset: "needle",
  boxes: true,
  epochs: 2,
  settings: {
    "view.samples": 4,
    "evaluation.samples": 4,
    "training.validation": 0.2,
    "training.dense.copies": 0,
  },
};

Deno.test("a job trains on what was drawn when it was accepted", async () => {
  for (const image of await positives()) {
    const { etag } = await objectsOf(image);
    const saved = await put(image, [BOX], { "if-match": etag });
    await saved.body?.cancel();
  }
  const response = await post(`${server.url}/v1/train`, {
    ...TRAINING,
    name: "boxed",
    features: "scattering",
  });
  const { id } = await response.json();
  const [image] = await positives();
  const { etag } = await objectsOf(image!);
  const later = await put(image!, [BOX, BOX], { "if-match": etag });
  await later.body?.cancel();
  const job = await ended(server.url, id);
  assert.equal(job.state, "succeeded", job.error!);
  const log = await (await fetch(`${server.url}/v1/jobs/${id}/log`)).text();
  const { boxes } = JSON.parse(log.split("\n")[0]!);
  assert.equal(boxes.objects, boxes.images);
  assert.ok(boxes.images >= 4, JSON.stringify(boxes));
});

Deno.test("boxes need a training that learns from them", async () => {
  const response = await post(`${server.url}/v1/train`, {
    ...TRAINING,
    settings: SMALL_SETTINGS,
    name: "labels",
  });
  await assertRefused(response, {
    status: 400,
    error: /"features": "scattering"/,
    field: "boxes",
  });
});

Deno.test("a run is scored on its validation images, and has a report", async () => {
  const response = await post(`${server.url}/v1/train`, {
    data: TABLE,
    name: "scored",
    preset: "needle",
    settings: SMALL_SETTINGS,
    epochs: 1,
  });
  const { id } = await response.json();
  const { links, error } = await ended(server.url, id);
  assert.ok(links.result, error!);
  const { scores } = await (await fetch(server.url + links.result)).json();
  assert.deepEqual(scores.classes, ["negative", "positive"]);
  const count = scores.confusion.flat()
    .reduce((sum: number, n: number) => sum + n, 0);
  assert.equal(count, scores.images);
  assert.equal(scores.images, 2); // a fifth of the twelve
  assert.equal(scores.calibration.length, 2);
  for (const [probability, share] of scores.calibration.flat()) {
    assert.ok(probability >= 0 && probability <= 1 && share >= 0 && share <= 1);
  }
  const report = await fetch(server.url + links.report);
  assert.equal(report.headers.get("content-type"), "text/html; charset=utf-8");
  const policy = report.headers.get("content-security-policy")!;
  assert.match(policy, /default-src 'none'.*sandbox/);
  const text = await report.text();
  assert.match(text, /<title>scored: Training run/);
  assert.match(text, /Evaluation on manifest.csv, validation/);
  const log = await (await fetch(server.url + links.log)).text();
  assert.equal(JSON.parse(log.split("\n")[0]!).data, TABLE);
  for (const told of [text, log]) {
    assert.ok(!told.includes(server.folder), "it tells where files lie");
  }
});

Deno.test("the signatures of a table's URLs are its owner's", async () => {
  const { port } = host.addr;
  const url = (name: string, secret = "") =>
    `http://127.0.0.1:${port}/images/${name}?signature=s3cr3t${secret}`;
  const names = (await rows()).map(({ path }) => path.split("/").at(-1)!);
  const lines = names.map((name, i) =>
    `${url(name)},${i % 2 ? "positive" : "negative"}`
  );
  await Deno.writeTextFile(
    join(server.folder, "set", "signed.csv"),
    ["image,label", ...lines, `${url(names[0]!, "2")},positive`, ""].join("\n"),
  );
  const answer = await fetch(address("", "signed.csv"));
  const text = await answer.text();
  const listed: { image: string; uri: string }[] = JSON.parse(text).rows;
  const plain = url(names[1]!).split("?")[0]!;
  assert.deepEqual(
    [listed[1]!.image, listed[1]!.uri],
    [plain, plain],
  );
  assert.equal(new Set(listed.map(({ image }) => image)).size, 21);

  const look = (route: string, query: Record<string, string>) =>
    fetch(`${server.url}/v1/${route}?${new URLSearchParams(query)}`);
  for (const { uri } of [listed[1]!, listed[20]!]) {
    const seen = await look("image", { uri, table: "signed.csv" });
    const facts = await seen.text();
    assert.equal(seen.status, 200, facts);
    assert.doesNotMatch(facts, /s3cr3t/);
    const tile = await look("image_files/7/0_0.png", {
      uri,
      table: "signed.csv",
    });
    assert.equal(tile.headers.get("content-type"), "image/png");
    await tile.body?.cancel();
  }
  await assertRefused(await look("image", { uri: plain }), {
    status: 422, // its host lets nobody in without the signature
    error: /403/,
  });

  const before = await fetch(address("/image", "signed.csv", plain));
  const saved = await fetch(address("/image", "signed.csv", plain), {
    method: "PUT",
    headers: {
      "content-type": "application/json",
      "if-match": before.headers.get("etag")!,
    },
    body: JSON.stringify({ objects: [BOX] }),
  });
  assert.equal(saved.status, 200);
  const boxes = await (await fetch(address("/boxes.csv", "signed.csv"))).text();
  assert.match(boxes, new RegExp(`^${plain},10,12,19,20,$`, "m"));

  const told = [text, await before.text(), await saved.text(), boxes];
  const job = async (route: string, request: object) => {
    const response = await post(`${server.url}${route}`, request);
    const accepted = await response.text();
    assert.equal(response.status, 202, accepted);
    told.push(accepted);
    const { id } = JSON.parse(accepted);
    const { links, state, error } = await ended(server.url, id);
    assert.equal(state, "succeeded", error!);
    for (const link of ["self", "result", "log", "report"]) {
      const path = links[link];
      if (path) told.push(await (await fetch(server.url + path)).text());
    }
    return told.at(-1)!;
  };
  const classified = await job("/v1/batch", { manifest: "signed.csv" });
  assert.equal(JSON.parse(classified.split("\n")[1]!).source, plain);
  await job("/v1/train", {
    ...TRAINING,
    data: "signed.csv",
    name: "signed",
    features: "scattering",
  });
  for (const one of told) assert.ok(!one.includes("s3cr3t"), one);
});
