import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import {
  type Draws,
  expectation,
  type GradientRule,
} from "../../lib/sampling/expectation.ts";
import { sharedJson } from "../shared_data.ts";
import { testOnEngines } from "../engines.ts";

/** golden/estimators.json: numpy float64, exhaustive enumeration. */
interface Golden {
  cases: {
    attention: number[];
    features: number[][];
    upstream: number[];
    withoutReplacement: {
      draw: number[];
      F: number[];
      dFeatures: number[][];
      dAttention: number[];
    };
    withReplacement: {
      counts: number[];
      F: number[];
      dFeatures: Record<string, number[]>;
      dAttention: Record<string, number>;
    };
  }[];
}
