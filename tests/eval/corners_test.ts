/**
 * Positions: a slide with an object in a corner, or elsewhere, on which tiles,
 * sub-tiles and heat map must land to the pixel, for every level and ratio
 * between levels.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { downsampleReference } from "../../kernels/resample/area_means.ts";
import type { Heatmap } from "../../lib/eval/heatmap/heatmap.ts";
import { predict } from "../../lib/eval/predict.ts";
import {
  holdsPoint,
  type Region,
  type Size,
  viewSize,
} from "../../lib/image/geometry.ts";
import { openImage } from "../../lib/image/open.ts";
import type { Pyramid } from "../../lib/image/pyramid.ts";
import type { Rgb } from "../../lib/image/pyramids/rgb.ts";
import { encodeBlock } from "../../lib/image/tiff/write/encoder.ts";
import {
  blockGrid,
  type TiffWriter,
  writeTiff,
} from "../../lib/image/tiff/write/writer.ts";
import { Views } from "../../lib/image/views.ts";
import { Memory } from "../../lib/memory.ts";
import type { Model } from "../../lib/model/model.ts";
import { disposeParameters } from "../../lib/model/parameters.ts";
import { exists } from "../../lib/files.ts";
import { folderOfFile } from "../commands/process.ts";
import { testOnEngines } from "../engines.ts";
import { toyModel } from "../model/toy.ts";

const IMAGE = { width: 1501, height: 403 };
const OBJECT = 24; // px
const BLOCK = 128; // px

/** Level-0 corner of the object: in each corner, and somewhere odd. */
const PLACES = [
  { x: 0, y: 0 },
  { x: IMAGE.width - OBJECT, y: 0 },
  { x: 0, y: IMAGE.height - OBJECT },
  { x: IMAGE.width - OBJECT, y: IMAGE.height - OBJECT },
  { x: 731, y: 197 },
];

/** Sizes of the levels: halves that lose a pixel, and odd ratios. */
const LEVELS: Record<string, Size[]> = {
  "rounded halves": [1, 2, 4, 8].map((by) => ({
    width: Math.floor(IMAGE.width / by),
    height: Math.floor(IMAGE.height / by),
  })),
  "odd ratios": [1, 2.7, 6.1].map((by) => ({
    width: Math.round(IMAGE.width / by),
    height: Math.round(IMAGE.height / by),
  })),
};

/** Dark blue, and an object that is red. */
function picture(object: Region): Int32Array {
  const pixels = new Int32Array(IMAGE.width * IMAGE.height);
  for (let y = 0, i = 0; y < IMAGE.height; y++) {
    for (let x = 0; x < IMAGE.width; x++, i++) {
      pixels[i] = holdsPoint(object, { x, y }) ? 0xff0000ff : 0xff400000;
    }
  }
  return pixels;
}

/** A level of the picture: means of the pixels that each of its px covers. */
function levelOf(pixels: Int32Array, { width, height }: Size): Rgb {
  const whole = Math.round(IMAGE.width / width);
  const isWhole = Math.floor(IMAGE.width / whole) === width &&
    Math.floor(IMAGE.height / whole) === height;
  const values = downsampleReference(pixels, IMAGE, {
    origins: Int32Array.of(0, 0),
    size: isWhole ? { width: whole * width, height: whole * height } : IMAGE,
    output: { width, height },
  });
  const data = Uint8Array.from(values, (value) => Math.round(value * 255));
  return { data, width, height };
}

async function writeLevel(
  writer: TiffWriter,
  level: number,
  { data, width, height }: Rgb,
): Promise<void> {
  const { rows, columns } = blockGrid({ width, height }, BLOCK);
  for (let place = 0; place < rows * columns; place++) {
    const left = place % columns * BLOCK;
    const top = Math.floor(place / columns) * BLOCK;
    const block = new Uint8Array(BLOCK * BLOCK * 3);
    for (let y = 0; y < Math.min(BLOCK, height - top); y++) {
      const from = ((top + y) * width + left) * 3;
      const length = Math.min(BLOCK, width - left) * 3;
      block.set(data.subarray(from, from + length), y * BLOCK * 3);
    }
    const encoded = await encodeBlock(
      { data: block, width: BLOCK, height: BLOCK },
      { kind: "deflate" },
    );
    writer.place(level, place, await writer.write(encoded));
  }
}

/** A model whose attention is the red that it sees. */
function redModel(): Model {
  const model = toyModel({
    view: { scale1: 1 / 8, scale2: 1 / 4, tileSize: 128, subTileSize: 12 },
  });
  for (const net of ["a", "b"]) {
    for (const [layer, factor] of [[1, 1], [2, 1], [3, 60]] as const) {
      const weight = model.parameters.get(`${net}/conv${layer}/weight`)!;
      const values = new Float32Array(weight.size);
      values[4 * weight.size / 9] = factor; // centre, first channel to first
      tf.tidy(() => weight.assign(tf.tensor(values, weight.shape)));
    }
  }
  return model;
}

/** Centre of the red pixels of a view, level-0 px. */
async function centreOfRed(pyramid: Pyramid, scale: number) {
  const views = await Views.open(pyramid, { memory: new Memory() });
  const view = await views.whole(scale);
  const { width, height } = viewSize(IMAGE, scale);
  const values = await view.data();
  view.dispose();
  views.dispose();
  let sum = 0, x = 0, y = 0;
  for (let i = 0; i < width * height; i++) {
    sum += values[3 * i]!;
    x += values[3 * i]! * (i % width + 0.5);
    y += values[3 * i]! * (Math.floor(i / width) + 0.5);
  }
  return {
    x: x / sum * IMAGE.width / width,
    y: y / sum * IMAGE.height / height,
  };
}

/** The hottest pixel of a heat map, level-0 px. */
function hottest({ values, width, image, downsample }: Heatmap): Region {
  const at = values.indexOf(values.reduce((a, b) => Math.max(a, b)));
  return {
    x: at % width * image.width / width,
    y: Math.floor(at / width) * image.width / width,
    width: downsample,
    height: downsample,
  };
}

const folder = folderOfFile(() => Promise.resolve());

/** The slide of a place, written once for all engines. */
async function slideOf(
  name: string,
  levels: Size[],
  object: Region,
): Promise<string> {
  const path = join(folder, `${name} ${object.x} ${object.y}.tif`);
  if (await exists(path)) return path;
  const pixels = picture(object);
  const layout = {
    levels,
    blockSize: BLOCK,
    compression: { kind: "deflate" } as const,
  };
  await writeTiff(path, layout, async (writer) => {
    for (const [level, size] of levels.entries()) {
      await writeLevel(writer, level, levelOf(pixels, size));
    }
  });
  return path;
}

for (const [name, levels] of Object.entries(LEVELS)) {
  testOnEngines(`${name}: all land on the object`, async () => {
    const model = redModel();
    for (const place of PLACES) {
      const object = { ...place, width: OBJECT, height: OBJECT };
      const pyramid = await openImage(await slideOf(name, levels, object));
      assert.equal(pyramid.levels.length, levels.length);
      await checkViews(pyramid, object);
      await checkLooks(model, pyramid, object);
      pyramid.close();
    }
    disposeParameters(model.parameters);
  });
}

/** Each level shows the object where it is: to a tenth of its pixel. */
async function checkViews(pyramid: Pyramid, object: Region): Promise<void> {
  for (const { width } of pyramid.levels) {
    const scale = width / IMAGE.width * 0.93; // read from this level, and shrunk
    const { x, y } = await centreOfRed(pyramid, scale);
    const dx = x - object.x - OBJECT / 2, dy = y - object.y - OBJECT / 2;
    const most = 0.1 / scale;
    assert.ok(
      Math.abs(dx) < most && Math.abs(dy) < most,
      `level of ${width} px, object at ${object.x}, ${object.y}: off by ${dx}, ${dy}`,
    );
  }
}

/** All that was drawn is centred on the object, and the heat lies on it. */
async function checkLooks(
  model: Model,
  pyramid: Pyramid,
  object: Region,
): Promise<void> {
  for (const memory of [new Memory(2 ** 20), new Memory()]) { // blocks, whole
    const { predictions } = await predict(model, [pyramid], {
      seed: 0,
      samples: 6,
      attention: true,
      memory,
    });
    const { tiles, subTiles, attention } = predictions[0]!;
    assert.ok(tiles.length > 0);
    for (const { x, y, width, height } of [...tiles, ...subTiles]) {
      const centre = {
        x: x + Math.floor(width / 2),
        y: y + Math.floor(height / 2),
      };
      assert.ok(
        holdsPoint(object, centre),
        `${width} px centred on ${centre.x}, ${centre.y}, object at ${object.x}, ${object.y}`,
      );
      const { data } = await pyramid.read(
        { ...centre, width: 1, height: 1 },
        0,
      );
      assert.deepEqual([...data], [255, 0, 0, 255]);
    }
    const heat = hottest(attention!);
    assert.ok(
      heat.x + heat.width > object.x && heat.x < object.x + OBJECT &&
        heat.y + heat.height > object.y && heat.y < object.y + OBJECT,
      `hottest at ${heat.x}, ${heat.y}, object at ${object.x}, ${object.y}`,
    );
  }
}
