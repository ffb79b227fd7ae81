/** Encoders in Workers, side by side. */
import assert from "node:assert/strict";
import { encoderSettings } from "../../lib/encoder/inspect.ts";
import { openOnnxEncoder } from "../../lib/encoder/onnx.ts";
import { FIXTURE } from "./onnx_files.ts";
import { testEncoder } from "./runtime.ts";

testEncoder("encoders in Workers give what one here does", async () => {
  const settings = await encoderSettings(FIXTURE);
  const workers = [0, 1].map(() =>
    new Worker(new URL("./worker.ts", import.meta.url), { type: "module" })
  );
  try {
    const answers = workers.map((worker) => {
      const { promise, resolve, reject } = Promise.withResolvers<
        Float32Array
      >();
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = ({ message }) => reject(new Error(message));
      worker.postMessage(settings);
      return promise;
    });
    const encoder = await openOnnxEncoder(settings, { engine: "wasm" });
    const data = new Float32Array(32 * 32 * 3).fill(0.7);
    const picture = { data, count: 1, height: 32, width: 32 };
    const here = await encoder.features(picture, [[{ x: 9, y: 17 }]]);
    await encoder.dispose();
    for (const answer of answers) assert.deepEqual(await answer, here);
  } finally {
    for (const worker of workers) worker.terminate();
  }
});
