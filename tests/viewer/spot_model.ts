/** A model that looks for what is bright, and an image with one bright spot. */
import * as tf from "@tensorflow/tfjs-core";
import sharp from "sharp";
import { startEngine } from "../../lib/engine/select.ts";
import { writeCheckpoint } from "../../lib/model/checkpoint.ts";
import type { Config } from "../../lib/model/config.ts";
import { disposeParameters } from "../../lib/model/parameters.ts";
import { toyModel } from "../model/toy.ts";

/** The spot, level-0 px. */
export const SPOT = { x: 296, y: 168, width: 32, height: 32 };
/** Side of a sub-tile, px. */
export const SUB_TILE = 28;

const SIDE = 512;
const DARK = 40, BRIGHT = 250;
// Logit of white above black: all but the spot together have less attention.
const PEAK = 30;

/** Writes the model to `path`, with another head if `network` says so. */
export async function writeSpotModel(
  path: string,
  network: Partial<Config["network"]> = {},
): Promise<void> {
  await startEngine("wasm");
  const model = toyModel({
    network,
    view: {
      scale1: 0.125,
      scale2: 0.25,
      tileSize: 64,
      tileStride: 8,
      subTileSize: SUB_TILE,
      samples: 12,
    },
  });
  model.config.evaluation.samples = 12;
  model.config.training.contrastiveFrom = null;
  for (const net of ["a", "b"]) {
    for (const layer of [1, 2, 3]) {
      const weight = model.parameters.get(`${net}/conv${layer}/weight`)!;
      const [rows, columns, inputs, outputs] = weight.shape as number[];
      const values = new Float32Array(weight.size);
      // The middle of the kernel, from the first channel to the first.
      const middle = Math.floor(rows! / 2) * columns! +
        Math.floor(columns! / 2);
      values[middle * inputs! * outputs!] = layer === 3 ? PEAK : 1;
      weight.assign(tf.tensor(values, weight.shape));
    }
  }
  await writeCheckpoint(path, {
    model,
    epoch: 1,
    seed: 1,
    metrics: {},
    trainer: null,
    trainerTensors: new Map(),
  });
  disposeParameters(model.parameters);
}

/** The image as a PNG file. */
export async function spotPng(): Promise<Uint8Array<ArrayBuffer>> {
  const grey = (value: number) => ({ r: value, g: value, b: value });
  const spot = {
    width: SPOT.width,
    height: SPOT.height,
    channels: 3 as const,
    background: grey(BRIGHT),
  };
  const png = await sharp({
    create: { ...spot, width: SIDE, height: SIDE, background: grey(DARK) },
  }).composite([{
    input: await sharp({ create: spot }).png().toBuffer(),
    left: SPOT.x,
    top: SPOT.y,
  }]).removeAlpha().png().toBuffer();
  return new Uint8Array(png);
}
