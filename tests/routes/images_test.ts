/** Images to look at: deep zoom, rectangles, uploads that are kept, folders. */
import assert from "node:assert/strict";
import { join } from "node:path";
import sharp from "sharp";
import { openImage } from "../../lib/image/open.ts";
import { DEFAULT_LIMITS } from "../../lib/serve/limits.ts";
import {
  assertRefused,
  ended,
  filesIn,
  imageOf,
  post,
  serverOfFile,
  withServer,
} from "../serve/served.ts";

const files = Deno.serve(
  { hostname: "127.0.0.1", port: 0, onListen() {} },
  async ({ url }) =>
    new Response(
      await Deno.readFile(join(server.folder, "set", new URL(url).pathname)),
    ),
);
Deno.test.afterAll(() => files.shutdown());

const server = serverOfFile(
  ...["--workers", "1", "--allow-host", `127.0.0.1:${files.addr.port}`],
);

const WIDTH = 700, HEIGHT = 530, SIDE = 256;
const FLAT = "images/flat.png", SLIDE = "images/slide.tif";

Deno.test.beforeAll(async () => {
  const data = Uint8Array.from(
    { length: WIDTH * HEIGHT * 3 },
    (_, i) => (i * 2654435761 >>> 13) & 255,
  );
  const raw = { width: WIDTH, height: HEIGHT, channels: 3 as const };
  const picture = sharp(data, { raw });
  await picture.clone().png().toFile(join(server.folder, "set", FLAT));
  await picture.clone()
    .tiff({ tile: true, pyramid: true, compression: "deflate" })
    .toFile(join(server.folder, "set", SLIDE));
});

function get(path: string, init: RequestInit = {}): Promise<Response> {
  return fetch(server.url + path, init);
}

/** Pixels of an answer that is a picture. */
async function pixelsOf(response: Response) {
  const bytes = new Uint8Array(await response.arrayBuffer());
  assert.equal(response.status, 200, new TextDecoder().decode(bytes));
  const { data, info } = await sharp(bytes).removeAlpha().raw()
    .toBuffer({ resolveWithObject: true });
  return { data, width: info.width, height: info.height };
}

function tile(path: string, level: number, name: string, init?: RequestInit) {
  return get(
    `/v1/image_files/${level}/${name}?path=${encodeURIComponent(path)}`,
    init,
  );
}

for (const path of [FLAT, SLIDE]) {
  Deno.test(`tiles put together are the image: ${path}`, async () => {
    const facts = await (await get(`/v1/image?path=${path}`)).json();
    const image = await openImage(join(server.folder, "set", path));
    assert.equal(facts.width, image.width);
    assert.equal(facts.height, image.height);
    assert.equal(facts.levels.length, image.levels.length);
    assert.equal(facts.zoomLevels, 11); // 2^10 is the first above 700
    assert.equal(facts.firstLevel, 0);
    const whole = await image.read(
      { x: 0, y: 0, width: WIDTH, height: HEIGHT },
      0,
    );
    let seen = 0;
    for (let row = 0; row * SIDE < HEIGHT; row++) {
      for (let column = 0; column * SIDE < WIDTH; column++) {
        const cut = await pixelsOf(
          await tile(path, 10, `${column}_${row}.png`),
        );
        assert.equal(cut.width, Math.min(SIDE, WIDTH - column * SIDE));
        assert.equal(cut.height, Math.min(SIDE, HEIGHT - row * SIDE));
        for (let y = 0; y < cut.height; y++) {
          for (let x = 0; x < cut.width; x++) {
            const at = ((row * SIDE + y) * WIDTH + column * SIDE + x) * 4;
            const from = (y * cut.width + x) * 3;
            for (let c = 0; c < 3; c++) {
              if (cut.data[from + c] !== whole.data[at + c]) {
                assert.fail(`${column}_${row} differs at ${x}, ${y}`);
              }
            }
            seen++;
          }
        }
      }
    }
    assert.equal(seen, WIDTH * HEIGHT);
    image.close();
  });
}

Deno.test("each level is half of the next, down to one pixel", async () => {
  const { data, width, height } = await pixelsOf(
    await tile(FLAT, 8, "0_0.png"),
  );
  assert.deepEqual([width, height], [175, 133]); // a quarter, rounded up
  const image = await openImage(join(server.folder, "set", FLAT));
  const mean = async (x: number, y: number) => {
    const size = { width: 4, height: Math.min(4, HEIGHT - y) };
    const { data } = await image.read({ x, y, ...size }, 0);
    const sum = data.reduce((sum, value, i) => i % 4 === 0 ? sum + value : sum);
    return sum / (size.width * size.height);
  };
  for (const [x, y] of [[0, 0], [100, 50], [174, 131]] as const) {
    const red = data[(y * width + x) * 3]!;
    assert.ok(Math.abs(red - await mean(4 * x, 4 * y)) <= 1, `${x}, ${y}`);
  }
  image.close();
  const last = await pixelsOf(await tile(SLIDE, 0, "0_0.jpeg"));
  assert.deepEqual([last.width, last.height], [1, 1]);
});

Deno.test("a descriptor states the image, and other programs find its tiles", async () => {
  const response = await get(`/v1/image.dzi?path=${SLIDE}&format=png`);
  assert.match(response.headers.get("content-type")!, /^application\/xml/);
  const text = await response.text();
  assert.match(text, /Format="png" Overlap="0" TileSize="256"/);
  assert.match(text, /<Size Width="700" Height="530"\/>/);
  // As OpenSeadragon makes it of the descriptor's address.
  const address = `/v1/image_files/10/2_2.png?path=${SLIDE}&format=png`;
  const { width, height } = await pixelsOf(await get(address));
  assert.deepEqual([width, height], [188, 18]);
});

Deno.test("a picture that the caller has is not sent again", async () => {
  const first = await tile(SLIDE, 10, "1_1.jpeg");
  assert.equal(first.headers.get("content-type"), "image/jpeg");
  assert.match(first.headers.get("cache-control")!, /private/);
  await first.body?.cancel();
  const etag = first.headers.get("etag")!;
  const again = await tile(SLIDE, 10, "1_1.jpeg", {
    headers: { "if-none-match": `"other", W/${etag}` },
  });
  assert.equal(again.status, 304);
  assert.equal(again.headers.get("etag"), etag);
  assert.equal(await again.text(), "");
  for (
    const [level, name] of [[10, "1_0.jpeg"], [9, "1_1.jpeg"], [
      10,
      "1_1.png",
    ]] as const
  ) {
    const other = await tile(SLIDE, level, name);
    await other.body?.cancel();
    assert.notEqual(other.headers.get("etag"), etag, name);
  }
});

Deno.test("a file that was changed is opened anew", async () => {
  const place = join(server.folder, "set", "images", "changing.png");
  const draw = (red: number) =>
    sharp({
      create: {
        width: 300,
        height: 20,
        channels: 3,
        background: { r: red, g: 0, b: 0 },
      },
    }).png().toFile(place);
  await draw(10);
  const first = await tile("images/changing.png", 9, "0_0.png");
  assert.equal((await pixelsOf(first)).data[0], 10);
  await draw(200);
  await Deno.utime(place, new Date(), new Date(Date.now() + 5000));
  const second = await tile("images/changing.png", 9, "0_0.png");
  assert.equal((await pixelsOf(second)).data[0], 200);
  assert.notEqual(second.headers.get("etag"), first.headers.get("etag"));
});

Deno.test("a rectangle is cut at full resolution, black outside", async () => {
  const image = await openImage(join(server.folder, "set", FLAT));
  const region = { x: 690, y: 100, width: 20, height: 8 };
  const query = Object.entries(region).map(([key, value]) => `${key}=${value}`);
  const { data, width, height } = await pixelsOf(
    await get(`/v1/image/region.png?path=${FLAT}&${query.join("&")}`),
  );
  assert.deepEqual([width, height], [20, 8]);
  const { data: whole } = await image.read(region, 0);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) assert.equal(data[3 * i + c], whole[4 * i + c]);
  }
  image.close();
  const outside = await pixelsOf(
    await get(
      `/v1/image/region.png?path=${SLIDE}&x=-40&y=-3&width=20&height=9`,
    ),
  );
  assert.ok(outside.data.every((value) => value === 0));
});

Deno.test("what is not there, or may not be seen, is refused", async () => {
  const cases: [string, number, string?][] = [
    [`image_files/11/0_0.png?path=${FLAT}`, 404],
    [`image_files/10/3_0.png?path=${FLAT}`, 404],
    [`image_files/10/0_0.gif?path=${FLAT}`, 400, "tile"],
    [`image_files/10/-1_0.png?path=${FLAT}`, 400, "tile"],
    [`image_files/x/0_0.png?path=${FLAT}`, 400, "level"],
    [`image/region.png?path=${FLAT}&x=0&y=0&width=1025&height=1`, 400, "width"],
    [`image/region.png?path=${FLAT}&x=1.5&y=0&width=10&height=1`, 400, "x"],
    ["image", 400, "uri"],
    [`image?path=${FLAT}&uri=http://127.0.0.1/a.png`, 400, "uri"],
    ["image?path=../models/first/config.json", 403],
    ["image?path=/etc/passwd", 403],
    ["image?path=manifest.csv", 415],
    ["image?uri=http://169.254.169.254/a.png", 403],
    ["image?uri=http://127.0.0.1:1/a.png", 403],
    ["image?upload=x", 400, "upload"],
    [`image?upload=${crypto.randomUUID()}`, 404],
    ["data?folder=..", 403],
    ["data?folder=/etc", 403],
    ["data?folder=manifest.csv", 403],
  ];
  for (const [path, status, field] of cases) {
    const response = await get(`/v1/${path}`);
    const { error } = await assertRefused(response, {
      status,
      ...(field && { field }),
    });
    assert.ok(!error.includes(server.folder), error);
  }
  const foreign = await tile(FLAT, 10, "0_0.png", {
    headers: { "sec-fetch-site": "cross-site" },
  });
  await assertRefused(foreign, { status: 403 });
});

Deno.test("an image behind a URL is shown as its file is", async () => {
  const uri = `http://127.0.0.1:${files.addr.port}/${FLAT}`;
  const query = `uri=${encodeURIComponent(uri)}`;
  const far = await pixelsOf(await get(`/v1/image_files/10/2_1.png?${query}`));
  const near = await pixelsOf(await tile(FLAT, 10, "2_1.png"));
  assert.deepEqual(far, near);
});

Deno.test("a folder lists its images, tables and folders, and what links lead out of is left out", async () => {
  const set = join(server.folder, "set");
  await Deno.mkdir(join(set, "more"));
  await Deno.symlink(join(server.folder, "models"), join(set, "outside"));
  await Deno.symlink("/etc/passwd", join(set, "passwd.png"));
  await Deno.writeTextFile(join(set, "more", "notes.txt"), "");
  await Deno.writeTextFile(join(set, "more", "b10.PNG"), "");
  await Deno.writeTextFile(join(set, "more", "b9.svs"), "12");
  const list = async (query: string) =>
    await (await get(`/v1/data${query}`)).json();
  const top = await list("");
  assert.deepEqual(top.entries, [
    { name: "images", path: "images", kind: "folder", bytes: 0 },
    { name: "more", path: "more", kind: "folder", bytes: 0 },
    ...await Promise.all(["manifest.csv", "regions.csv"].map(async (name) => {
      const { size } = await Deno.stat(join(set, name));
      return { name, path: name, kind: "table", bytes: size };
    })),
  ]);
  assert.deepEqual(await list("?folder=more"), {
    entries: [
      { name: "b9.svs", path: "more/b9.svs", kind: "image", bytes: 2 },
      { name: "b10.PNG", path: "more/b10.PNG", kind: "image", bytes: 0 },
    ],
    isCut: false,
  });
});

Deno.test("an upload is sent once, seen, classified, and kept for a while", async () => {
  const limits = { ...DEFAULT_LIMITS, keptMs: 1000 };
  await withServer(server.folder, { limits }, async (url) => {
    const body = await imageOf(server.folder);
    const response = await fetch(`${url}/v1/uploads`, {
      method: "POST",
      headers: { "content-type": "image/png" },
      body,
    });
    assert.equal(response.status, 201);
    const { upload, bytes, keptSeconds } = await response.json();
    assert.equal(bytes, body.length);
    assert.equal(keptSeconds, 1);
    const facts = await (await fetch(`${url}/v1/image?upload=${upload}`))
      .json();
    assert.equal(facts.width, 128);
    const named = await (await post(`${url}/v1/classify`, { upload })).json();
    const sent = await fetch(`${url}/v1/classify`, {
      method: "POST",
      headers: { "content-type": "image/png" },
      body,
    });
    assert.deepEqual(named.subTiles, (await sent.json()).subTiles);
    const job = await post(`${url}/v1/classify`, { upload }, {
      prefer: "respond-async",
    });
    assert.equal(job.status, 202);
    const { id } = await job.json();
    assert.equal((await ended(url, id)).state, "succeeded");
    for (;;) { // once its time is over
      const response = await fetch(`${url}/v1/data`); // not a use of it
      await response.body?.cancel();
      const left = await filesIn(join(server.folder, "models/.server/uploads"));
      if (left.length === 0) break;
      await new Promise((done) => setTimeout(done, 100));
    }
    const late = await fetch(`${url}/v1/image?upload=${upload}`);
    await assertRefused(late, { status: 404, error: /send the image again/ });
  });
});

Deno.test("more pictures at a time than the limit are refused", async () => {
  const limits = { ...DEFAULT_LIMITS, pictures: 0, refusalMs: 0 };
  await withServer(server.folder, { limits }, async (url) => {
    const response = await fetch(`${url}/v1/image?path=${FLAT}`);
    await assertRefused(response, { status: 429 });
  });
});

Deno.test("heat maps of each stage come as numbers", async () => {
  const ask = async (body: unknown, query = "") =>
    await (await post(`${server.url}/v1/classify${query}`, body)).json();
  const path = "images/test_00000.png";
  assert.equal((await ask({ path })).maps, undefined);
  const { maps, subTiles } = await ask({ path, maps: true });
  assert.deepEqual(Object.keys(maps), ["stage1", "stage2"]);
  const masses: number[] = [];
  for (
    const { width, height, values } of Object.values<{
      width: number;
      height: number;
      values: string;
    }>(maps)
  ) {
    assert.deepEqual([width, height], [128, 128]);
    const numbers = await floats(values);
    assert.equal(numbers.length, width * height);
    masses.push(numbers.reduce((sum, value) => sum + value, 0));
  }
  assert.ok(Math.abs(masses[0]! - 1) < 1e-3, `stage I adds to ${masses[0]}`);
  assert.ok(masses[1]! > 0 && masses[1]! < 1);
  const query = await ask({ path }, "?maps=true");
  assert.deepEqual(query.maps, maps);
  assert.deepEqual(query.subTiles, subTiles);
});

async function floats(base64: string): Promise<Float32Array> {
  const stream = new Blob([Uint8Array.fromBase64(base64)]).stream()
    .pipeThrough(new DecompressionStream("gzip"));
  return new Float32Array(await new Response(stream).arrayBuffer());
}
