/** All that is fuzzed. @module */
import { answers } from "./answers.ts";
import { images } from "./images.ts";
import { series, zarr } from "./parts.ts";
import { requests } from "./requests.ts";
import type { Target } from "./target.ts";
import { texts } from "./texts.ts";

export const TARGETS: readonly Target[] = [
  images,
  zarr,
  series,
  ...texts,
  requests,
  answers,
];
