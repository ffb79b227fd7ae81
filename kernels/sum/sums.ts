/**
 * Sums of many tensors at once: those of the gradients of a batch's images, for all
 * parameters. On wasm one operation, where one a parameter and image takes longer
 * than the additions.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import { addVectors } from "../wasm/elementwise.ts";
import { offsetOf, routine, type WasmBackend } from "../wasm/routine.ts";

const SUMS = "zoomin/Sums";
const LANES = 4;

/**
 * The sums of the first tensors of two or more lists, of the second ones, and so on;
 * terms are added in the order of the lists.
 *
 * @throws {TypeError} If the tensors at a place differ in shape.
 */
export function sums(lists: readonly (readonly tf.Tensor[])[]): tf.Tensor[] {
  const [first, ...rest] = lists as [tf.Tensor[], ...tf.Tensor[][]];
  for (const [i, { shape }] of first.entries()) {
    for (const list of rest) {
      tf.util.assertShapesMatch(shape, list[i]!.shape, "Cannot add tensors: ");
    }
  }
  if (tf.getBackend() !== "wasm") {
    return first.map((term, i) =>
      tf.tidy(() => rest.reduce((sum, list) => tf.add(sum, list[i]!), term))
    );
  }
  const inputs = Object.fromEntries(
    lists.flatMap((list, n) => list.map((term, i) => [nameOf(n, i), term])),
  );
  return tf.engine().runKernel<tf.Tensor[]>(SUMS, inputs, {
    lists: lists.length,
    length: first.length,
  });
}

function nameOf(list: number, index: number): string {
  return `term${list}_${index}`;
}

/** The kernel of the wasm engine. */
export const sumsKernel: tf.KernelConfig = {
  kernelName: SUMS,
  backendName: "wasm",
  kernelFunc: ({ inputs, backend, attrs }) => {
    const { lists, length } = attrs as { lists: number; length: number };
    return Array.from({ length }, (_, i) =>
      sumOf(
        backend as WasmBackend,
        Array.from({ length: lists }, (_, n) =>
          inputs[nameOf(n, i)] as tf.TensorInfo),
      ));
  },
};

function sumOf(
  backend: WasmBackend,
  terms: readonly tf.TensorInfo[],
): tf.TensorInfo {
  const out = backend.makeOutput(terms[0]!.shape, "float32");
  const add = routine(backend, "add_vectors", addVectors);
  const sum = backend.typedArrayFromHeap(out), outAt = offsetOf(backend, out);
  const vectors = Math.floor(sum.length / LANES);
  let before = terms[0]!;
  for (const term of terms.slice(1)) {
    const [beforeAt, termAt] = [before, term]
      .map((info) => offsetOf(backend, info)) as [number, number];
    if (vectors > 0) add(beforeAt, termAt, outAt, vectors);
    const [a, b] = [before, term]
      .map((info) => backend.typedArrayFromHeap(info)) as [
        Float32Array,
        Float32Array,
      ];
    for (let i = vectors * LANES; i < sum.length; i++) sum[i] = a[i]! + b[i]!;
    before = out;
  }
  return out;
}
