import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import { Memory } from "../../../lib/memory.ts";
import { attentionSoftmax } from "../../../kernels/softmax/softmax.ts";
import { disposeParameters } from "../../../lib/model/parameters.ts";
import { tileLogits } from "../../../lib/model/look/attention.ts";
import type { Model } from "../../../lib/model/model.ts";
import { distil } from "../../../lib/train/dense/student.ts";
import {
  type StudentImage,
  tileShares,
} from "../../../lib/train/dense/student_gradients.ts";
import type { ImageViews } from "../../../lib/train/dense/student_views.ts";
import { testOnEngines, testOnWasm } from "../../engines.ts";
import { normals } from "../../finite_differences.ts";
import { toyModel } from "../../model/toy.ts";

const GRID = {
  tiles: { rows: 2, columns: 3 },
  cells: { rows: 2, columns: 2 },
};
const PX = 4; // of a view, to a cell

/** Noise with one bright cell, whose share is 1. */
function image(index: number, allowed: Uint8Array | null = null): StudentImage {
  const tile = index % 6, cell = Math.floor(index / 6) % 4;
  const whole = normals(4 * PX * 6 * PX * 3, 50 + index, 0.3);
  const tiles = normals(6 * (2 * PX) ** 2 * 3, 90 + index, 0.3);
  const shares = new Float64Array(24);
  shares[tile * 4 + cell] = 1;
  const left = 2 * (tile % 3) + cell % 2;
  const top = 2 * Math.floor(tile / 3) + Math.floor(cell / 2);
  for (let y = 0; y < PX; y++) {
    for (let x = 0; x < PX; x++) {
      whole[((top * PX + y) * 6 * PX + left * PX + x) * 3] = 3;
      const row = Math.floor(cell / 2) * PX + y, column = (cell % 2) * PX + x;
      tiles[((tile * 2 * PX + row) * 2 * PX + column) * 3] = 3;
    }
  }
  const views: ImageViews = {
    whole: { data: whole, width: 6 * PX, height: 4 * PX },
    tiles: { data: tiles, width: 2 * PX, height: 2 * PX },
  };
  return { grid: GRID, shares, allowed, views: () => Promise.resolve(views) };
}

function model(): Model {
  const made = toyModel();
  Object.assign(made.config.training, { attentionLearningRate: 0.02 });
  Object.assign(made.config.training.augmentation, {
    flips: true,
    turns: true,
  });
  return made;
}

/** Mean alpha of the tile that holds the target. */
async function found({ parameters }: Model, images: readonly StudentImage[]) {
  let sum = 0;
  for (const { views, shares, grid } of images) {
    const { data, width, height } = (await views()).whole;
    const alpha = tf.tidy(() =>
      attentionSoftmax(
        tileLogits(
          parameters,
          tf.tensor4d(data, [1, height, width, 3]),
          grid.tiles,
        ),
      )
    );
    const values = await alpha.data();
    alpha.dispose();
    tileShares(shares, grid).forEach((share, tile) => {
      sum += share * values[tile]! / images.length;
    });
  }
  return sum;
}

testOnEngines(
  "the student finds what the teacher found, in images it has not seen",
  async () => {
    const student = model();
    const images = Array.from({ length: 24 }, (_, i) => image(i));
    const fresh = Array.from({ length: 6 }, (_, i) => image(1000 + 7 * i));
    const before = await found(student, fresh);
    const losses: number[] = [];
    await distil(student, images, {
      seed: 1,
      memory: new Memory(),
      onStep: ({ loss }) => losses.push(loss),
    });
    const after = await found(student, fresh);
    assert.ok(after > 0.6 && after > 2 * before, `${before} -> ${after}`);
    assert.ok(losses.at(-1)! < 0.6 * losses[0]!);
    disposeParameters(student.parameters);
  },
);

testOnWasm(
  "the student is the same in parts that a small memory holds",
  async () => {
    const images = Array.from({ length: 4 }, (_, i) => image(i));
    const weights = async (memory: Memory) => {
      const student = model();
      const controller = new AbortController();
      await distil(student, images, {
        seed: 1,
        memory,
        onStep: ({ step }) => step === 2 && controller.abort(),
        beforeStep: async () => {
          await Promise.resolve();
          controller.signal.throwIfAborted();
        },
      }).catch((error) => {
        if (!controller.signal.aborted) throw error;
      });
      const values = await student.parameters.get("b/conv1/weight")!.data();
      disposeParameters(student.parameters);
      return values;
    };
    class Small extends Memory {
      override get jointPixels() {
        return 3 * 64;
      }
    }
    const all = await weights(new Memory()), parts = await weights(new Small());
    all.forEach((value, i) => assert.ok(Math.abs(value - parts[i]!) < 1e-4));
  },
);

testOnWasm("locations that are never drawn cost nothing", async () => {
  const student = model();
  // The target alone is allowed: there is nothing to tell apart.
  const images = [0, 1, 2].map((i) => {
    const { shares } = image(i);
    return image(i, Uint8Array.from(shares, (share) => share > 0 ? 1 : 0));
  });
  const losses: number[] = [];
  await distil(student, images, {
    seed: 1,
    memory: new Memory(),
    onStep: ({ loss }) => losses.push(loss),
  });
  assert.ok(losses.every((loss) => Math.abs(loss) < 1e-6));
  disposeParameters(student.parameters);
});

Deno.test("tileShares adds the cells of each tile", () => {
  const shares = Float64Array.from({ length: 24 }, (_, i) => i);
  assert.deepEqual([...tileShares(shares, GRID)], [6, 22, 38, 54, 70, 86]);
});
