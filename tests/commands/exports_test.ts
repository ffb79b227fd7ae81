/**
 * What `classify` and `train` write for other programs, read back by our own
 * readers and, in the gate, by theirs: GDAL, NumPy, TensorBoard, MLflow.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { openImage } from "../../lib/image/open.ts";
import { writeTiff } from "../../lib/image/tiff/write/writer.ts";
import { encodeBlock } from "../../lib/image/tiff/write/encoder.ts";
import { readLog } from "../../lib/train/run_log.ts";
import { output, programsOf, PYTHON_REQUIRED } from "../python.ts";
import { sharedData } from "../shared_data.ts";
import { eventually, within } from "../waiting.ts";
import {
  assertFailsInOneLine,
  drawAndTrain,
  folderOfFile,
  outcome,
  SMALL,
  startWith,
  succeed,
  zoomin,
} from "./process.ts";

const IMAGE = "set/images/test_00000.png";
const CLASSIFY = ["classify", "--checkpoint", "run", "--backend", "wasm"];
const HELD = fileURLToPath(new URL("held_run.ts", import.meta.url));
// Upper left corner of the map, metres, and metres a px.
const EAST = 500_000, NORTH = 4_100_000, PIXEL = 0.5;

const folder = folderOfFile(async (folder) => {
  await drawAndTrain(folder);
  await writeMap(join(folder, "map.tif"), join(folder, IMAGE));
});

/** A picture as a GeoTIFF, whose coordinates are those of pixels' centres. */
async function writeMap(path: string, picture: string): Promise<void> {
  const { data, info } = await sharp(picture).removeAlpha().raw()
    .toBuffer({ resolveWithObject: true });
  const { width, height } = info;
  const compression = { kind: "deflate" } as const;
  const geoTags = [
    { tag: 33550, values: [PIXEL, PIXEL, 0] },
    // The centre of the first pixel.
    { tag: 33922, values: [0, 0, 0, EAST + PIXEL / 2, NORTH - PIXEL / 2, 0] },
    // Projected, of points, in EPSG:32633.
    {
      tag: 34735,
      values: [1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 2, 3072, 0, 1, 32633],
    },
  ];
  const layout = {
    levels: [{ width, height }],
    blockSize: width,
    compression,
    geoTags,
  };
  await writeTiff(path, layout, async (writer) => {
    const pixels = { data: new Uint8Array(data), width, height };
    const block = await writer.write(await encodeBlock(pixels, compression));
    writer.place(0, 0, block);
  });
}

/** What a program in Python reads. */
async function readByOthers(kind: string, path: string) {
  const programs = await programsOf("rasterio", "tensorboard");
  const script = fileURLToPath(new URL("./exports.py", import.meta.url));
  const args = [script, kind, resolve(folder, path)];
  return JSON.parse(await output(join(programs, "python"), args));
}

const ofOthers = { ignore: !PYTHON_REQUIRED }; // needs ZOOMIN_REQUIRE_CLIENTS=1

Deno.test("classify --heatmap OUT.tif lies on the image's place", async () => {
  await succeed(folder, ...CLASSIFY, "--heatmap", "heat.tif", "map.tif");
  const image = await openImage(join(folder, "map.tif"));
  const heat = await openImage(join(folder, "heat.tif"));
  try {
    const { crs, transform } = image.georeference!;
    assert.deepEqual(transform, [PIXEL, 0, EAST, 0, -PIXEL, NORTH]);
    assert.equal(heat.georeference!.crs, crs);
    const across = image.width / heat.width;
    const wanted = transform.map((value, i) =>
      i === 2 || i === 5 ? value : value * across
    );
    heat.georeference!.transform.forEach((value, i) =>
      assert.ok(Math.abs(value - wanted[i]!) < 1e-6, `${value}`)
    );
  } finally {
    image.close();
    heat.close();
  }
});

Deno.test(
  "GDAL reads the GeoTIFF where it lies, with its mass",
  ofOthers,
  async () => {
    await succeed(folder, ...CLASSIFY, "--heatmap", "gdal.tif", "map.tif");
    const told = await readByOthers("geotiff", "gdal.tif");
    assert.equal(told.crs, "EPSG:32633");
    assert.equal(told.dtype, "float32");
    const [width, height] = told.size;
    const { width: across, height: down } = await sharp(join(folder, IMAGE))
      .metadata();
    const [a, b, c, d, e, f] = told.transform;
    assert.deepEqual([b, c, d, f], [0, EAST, 0, NORTH]);
    // Corner on corner: the last pixel ends where the image does.
    assert.ok(Math.abs(a * width - across * PIXEL) < 1e-6);
    assert.ok(Math.abs(-e * height - down * PIXEL) < 1e-6);
    // Attention is 1 over the image, less that to padding.
    const area = across / width * down / height;
    const mass = told.sum * area;
    assert.ok(mass > 0.5 && mass < 1.0001, `${mass}`);
  },
);

Deno.test(
  "GDAL sees the levels of a large heat map, and of a slide its size",
  ofOthers,
  async () => {
    await succeed(
      folder,
      ...["dataset", "slide", "--gigapixels", "0.01", "--out", "slide.tif"],
    );
    await succeed(folder, ...CLASSIFY, "--heatmap", "slide.tiff", "slide.tif");
    const told = await readByOthers("geotiff", "slide.tiff");
    assert.equal(Math.max(...told.size), 1024);
    assert.deepEqual(told.overviews, [2, 4]);
  },
);

for (const name of ["TCI.tif", "cog_uint16.tif", "cog_world.tif"]) {
  const map = sharedData("cog", name);
  Deno.test({
    name: `GDAL: the heat map of ${name} covers what the map covers`,
    ignore: !PYTHON_REQUIRED || map === undefined,
    fn: async () => {
      await succeed(folder, ...CLASSIFY, "--heatmap", name, map!);
      const [heat, source] = [
        await readByOthers("geotiff", name),
        await readByOthers("geotiff", map!),
      ];
      assert.equal(heat.crs, source.crs);
      heat.bounds.forEach((side: number, i: number) =>
        assert.ok(Math.abs(side - source.bounds[i]) < 1e-6, `${heat.bounds}`)
      );
    },
  });
}

Deno.test("classify --heatmap OUT.npy is an array of the same numbers", async () => {
  await succeed(folder, ...CLASSIFY, "--heatmap", "heat.npy", IMAGE);
  const bytes = await Deno.readFile(join(folder, "heat.npy"));
  const header = new TextDecoder("latin1").decode(bytes.subarray(0, 128));
  assert.deepEqual([...bytes.subarray(0, 8)], [
    0x93,
    ...Buffer.from("NUMPY"),
    1,
    0,
  ]);
  assert.match(header, /'descr': '<f4', .*'shape': \(128, 128\)/);
  const values = new Float32Array(bytes.buffer.slice(bytes.length - 65_536));
  const sum = values.reduce((a, b) => a + b, 0);
  assert.ok(sum > 0.5 && sum < 1.0001, `${sum}`);
});

Deno.test("NumPy loads the array", ofOthers, async () => {
  await succeed(folder, ...CLASSIFY, "--heatmap", "numpy.npy", IMAGE);
  const told = await readByOthers("npy", "numpy.npy");
  assert.deepEqual([told.shape, told.dtype], [[128, 128], "float32"]);
  assert.ok(told.sum > 0.5 && told.sum < 1.0001);
});

Deno.test("classify --tiles: the pixels of each sub-tile, the heaviest first", async () => {
  const { stdout } = await succeed(
    folder,
    ...[...CLASSIFY, "--tiles", "tiles", "--json", IMAGE],
  );
  const { subTiles, tileFolder }: {
    subTiles: { weight: number }[];
    tileFolder: string;
  } = JSON.parse(stdout);
  assert.equal(tileFolder, join("tiles", "test_00000"));
  const table = await Deno.readTextFile(join(folder, tileFolder, "tiles.csv"));
  const [header, ...lines] = table.trimEnd().split("\n");
  assert.equal(header, "file,x,y,width,height,weight");
  const rows = lines.map((line) => line.split(","));
  const weights = rows.map((row) => Number(row[5]));
  assert.deepEqual(weights, weights.toSorted((a, b) => b - a));
  assert.deepEqual(
    weights.toSorted(),
    subTiles.map(({ weight }) => weight).toSorted(),
  );
  for (const [file, ...numbers] of rows) {
    const [x, y, width, height] = numbers.map(Number) as [
      number,
      number,
      number,
      number,
    ];
    const path: string = join(folder, tileFolder, file!);
    const tile = await sharp(path).removeAlpha()
      .raw().toBuffer({ resolveWithObject: true });
    assert.deepEqual([tile.info.width, tile.info.height], [width, height]);
    const isInside = x >= 0 && y >= 0 && x + width <= 128 && y + height <= 128;
    if (!isInside) continue;
    const cut = await sharp(join(folder, IMAGE)).removeAlpha()
      .extract({ left: x, top: y, width, height }).raw().toBuffer();
    assert.deepEqual(tile.data, cut);
  }
});

Deno.test("classify names an output that it cannot write", async () => {
  await Deno.writeTextFile(join(folder, "file"), "");
  const cases: [argv: string[], message: RegExp][] = [
    [["--heatmap", "heat.jpg"], /heat\.jpg: its name must end in \.png, /],
    [["--tiles", "file"], /^Cannot write --tiles file: it is a file; /],
  ];
  for (const [argv, message] of cases) {
    assertFailsInOneLine(await zoomin(folder, ...CLASSIFY, ...argv, IMAGE), {
      code: 2,
      message,
    });
  }
});

Deno.test("train --tensorboard: an event file a run, and a fold", async () => {
  const data = ["--data", "set/manifest.csv", ...SMALL, "--epochs", "1"];
  await succeed(
    folder,
    ...["train", ...data, "--out", "a", "--tensorboard", "board/a"],
  );
  await succeed(
    folder,
    ...["train", ...data, "--out", "b", "--tensorboard", "board/b"],
    ...["--folds", "2", "--fold", "1", "--protocol", "held-out"],
  );
  for (const run of ["a", "b/held-out/fold-01"]) {
    const files = await Array.fromAsync(
      Deno.readDir(join(folder, "board", run)),
    );
    assert.equal(files.length, 1);
    assert.match(files[0]!.name, /^events\.out\.tfevents\.\d+\./);
  }
});

Deno.test("TensorBoard reads each figure of the log", ofOthers, async () => {
  await succeed(
    folder,
    ...["train", "--data", "set/manifest.csv", "--out", "c", ...SMALL],
    ...["--epochs", "2", "--tensorboard", "events"],
  );
  const told = await readByOthers("events", "events");
  const log = (await readLog(join(folder, "c", "log.jsonl")))
    .filter(({ type }) => type === "epoch");
  assert.equal(log.length, 2);
  for (const name of ["loss", "accuracy", "validationLoss"]) {
    assert.deepEqual(
      told[name].map(([step]: [number]) => step),
      [1, 2],
    );
    log.forEach((line, i) =>
      assert.ok(Math.abs(told[name][i][1] - (line[name] as number)) < 1e-5)
    );
  }
});

Deno.test("train --mlflow: a server that is not there is told in one line", async () => {
  const data = ["--data", "set/manifest.csv", ...SMALL, "--epochs", "1"];
  const train = ["train", ...data, "--out", "unrecorded", "--mlflow"];
  assertFailsInOneLine(await zoomin(folder, ...train, "http://127.0.0.1:1"), {
    code: 1,
    message: /^Cannot use http:\/\/127.0.0.1:1 as an MLflow server: /,
  });
  assertFailsInOneLine(await zoomin(folder, ...train, "mlruns"), {
    code: 2,
    message: /--mlflow must be an http or https URL, not "mlruns"/,
  });
  assertFailsInOneLine(
    await zoomin(folder, ...train, "http://127.0.0.1:1", "--folds", "2"),
    { code: 2, message: /--mlflow records one run, no folds/ },
  );
});

Deno.test("MLflow keeps settings and figures of a run", ofOthers, async () => {
  await using server = await mlflowServer();
  for (const name of ["first", "second"]) { // the experiment is there by then
    await succeed(
      folder,
      ...["train", "--data", "set/manifest.csv", "--out", name, ...SMALL],
      ...["--epochs", "2", "--mlflow", server.uri],
    );
  }
  const { experiment } = await server.ask(
    "experiments/get-by-name?experiment_name=zoomin",
  );
  const { runs } = await server.ask("runs/search", {
    experiment_ids: [experiment.experiment_id],
  });
  assert.deepEqual(
    runs.map(({ info }: MlflowRun) => [info.run_name, info.status]).sort(),
    [["first", "FINISHED"], ["second", "FINISHED"]],
  );
  const { info, data }: MlflowRun = runs[0];
  const params = new Map(data.params.map(({ key, value }) => [key, value]));
  assert.equal(params.get("training.epochs"), "2");
  assert.equal(params.get("preset"), '"needle"');
  const { metrics } = await server.ask(
    `metrics/get-history?run_id=${info.run_id}&metric_key=loss`,
  );
  const log = (await readLog(join(folder, info.run_name, "log.jsonl")))
    .filter(({ type }) => type === "epoch");
  assert.deepEqual(
    metrics.map(({ step, value }: { step: number; value: number }) => [
      step,
      value,
    ]),
    log.map(({ epoch, loss }) => [epoch, loss]),
  );
});

Deno.test(
  "MLflow knows a run that was stopped, and continues it",
  ofOthers,
  async () => {
    await using server = await mlflowServer();
    const train = ["train", "--data", "set/manifest.csv", "--out", "stopped"];
    const recorded = ["--mlflow", server.uri];
    const process = startWith([`--preload=${HELD}`], folder, [
      ...[...train, ...SMALL, "--epochs", "4", ...recorded],
    ]);
    const ended = outcome(process);
    const log = join(folder, "stopped", "log.jsonl");
    const epochs = async () =>
      (await readLog(log)).filter(({ type }) => type === "epoch");
    await eventually(
      "three epochs are in the log",
      async () => (await epochs().catch(() => [])).length === 3,
      120_000,
    );
    process.kill("SIGINT");
    assert.equal((await within("it has stopped", ended)).code, 130);
    const { experiment } = await server.ask(
      "experiments/get-by-name?experiment_name=zoomin",
    );
    const runs = async (): Promise<MlflowRun[]> => {
      const { runs } = await server.ask("runs/search", {
        experiment_ids: [experiment.experiment_id],
      });
      return runs.filter(({ info }: MlflowRun) => info.run_name === "stopped");
    };
    const [killed] = await runs();
    assert.equal(killed!.info.status, "KILLED");
    await succeed(folder, ...[...train, "--resume", ...recorded]);
    const [finished, ...others] = await runs();
    assert.deepEqual(others, []);
    assert.equal(finished!.info.run_id, killed!.info.run_id);
    assert.equal(finished!.info.status, "FINISHED");
    const { metrics } = await server.ask(
      `metrics/get-history?run_id=${finished!.info.run_id}&metric_key=loss`,
    );
    assert.deepEqual(
      metrics.map(({ step, value }: { step: number; value: number }) => [
        step,
        value,
      ]),
      (await epochs()).map(({ epoch, loss }) => [epoch, loss]),
    );
  },
);

/** A run as MLflow tells it. */
interface MlflowRun {
  info: { run_id: string; run_name: string; status: string };
  data: { params: { key: string; value: string }[] };
}

/** An MLflow server of its own. */
async function mlflowServer() {
  const programs = await programsOf("mlflow==3.17.2");
  const port = freePort();
  const process = new Deno.Command(join(programs, "mlflow"), {
    args: [
      ...["server", "--host", "127.0.0.1", "--port", `${port}`],
      ...["--workers", "1", "--backend-store-uri", "sqlite:///mlflow.db"],
    ],
    cwd: folder,
    stdout: "null",
    stderr: "null",
  }).spawn();
  const uri = `http://127.0.0.1:${port}`;
  await eventually("MLflow answers", async () => {
    const response = await fetch(`${uri}/health`).catch(() => undefined);
    await response?.body?.cancel();
    return response?.ok ?? false;
  }, 300_000);
  return {
    uri,
    async ask(route: string, body?: object) {
      const response = await fetch(`${uri}/api/2.0/mlflow/${route}`, {
        ...(body && { method: "POST", body: JSON.stringify(body) }),
        headers: { "content-type": "application/json" },
      });
      return await response.json();
    },
    async [Symbol.asyncDispose]() {
      process.kill("SIGTERM");
      await process.status;
    },
  };
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return (listener.addr as Deno.NetAddr).port;
}
