/** The object that decided, of a model with close-ups. */
import { join } from "node:path";
import {
  closeUpSettings,
  encoderSettings,
  overviewSettings,
} from "../../lib/encoder/inspect.ts";
import { startEngine } from "../../lib/engine/select.ts";
import { ImageCache } from "../../lib/image/image_cache.ts";
import { Memory } from "../../lib/memory.ts";
import { trainDense } from "../../lib/train/dense/train_dense.ts";
import { folderOfFile } from "../commands/process.ts";
import { FIXTURE } from "../encoder/onnx_files.ts";
import { noEncoder } from "../encoder/runtime.ts";
import { withServer } from "../serve/served.ts";
import {
  CLASSES,
  SQUARE,
  squareOf,
  toyConfig,
  writePictures,
} from "../train/dense/toy_images.ts";
import { pageTest } from "./browser.ts";

const folder = folderOfFile(async (folder) => {
  if (!noEncoder) await trainCloseUps(folder);
});

/** Trains FOLDER/models/close on the images in FOLDER/set. */
async function trainCloseUps(folder: string): Promise<void> {
  const set = join(folder, "set");
  await Deno.mkdir(set);
  await Deno.mkdir(join(folder, "models"));
  const train = await writePictures(set, 0, 12);
  const objects = new Map(
    train.filter(({ classIndex }) => classIndex === 1).map((entry) => {
      const [x, y] = squareOf(parseInt(entry.image));
      return [entry.path, [{ x, y, width: SQUARE, height: SQUARE }]];
    }),
  );
  await startEngine("wasm");
  const config = toyConfig({ epochs: 2 }, { subTileSize: 16 });
  config.network = {
    ...config.network,
    features: "encoder",
    encoder: await encoderSettings(FIXTURE, "large"),
    overview: await overviewSettings(FIXTURE),
    closeUp: await closeUpSettings(FIXTURE),
  };
  const cache = new ImageCache(2 ** 24);
  await trainDense({
    classes: CLASSES,
    train,
    validation: [],
    boxes: { objects, name: "rois", limit: null, ignored: 0 },
  }, {
    folder: join(folder, "models/close"),
    config,
    seed: 3,
    cache,
    memory: new Memory(),
    resume: false,
    environment: {},
  });
  cache.close();
}

pageTest("the object that decided is named, and flown to", async (page) => {
  await withServer(folder, {}, async (url) => {
    await page.goto(`${url}/#path=1.png`);
    const object = page.getByRole("button", { name: /^Object that decided/ });
    const text = await object.innerText();
    const [, width, height, x, y] = /: (\d+) × (\d+) px at (-?\d+), (-?\d+)$/
      .exec(text)!.map(Number);
    await page.waitForURL(/zoom=/);
    await object.click();
    await page.waitForURL(({ hash }) => {
      const state = new URLSearchParams(hash.slice(1));
      return Math.abs(Number(state.get("x")) - x! - width! / 2) <= 1.5 &&
        Math.abs(Number(state.get("y")) - y! - height! / 2) <= 1.5;
    });
    await page.goto("about:blank"); // it asks no more
  });
}, { ignore: noEncoder });
