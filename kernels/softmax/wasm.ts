/**
 * The softmax on the WASM engine, in vectors. Sums are float64 except within
 * runs of a hundred additions, so they stay accurate for 10^7 locations.
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs-core";
import {
  exponentials,
  largestOfLanes,
  ROUND_VALUES,
  scaleValues,
} from "./wasm_routines.ts";
import { offsetOf, routine, type WasmBackend } from "../wasm/routine.ts";

const LANES = 4;
const FLOAT_BYTES = 4;
// Rounds whose values are summed in f32, lane by lane.
const RUN = 32;

/** Softmax of each row of `logits`, `[rows, locations]`. */
export function wasmSoftmax(
  backend: WasmBackend,
  logits: tf.TensorInfo,
): tf.TensorInfo {
  const [rows, locations] = logits.shape as [number, number];
  const out = backend.makeOutput(logits.shape, "float32");
  const scratch = backend.makeOutput([2 * LANES], "float32");
  const call: Call = {
    x: backend.typedArrayFromHeap(logits),
    out: backend.typedArrayFromHeap(out),
    lanes: backend.typedArrayFromHeap(scratch),
    xAt: offsetOf(backend, logits),
    outAt: offsetOf(backend, out),
    lanesAt: offsetOf(backend, scratch),
    largest: routine(backend, "softmax_largest", largestOfLanes),
    exponentials: routine(backend, "softmax_exponentials", exponentials),
    scale: routine(backend, "softmax_scale", scaleValues),
  };
  for (let row = 0; row < rows; row++) softmaxRow(call, { row, locations });
  backend.disposeData(scratch.dataId);
  return out;
}

/** Both tensors, eight values of scratch, and the routines. */
interface Call {
  x: Float32Array;
  out: Float32Array;
  lanes: Float32Array;
  xAt: number;
  outAt: number;
  lanesAt: number;
  largest: (...parameters: number[]) => void;
  exponentials: (...parameters: number[]) => void;
  scale: (...parameters: number[]) => void;
}

function softmaxRow(
  call: Call,
  { row, locations }: { row: number; locations: number },
): void {
  const { x, out, lanes, lanesAt } = call;
  const start = row * locations, end = start + locations;
  const rounds = Math.floor(locations / ROUND_VALUES);
  const tail = start + rounds * ROUND_VALUES; // the last, incomplete round
  const [xAt, outAt] = [call.xAt, call.outAt]
    .map((at) => at + start * FLOAT_BYTES) as [number, number];
  let highest = -Infinity;
  if (rounds > 0) {
    call.largest(xAt, lanesAt, rounds);
    highest = Math.max(...lanes.subarray(0, LANES));
  }
  for (let i = tail; i < end; i++) highest = Math.max(highest, x[i]!);
  if (highest === -Infinity) highest = 0; // exp(-inf - 0) = 0: all zeros

  lanes[LANES] = highest;
  const highestAt = lanesAt + LANES * FLOAT_BYTES;
  let sum = 0;
  for (let round = 0; round < rounds; round += RUN) {
    const shift = round * ROUND_VALUES * FLOAT_BYTES;
    const count = Math.min(RUN, rounds - round);
    call.exponentials(xAt + shift, outAt + shift, count, highestAt, lanesAt);
    for (let lane = 0; lane < LANES; lane++) sum += lanes[lane]!;
  }
  for (let i = tail; i < end; i++) {
    out[i] = Math.exp(x[i]! - highest);
    sum += out[i]!;
  }

  const scale = sum === 0 ? 0 : 1 / sum;
  lanes[0] = scale;
  if (rounds > 0) call.scale(outAt, rounds, lanesAt);
  for (let i = tail; i < end; i++) out[i]! *= scale;
}
