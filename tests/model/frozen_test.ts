import assert from "node:assert/strict";
import { encoderSettings } from "../../lib/encoder/inspect.ts";
import { startEngine } from "../../lib/engine/select.ts";
import { disposeModel, openFrozen } from "../../lib/model/frozen.ts";
import { preset } from "../../lib/model/presets.ts";
import { FIXTURE } from "../encoder/onnx_files.ts";
import { testEncoder } from "../encoder/runtime.ts";

const PICTURE = {
  data: new Float32Array(32 * 32 * 3).fill(0.5),
  count: 1,
  height: 32,
  width: 32,
};
const PLACES = [[{ x: 16, y: 16 }]];

testEncoder(
  "an encoder is closed with the last model that uses it",
  async () => {
    await startEngine("wasm");
    const encoder = await encoderSettings(FIXTURE);
    const network = { ...preset("needle").network, encoder };
    const open = async () => ({
      parameters: new Map(),
      encoder:
        (await openFrozen({ ...network, features: "encoder" }, new Map()))!,
    });
    const [first, second] = await Promise.all([open(), open()]);
    const expected = await first.encoder.features(PICTURE, PLACES);
    await disposeModel(first);
    await disposeModel(first); // gives back no hold but its own
    assert.deepEqual(await second.encoder.features(PICTURE, PLACES), expected);
    await disposeModel(second);
    for (const { encoder } of [first, second]) {
      await assert.rejects(
        encoder.features(PICTURE, PLACES),
        /was disposed of/,
      );
    }
    const third = await open();
    assert.deepEqual(await third.encoder.features(PICTURE, PLACES), expected);
    await disposeModel(third);
  },
);
