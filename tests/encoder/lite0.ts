/**
 * EfficientNet-Lite0 of the shared data, and its settings.
 *
 * @module
 */
import type { EncoderConfig } from "../../lib/encoder/encoder.ts";
import { sharedData } from "../shared_data.ts";

/** Path of the network; undefined where there is no shared data. */
export const LITE0: string | undefined = sharedData(
  "encoders",
  "lite0_taps.onnx",
);

/** Its maps at strides 8, 16 and 32, as for objects of some 20 px. */
export const LITE0_SETTINGS: EncoderConfig = {
  path: LITE0 ?? "",
  sha256: "650e5c13fb298d0edc1d05e810a06164cc01daeab18b309ac09fefacc941c393",
  scale: 2,
  inputSize: null,
  mean: [0.485, 0.456, 0.406],
  deviation: [0.229, 0.224, 0.225],
  outputs: [
    { name: "s8", window: 28, pooling: "mean" },
    { name: "s16", window: 24, pooling: "mean" },
    { name: "s32", window: 0, pooling: "mean" },
  ],
  channels: 40 + 112 + 320,
};
