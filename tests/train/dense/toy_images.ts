/** Small images with red squares, and features of them, for dense training. */
import { join } from "node:path";
import type { ManifestEntry } from "../../../lib/data/manifest.ts";
import { encodePng } from "../../../lib/image/formats/png.ts";
import { centredRegion } from "../../../lib/image/geometry.ts";
import type { Pyramid } from "../../../lib/image/pyramid.ts";
import type { Config } from "../../../lib/model/config.ts";
import { preset } from "../../../lib/model/presets.ts";
import type { LocationFeatures } from "../../../lib/train/dense/locations.ts";
import { drawnImage } from "../../model/toy.ts";

/** Labels; the first is background. */
export const CLASSES = ["negative", "positive"];

/** Side of an image, px. */
const SIDE = 64;
/** Side of the square in a positive one, px. */
export const SQUARE = 12;

/** Left and top edge of the square of image `index`. */
export function squareOf(index: number): [number, number] {
  return [(index * 23) % (SIDE - SQUARE), (index * 37) % (SIDE - SQUARE)];
}

function picture(index: number): Pyramid {
  const [left, top] = squareOf(index);
  return drawnImage({ width: SIDE, height: SIDE }, (x, y) => {
    const inside = x >= left && x < left + SQUARE && y >= top &&
      y < top + SQUARE;
    const grain = (x * 31 + y * 17 + index * 7 + (x * y) % 13) % 40;
    return index % 2 === 1 && inside
      ? [200 + grain, 40, 50]
      : [90 + grain, 110 + grain, 120];
  });
}

/** Images `from` to `to` in a folder; every second one is positive. */
export async function writePictures(
  folder: string,
  from: number,
  to: number,
): Promise<ManifestEntry[]> {
  const all = { x: 0, y: 0, width: SIDE, height: SIDE };
  return await Promise.all(
    Array.from({ length: to - from }, async (_, i) => {
      const index = from + i;
      const image = `${index}.png`, path = join(folder, image);
      await Deno.writeFile(
        path,
        await encodePng(await picture(index).read(all, 0)),
      );
      return {
        image,
        path,
        label: CLASSES[index % 2]!,
        classIndex: index % 2,
        stains: null,
        manifest: "manifest.csv",
        line: index + 2,
      };
    }),
  );
}

/** 4 x 4 tiles of 2 x 2 cells of 8 px. */
export function toyConfig(
  training: Partial<Config["training"]> = {},
  view: Partial<Config["view"]> = {},
): Config {
  const config = preset("needle");
  config.referenceClass = CLASSES[0]!;
  Object.assign(config.view, {
    scale1: 0.125,
    scale2: 0.5,
    tileSize: 16,
    tileStride: 16,
    subTileSize: 7,
    subTileStride: 8,
    samples: 10,
  }, view);
  config.network = {
    ...config.network,
    features: "scattering",
    head: "evidence",
  };
  Object.assign(config.training, {
    epochs: 12,
    batchSize: 4,
    learningRate: 2e-2,
    attentionLearningRate: 2e-2,
    weightDecay: 1e-2,
    dense: {
      maxLocations: 100,
      copies: 1,
      locations: 40,
      strongest: 0,
      objectWeight: 1,
      dropout: true,
    },
  }, training);
  return config;
}

/**
 * Means of colours and of their products about each place, and what was read. They
 * stand for those of scattering; the others of these are 0.
 */
export class ToyFeatures implements LocationFeatures {
  readonly channels = 178;
  /** The image and the copy of each call. */
  readonly calls: { source: string; places: number; copy: string }[] = [];

  async read(
    pyramid: Pyramid,
    places: Parameters<LocationFeatures["read"]>[1],
    { recolour }: Parameters<LocationFeatures["read"]>[2],
  ): Promise<Float32Array> {
    this.calls.push({
      source: pyramid.source,
      places: places.length,
      copy: recolour?.key ?? "",
    });
    const rows: number[][] = [];
    for (const { x, y } of places) {
      const region = centredRegion(
        { x: Math.floor(x), y: Math.floor(y) },
        { width: 5, height: 5 },
      );
      const { data } = await pyramid.read(region, 0);
      const sums = new Float32Array(3);
      for (let at = 0; at < data.length; at += 4) {
        for (let c = 0; c < 3; c++) sums[c]! += data[at + c]! / 255 / 25;
      }
      recolour?.apply(sums);
      const [r, g, b] = sums as unknown as [number, number, number];
      rows.push([r, g, b, r * g, r * b, g * b]);
    }
    const features = new Float32Array(places.length * this.channels);
    rows.forEach((row, i) => features.set(row, i * this.channels));
    return features;
  }
}

/** Runs `test` in a folder that is gone afterwards. */
export async function inFolder(
  test: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
