/** An encoder in a Worker: answers with the features of one picture. */
import type { EncoderConfig } from "../../lib/encoder/encoder.ts";
import { openOnnxEncoder } from "../../lib/encoder/onnx.ts";

const scope = self as unknown as {
  onmessage: (event: MessageEvent<EncoderConfig>) => Promise<void>;
  postMessage(message: Float32Array): void;
};

scope.onmessage = async ({ data: settings }) => {
  const encoder = await openOnnxEncoder(settings, {
    engine: "wasm",
    threads: 1,
  });
  const data = new Float32Array(32 * 32 * 3).fill(0.7);
  const picture = { data, count: 1, height: 32, width: 32 };
  const features = await encoder.features(picture, [[{ x: 9, y: 17 }]]);
  await encoder.dispose();
  scope.postMessage(features);
};
