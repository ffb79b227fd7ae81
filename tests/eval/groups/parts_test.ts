/** The evidence of a group by a network, beside the sum over its sub-tiles. */
import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import { randomKey } from "../../../kernels/random.ts";
import { groupParts } from "../../../lib/eval/groups/parts.ts";
import { pooledLogits } from "../../../lib/eval/groups/pooling.ts";
import { predict } from "../../../lib/eval/predict.ts";
import { Memory } from "../../../lib/memory.ts";
import { lookWhole } from "../../../lib/model/look/whole.ts";
import { disposeParameters } from "../../../lib/model/parameters.ts";
import { readFeatures, score } from "../../../lib/model/zoom_in.ts";
import { evidenceOffsets, rowsOf } from "../../../lib/sampling/evidence.ts";
import { testOnEngines } from "../../engines.ts";
import { noiseImage, toyModel } from "../../model/toy.ts";

const SIZES = [
  { width: 235, height: 187 },
  { width: 133, height: 171 },
  { width: 90, height: 301 },
];
const SHARPNESS = 2;

testOnEngines(
  "a group's evidence is that of its drawn sub-tiles as of one image",
  async () => {
    for (const objects of [null, 9]) {
      const model = toyModel({
        view: { tileStride: 32, tileSize: 32, subTileStride: 7 },
        network: {
          head: "evidence",
          evidence: { sharpness: SHARPNESS, objects },
        },
        peak: 3,
      });
      const images = SIZES.map((size, i) => ({
        pyramid: noiseImage(size, i + 1),
        key: randomKey(5, i),
      }));
      const look = await lookWhole(model, images, {
        samples: 12,
        draws: "seeded",
        memory: new Memory(),
      });
      const read = await readFeatures(model, look);
      const [logits, ofSubTiles] = tf.tidy(() => {
        const { logits, evidence } = score(model, look, { read });
        return [logits, evidence!.logits] as const;
      });
      const parts = await groupParts(model, look, logits);
      const pooled = pooledLogits(
        parts,
        model.classes.indexOf(model.config.referenceClass ?? ""),
      );

      // By hand: the sub-tiles of one image with the locations of all of them.
      const { proposed, draws } = look;
      const sizes = Array.from(proposed!.locations);
      const all = sizes.reduce((sum, size) => sum + size, 0);
      const rows = rowsOf(draws);
      const offsets = evidenceOffsets({
        draws,
        ...proposed!,
        locations: sizes.map(() => objects ?? all),
      });
      const z = await ofSubTiles.array();
      assert.ok(z.length > 3 * 4 && new Set(rows).size === 3);
      const evidence = z[0]!.map((_, k) =>
        Math.log(
          z.reduce(
            (sum, row, s) => sum + Math.exp(SHARPNESS * row[k]! + offsets[s]!),
            0,
          ),
        ) / SHARPNESS
      );
      const own = pooled.filter((_, c) =>
        model.classes[c] !== model.config.referenceClass
      );
      assert.equal(own.length, evidence.length);
      evidence.forEach((value, k) =>
        assert.ok(Math.abs(value - own[k]!) < 1e-5, `${value} ${own[k]}`)
      );
      look.dispose();
      tf.dispose([read, logits, ofSubTiles]);

      const { predictions } = await predict(
        model,
        images.map(({ pyramid }) => pyramid),
        { seed: 1, memory: new Memory(), groupPart: true },
      );
      assert.deepEqual(
        predictions.map(({ groupPart }) => groupPart!.evidence!.locations),
        objects === null ? sizes : [null, null, null],
      );
      disposeParameters(model.parameters);
    }
  },
);
