import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { join } from "node:path";
import sharp from "sharp";
import { writeEvidenceModel } from "../model/evidence_file.ts";
import { ignoreGpu } from "../engines.ts";
import { serveFile } from "../image/file_server.ts";
import { makeTiff, ramps, text } from "../image/tiff/handmade_tiff.ts";
import {
  assertFails,
  assertFailsInOneLine,
  drawAndTrain,
  folderOfFile,
  inParallel,
  remarks,
  SMALL,
  succeed,
  zoomin,
} from "./process.ts";

const folder = folderOfFile(async (folder) => {
  await drawAndTrain(folder);
  const png = await Deno.readFile(join(folder, IMAGES[0]!));
  await Deno.writeFile(join(folder, "cut.png"), png.subarray(0, 9000));
});

const IMAGES = [0, 1, 2].map((i) => `set/images/test_0000${i}.png`);
const CLASSIFY = ["classify", "--checkpoint", "run", "--backend", "wasm"];

interface SubTile {
  x: number;
  y: number;
  width: number;
  height: number;
  weight: number;
}

/** Output of `classify --json` for an image. */
interface Result {
  source: string;
  image: { width: number; height: number; mpp?: number };
  label: string;
  tiles: (Omit<SubTile, "weight"> & { count: number })[];
  subTiles: SubTile[];
  probabilities: Record<string, number>;
  timings: Record<string, number>;
  bytesRead: number;
  requests: number;
  warnings: string[];
  heatmap?: string;
  geojson?: string;
}

/** The results of a run with --json, an image a line. */
async function results(...argv: string[]): Promise<Result[]> {
  const { stdout } = await succeed(folder, ...CLASSIFY, "--json", ...argv);
  return stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
}

/** A result without what differs from run to run. */
function timeless({ timings: _, ...result }: Result): Omit<Result, "timings"> {
  return result;
}

Deno.test("classify says what an image is and where it looked", async () => {
  const { stdout, stderr } = await succeed(folder, ...CLASSIFY, IMAGES[0]!);
  const [title, size, looked, ...subTiles] = stdout.trimEnd().split("\n");
  assert.match(
    title!,
    /^set\/images\/test_00000\.png: (negative|positive) \(negative 0\.\d{3}, positive 0\.\d{3}\)$/,
  );
  assert.match(
    size!,
    /^ {2}128 x 128 px, \d+ bytes in 2 reads, \d+ ms \(open \d+, read \d+, stage1 \d+, stage2 \d+, classify \d+\)$/,
  );
  assert.match(looked!, /^ {2}looked at \(x, y, size, weight\):$/);
  assert.ok(subTiles.length >= 1 && subTiles.length <= 4);
  const weights = subTiles.map((line) => {
    const found = line.match(/^ {2}-?\d+, -?\d+, 28 x 28, (0\.\d{3}|1\.000)$/);
    assert.ok(found, line);
    return Number(found[1]);
  });
  assert.deepEqual(weights, weights.toSorted((a, b) => b - a));
  assert.equal(stderr, "engine: wasm: as requested\n");

  const many = await succeed(
    folder,
    ...[...CLASSIFY, "--samples", "64", IMAGES[0]!],
  );
  const told = many.stdout.trimEnd().split("\n").slice(3);
  assert.equal(told.length, 10 + 1);
  assert.match(told.at(-1)!, /^ {2}and \d+ more \(--json has all\)$/);
});

Deno.test("classify --json: a line an image, with all there is to know", async () => {
  const found = await results(...IMAGES);
  assert.deepEqual(found.map(({ source }) => source), IMAGES);
  for (const result of found) {
    const { probabilities, label } = result;
    const classes = ["negative", "positive"];
    assert.deepEqual(Object.keys(probabilities), classes);
    const values = Object.values(probabilities);
    assert.ok(Math.abs(values[0]! + values[1]! - 1) < 1e-6);
    assert.equal(probabilities[label], Math.max(...values));
    assert.deepEqual(result.image, { width: 128, height: 128 });
    checkDraws(result, 4);
    assert.deepEqual(Object.keys(result.timings), [
      "openMs",
      "readMs",
      "stage1Ms",
      "stage2Ms",
      "classifyMs",
      "totalMs",
    ]);
    for (const ms of Object.values(result.timings)) assert.ok(ms >= 0);
    const { size } = await Deno.stat(join(folder, result.source));
    assert.equal(result.bytesRead, size + 132); // of which 132 tell the format
    assert.equal(result.requests, 2);
    assert.deepEqual(result.warnings, []);
    assert.equal(result.heatmap, undefined);
  }
});

/** Every sub-tile lies in a drawn tile, and the weights are one whole. */
function checkDraws({ tiles, subTiles }: Result, samples: number): void {
  const drawn = tiles.reduce((sum, { count }) => sum + count, 0);
  assert.equal(drawn, samples);
  assert.ok(subTiles.length >= 1 && subTiles.length <= samples);
  const total = subTiles.reduce((sum, { weight }) => sum + weight, 0);
  assert.ok(Math.abs(total - 1) < 1e-5, `weights add to ${total}`);
  for (const { x, y, width, height, weight } of subTiles) {
    assert.ok(weight >= 0);
    assert.deepEqual([width, height], [28, 28]);
    // Their centres are locations within a tile and within the image, but for
    // the half location by which rounding may move them.
    const centre = { x: x + width / 2, y: y + height / 2 };
    assert.ok(
      tiles.some((tile) =>
        centre.x >= tile.x - 2 && centre.x <= tile.x + tile.width + 2 &&
        centre.y >= tile.y - 2 && centre.y <= tile.y + tile.height + 2
      ),
      `no tile holds ${JSON.stringify(centre)}`,
    );
  }
  for (const { x, y, width, height } of tiles) {
    assert.deepEqual([width, height], [64, 64]);
    const centre = { x: x + width / 2, y: y + height / 2 };
    assert.ok(centre.x >= 0 && centre.x <= 128, `tile at ${x}`);
    assert.ok(centre.y >= 0 && centre.y <= 128, `tile at ${y}`);
  }
}

Deno.test("classify --seed: one seed, one result, whatever the company", async () => {
  const all = await results("--seed", "5", ...IMAGES);
  const [alone] = await results("--seed", "5", IMAGES[1]!);
  const [other] = await results("--seed", "6", IMAGES[1]!);
  assert.deepEqual(timeless(alone!), timeless(all[1]!));
  assert.notDeepEqual(other!.subTiles, alone!.subTiles);
});

Deno.test("classify --draws topN does not depend on the seed", async () => {
  const [a] = await results("--draws", "topN", "--seed", "1", IMAGES[1]!);
  const [b] = await results("--draws", "topN", "--seed", "2", IMAGES[1]!);
  assert.deepEqual(timeless(a!), timeless(b!));
  checkDraws(a!, 4);
});

Deno.test("a network with evidence shows attention and evidence, and draws at random", async () => {
  await writeEvidenceModel(join(folder, "evidence.safetensors"));
  const classify = [
    ...["classify", "--checkpoint", "evidence.safetensors"],
    ...["--backend", "wasm"],
  ];
  const { stdout } = await succeed(
    folder,
    ...[...classify, "--json", "--heatmap", "both.png", IMAGES[0]!],
  );
  const result: Result & { evidence?: string } = JSON.parse(stdout);
  assert.equal(result.heatmap, "both.png");
  assert.equal(result.evidence, "both-evidence.png");
  for (const kind of ["attention", "evidence"] as const) {
    const file = kind === "attention" ? result.heatmap! : result.evidence!;
    await checkHeatmap(file);
    const bytes = await Deno.readFile(join(folder, file));
    assert.ok(Buffer.from(bytes).includes(`linear in ${kind} mass`));
  }
  const weights = result.subTiles.reduce((sum, { weight }) => sum + weight, 0);
  assert.ok(Math.abs(weights - 1) < 1e-4);
  const told = await succeed(
    folder,
    ...[...classify, "--heatmap", "both.png", IMAGES[0]!],
  );
  assert.match(told.stdout, /^ {2}evidence: both-evidence\.png$/m);

  assertFailsInOneLine(
    await zoomin(folder, ...classify, "--draws", "topN", IMAGES[0]!),
    {
      code: 2,
      message:
        /^Cannot draw topN under network\.head = evidence, .*: use the draws seeded$/m,
    },
  );
});

Deno.test("classify --samples: one sub-tile, and more than training drew", async () => {
  await inParallel([1, 64], async (samples) => {
    const [result] = await results("--samples", String(samples), IMAGES[1]!);
    checkDraws(result!, samples);
    if (samples === 1) assert.equal(result!.subTiles[0]!.weight, 1);
    else assert.ok(result!.subTiles.length > 40);
  });
});

Deno.test("classify warns of what decoding changed", async () => {
  await sharp(join(folder, IMAGES[0]!)).greyscale().toColourspace("b-w")
    .toFile(join(folder, "grey.png"));
  const [result] = await results("grey.png");
  assert.deepEqual(result!.warnings, ["grey expanded to RGB"]);
  const { stdout } = await succeed(folder, ...CLASSIFY, "grey.png");
  assert.match(stdout, /^ {2}warning: grey expanded to RGB$/m);
});

Deno.test("classify --heatmap draws the attention, with its scale", async () => {
  const [one] = await results("--heatmap", "one.png", IMAGES[0]!);
  assert.equal(one!.heatmap, "one.png");
  await checkHeatmap("one.png");
  // Asking for it changes nothing else.
  const [plain] = await results(IMAGES[0]!);
  const { heatmap: _, ...rest } = timeless(one!);
  assert.deepEqual(rest, timeless(plain!));

  const { stdout } = await succeed(
    folder,
    ...[...CLASSIFY, "--heatmap", "maps", IMAGES[0]!, IMAGES[1]!],
  );
  assert.match(stdout, /^ {2}heat map: maps\/test_00000\.png$/m);
  for (const name of ["test_00000.png", "test_00001.png"]) {
    await checkHeatmap(join("maps", name));
  }
  const read = (path: string) => Deno.readFile(join(folder, path));
  const [alone, among] = [
    await read("one.png"),
    await read("maps/test_00000.png"),
  ];
  assert.ok(Buffer.compare(alone, among) === 0);

  assertFailsInOneLine(
    await zoomin(folder, ...CLASSIFY, "--heatmap", "no/h.png", IMAGES[0]!),
    {
      code: 2,
      message:
        /^Cannot write --heatmap no\/h\.png: the folder no does not exist; /m,
    },
  );
  // A folder that is there takes the heat map of one image too, and so does one
  // that a slash names.
  const [inFolder] = await results("--heatmap", "maps", IMAGES[2]!);
  assert.equal(inFolder!.heatmap, join("maps", "test_00002.png"));
  await checkHeatmap(inFolder!.heatmap!);
  const [inNew] = await results("--heatmap", "new/", IMAGES[2]!);
  assert.equal(inNew!.heatmap, join("new", "test_00002.png"));
  await checkHeatmap(inNew!.heatmap!);
});

Deno.test("a heat map of evidence does not fall on that of another image", async () => {
  assertFailsInOneLine(
    await zoomin(
      folder,
      ...[...CLASSIFY, "--heatmap", "maps", "a.png", "a-evidence.png"],
    ),
    {
      code: 2,
      message:
        /^Two images would be written to maps\/a-evidence\.png: classify images/m,
    },
  );
});

Deno.test("classify does not write over what it reads", async () => {
  const picture = await Deno.readFile(join(folder, IMAGES[0]!));
  await Deno.mkdir(join(folder, "own"));
  await Deno.writeFile(join(folder, "own", "a.png"), picture);
  for (const out of ["own", "own/a.png"]) {
    assertFailsInOneLine(
      await zoomin(folder, ...CLASSIFY, "--heatmap", out, "own/a.png"),
      {
        code: 2,
        message: /^Cannot write to own\/a\.png: it is one of the input files/m,
      },
    );
  }
  assert.deepEqual(await Deno.readFile(join(folder, "own", "a.png")), picture);
  const weights = "run/best.safetensors";
  assertFailsInOneLine(
    await zoomin(
      folder,
      ...["classify", "--checkpoint", weights, "--backend", "wasm"],
      ...["--heatmap", weights, IMAGES[0]!],
    ),
    {
      code: 2,
      message:
        /^Cannot write to run\/best\.safetensors: it is one of the input/m,
    },
  );
  assertFailsInOneLine(
    await zoomin(folder, ...CLASSIFY, "--origin", "level0", IMAGES[0]!),
    { code: 2, message: /^--origin needs --geojson: /m },
  );
});

/** Checks that a heat map decodes, shows something and tells its scale. */
async function checkHeatmap(path: string): Promise<void> {
  const bytes = await Deno.readFile(join(folder, path));
  const { width, height } = await sharp(bytes).metadata();
  // Enlarged fourfold, with a legend of 36 px below.
  assert.deepEqual([width, height], [512, 548]);
  const { channels } = await sharp(bytes).stats();
  assert.ok(channels.slice(0, 3).some(({ stdev }) => stdev > 5), "a flat map");
  const text = new TextDecoder("latin1").decode(bytes);
  const comment = text.match(/tEXtComment\0([^\0]*\d[^\0]*)/);
  assert.ok(comment, "no scale in the file");
}

Deno.test("classify continues after a bad image, and exits with 1", async () => {
  const result = await zoomin(
    folder,
    ...[...CLASSIFY, "--json", IMAGES[0]!, "cut.png", IMAGES[1]!],
  );
  assert.equal(result.code, 1);
  const images = result.stdout.trimEnd().split("\n")
    .map((line) => JSON.parse(line).source);
  assert.deepEqual(images, [IMAGES[0], IMAGES[1]]);
  const faults = remarks(result);
  assert.equal(faults.length, 1, result.stderr);
  assert.match(faults[0]!, /^Cannot open cut\.png as PNG: .*truncated/);
});

Deno.test("classify --workers: side by side is as one by one", async () => {
  const argv = ["--json", ...IMAGES, "cut.png", ...IMAGES.toReversed()];
  const run = async (workers: string) => {
    const result = await zoomin(
      folder,
      ...[...CLASSIFY, "--workers", workers, ...argv],
    );
    assert.equal(result.code, 1); // of cut.png
    assert.match(remarks(result).join(), /^Cannot open cut\.png/);
    return result.stdout.trimEnd().split("\n")
      .map((line) => timeless(JSON.parse(line)));
  };
  assert.deepEqual(await run("2"), await run("1"));
});

Deno.test("classify names what it cannot open", async () => {
  await inParallel<[argv: string[], message: RegExp]>([
    [["gone.png"], /^Cannot open gone\.png as an image: no such file$/],
    [["set"], /^Cannot open set as an image: it is a folder$/],
    [["set/manifest.csv"], /^Cannot open set\/manifest\.csv as an image: /],
    // Nothing is fetched: there is no permission to.
    [["http://127.0.0.1:9/x.png"], /^Cannot open http:\/\/127\.0\.0\.1:9\/x/],
    [["--checkpoint", "cut.png", IMAGES[0]!], /^Cannot use cut\.png as a chec/],
    [
      ["--checkpoint", "cut.png", "--workers", "2", ...IMAGES],
      /^Cannot use cut\.png as a chec/,
    ],
  ], async ([argv, message]) => {
    const result = await zoomin(folder, ...CLASSIFY, ...argv);
    assertFailsInOneLine(result, { code: 1, message });
  });
});

Deno.test({
  name: "classify looks at the same on webgpu",
  ignore: ignoreGpu,
  async fn() {
    const argv = ["--samples", "16", "--seed", "2", ...IMAGES];
    const wasm = await results(...argv);
    const webgpu = await results(...argv, "--backend", "webgpu");
    for (const [i, expected] of wasm.entries()) {
      const actual = webgpu[i]!;
      assert.equal(actual.label, expected.label);
      assert.deepEqual(actual.tiles, expected.tiles);
      const places = ({ subTiles }: Result) =>
        subTiles.map(({ weight: _, ...place }) => place);
      assert.deepEqual(places(actual), places(expected));
      for (const [name, p] of Object.entries(expected.probabilities)) {
        assert.ok(Math.abs(actual.probabilities[name]! - p) < 1e-4, name);
      }
      for (const [j, { weight }] of expected.subTiles.entries()) {
        assert.ok(Math.abs(actual.subTiles[j]!.weight - weight) < 1e-4);
      }
    }
  },
});

Deno.test("classify looks only at the foreground that it is given", async () => {
  const polygon = [[0, 0], [64, 0], [64, 64], [0, 64], [0, 0]];
  await Deno.writeTextFile(
    join(folder, "left.json"),
    JSON.stringify({ type: "Polygon", coordinates: [polygon] }),
  );
  const [result] = await results(
    ...["--foreground", "left.json", "--memory", "64MB", IMAGES[0]!],
  );
  assert.ok(result!.tiles.length > 0);
  for (const { x, y, width, height } of result!.tiles) {
    assert.ok(x + width / 2 <= 64 && y + height / 2 <= 64, `${x}, ${y}`);
  }
  const white = Buffer.alloc(128 * 128 * 3, 255);
  await sharp(white, { raw: { width: 128, height: 128, channels: 3 } })
    .png().toFile(join(folder, "white.png"));
  const empty = await zoomin(
    folder,
    ...[...CLASSIFY, "--foreground", "tissue", "white.png"],
  );
  assertFailsInOneLine(empty, {
    code: 1,
    message: /Cannot find the foreground of white\.png: no part of it has/,
  });
});

Deno.test("classify reads an image of a server as it does the file", async () => {
  const tiff = await sharp(join(folder, IMAGES[0]!))
    .tiff({ compression: "deflate", tile: true, tileWidth: 64, tileHeight: 64 })
    .toBuffer();
  await Deno.writeFile(join(folder, "slide.tif"), tiff);
  await using server = await serveFile(tiff);
  const [local] = await results("slide.tif");
  const [remote] = await results(server.url);
  const seen = (result: Result) => {
    const { source: _, bytesRead: __, requests: ___, ...rest } = timeless(
      result,
    );
    return rest;
  };
  assert.deepEqual(seen(remote!), seen(local!));
  assert.equal(remote!.source, server.url);
  assert.equal(remote!.requests, server.ranges.length);
  assert.equal(remote!.bytesRead, server.bytes);

  // A presigned URL is longer than the name of a file may be.
  const signed = `${server.url}/scans/a.tif?sign=a/${"b".repeat(300)}`;
  await Deno.mkdir(join(folder, "urls"));
  const [named] = await results("--geojson", "urls", signed);
  assert.equal(named!.geojson, join("urls", "a.geojson"));
});

Deno.test("micrometres per px: asked for, missing, given", async () => {
  const manifest = await Deno.readTextFile(join(folder, "set/manifest.csv"));
  const train = (data: string, out: string) => [
    ...["train", "--data", data, "--out", out],
    ...[...SMALL, "--set", "mpp=0.5", "--epochs", "1"],
  ];
  assertFails(
    await zoomin(folder, ...train("set/manifest.csv", "none")),
    { code: 1, message: /at 0\.5 um per px, .* manifest's column "mpp"/ },
  );
  const lines = manifest.trimEnd().split("\n");
  const withMpp = lines.map((line, i) => `${line},${i === 0 ? "mpp" : "0.5"}`);
  await Deno.writeTextFile(join(folder, "set/mpp.csv"), withMpp.join("\n"));
  await succeed(folder, ...train("set/mpp.csv", "mpp"));

  const classify = ["classify", "--checkpoint", "mpp", "--backend", "wasm"];
  assertFailsInOneLine(await zoomin(folder, ...classify, IMAGES[0]!), {
    code: 1,
    message: /at 0\.5 um per px, .* give classify --mpp$/,
  });
  const { stdout } = await succeed(
    folder,
    ...[...classify, "--json", "--mpp", "0.25", IMAGES[0]!],
  );
  const result: Result = JSON.parse(stdout);
  assert.deepEqual(result.image, { width: 128, height: 128, mpp: 0.25 });
  for (const { width, height } of result.subTiles) {
    assert.deepEqual([width, height], [56, 56]); // 28 px of 0.5 um
  }
  assert.deepEqual(result.warnings, [
    "resampled to 0.5 um per px; the file has 0.25",
  ]);
  for (const mpp of ["500", "0.001"]) {
    assertFailsInOneLine(
      await zoomin(folder, ...classify, "--mpp", mpp, IMAGES[0]!),
      {
        code: 2,
        message: /^--mpp must be a number in \[0\.01, 100\], not "/,
      },
    );
  }
  assertFailsInOneLine(
    await zoomin(folder, ...classify, "--mpp", "50", IMAGES[0]!),
    {
      code: 1,
      message: /so it would be enlarged 100 times \(at most 16 are allowed\);/,
    },
  );
  const about = '<OME><Image><Pixels PhysicalSizeX="500"/></Image></OME>';
  const page = { picture: ramps(64, 48), tile: 16, tags: { 270: text(about) } };
  await Deno.writeFile(join(folder, "500.tif"), makeTiff(page));
  assertFailsInOneLine(await zoomin(folder, ...classify, "500.tif"), {
    code: 1,
    message: /its file says 500 um per px of its description, which is not/,
  });
});

Deno.test("classify writes where it looked as GeoJSON", async () => {
  const [result] = await results(
    ...["--geojson", "regions.geojson", "--origin", "bounds", IMAGES[0]!],
  );
  const text = await Deno.readTextFile(join(folder, "regions.geojson"));
  const { type, features } = JSON.parse(text);
  assert.equal(type, "FeatureCollection");
  const { tiles, subTiles } = result!;
  assert.equal(features.length, tiles.length + subTiles.length);
  const { x, y } = subTiles[0]!;
  const [corner] = features[tiles.length].geometry.coordinates[0];
  assert.deepEqual(corner, [x, y]);

  assertFailsInOneLine(
    await zoomin(
      folder,
      ...[...CLASSIFY, "--geojson", "w.geojson", "--origin", "world"],
      IMAGES[0]!,
    ),
    { code: 1, message: /not georeferenced/ },
  );
});
