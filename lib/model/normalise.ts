/**
 * Batch normalisation with its own gradient: shorter and more stable than the
 * tape's gradient of its parts.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";

// As PyTorch's BatchNorm2d.
const VARIANCE_EPSILON = 1e-5;

/** Result of {@linkcode batchNormalise}: the statistics are those it used. */
export interface BatchNormalised {
  output: tf.Tensor4D;
  mean: tf.Tensor1D;
  variance: tf.Tensor1D;
}

/**
 * Batch normalisation over `[N, h, w]` of each channel (Ioffe & Szegedy,
 * 2015): with the statistics of `x`, through which the gradient then flows, or
 * with the `mean` and `variance` given, which are then constants.
 */
export function batchNormalise(
  x: tf.Tensor4D,
  { scale, shift, mean, variance, relu = false }: {
    scale: tf.Tensor1D;
    shift: tf.Tensor1D;
    mean?: tf.Tensor1D;
    variance?: tf.Tensor1D;
    /** Adds a ReLU after it. */
    relu?: boolean;
  },
): BatchNormalised {
  const channels = x.shape[3];
  const rows = tf.reshape(x, [-1, channels]) as tf.Tensor2D;
  const moments = mean && variance
    ? { mean, variance, fixed: true }
    : { ...batchMoments(rows), fixed: false };
  const output = normaliseColumns(rows, { scale, shift, relu, ...moments });
  return {
    output: tf.reshape(output, x.shape),
    mean: moments.mean,
    variance: moments.variance,
  };
}

/** Mean and variance of every column, outside the gradient's tape. */
function batchMoments(rows: tf.Tensor2D) {
  const measure = tf.customGrad((input) => {
    const mean = tf.mean(input as tf.Tensor, 0, true);
    const variance = tf.mean(tf.square(tf.sub(input as tf.Tensor, mean)), 0);
    return {
      value: tf.stack([tf.squeeze(mean, [0]), variance]),
      gradFunc: () => tf.zerosLike(input as tf.Tensor),
    };
  });
  const [mean, variance] = tf.unstack(measure(rows)) as tf.Tensor1D[];
  return { mean: mean!, variance: variance! };
}

/**
 * With n = (x - mean) / deviation and y = scale n + shift, of M rows,
 *
 *     dx = scale / deviation (dy - sum(dy) / M - n sum(n dy) / M)
 *
 * where the statistics are those of x. n is computed again for the gradient:
 * kept, it would be one of the largest tensors of all.
 */
function normaliseColumns(
  x: tf.Tensor2D,
  { scale, shift, mean, variance, fixed, relu }: {
    scale: tf.Tensor1D;
    shift: tf.Tensor1D;
    mean: tf.Tensor1D;
    variance: tf.Tensor1D;
    fixed: boolean;
    relu: boolean;
  },
): tf.Tensor2D {
  const operation = tf.customGrad((...args) => {
    const [x, scale, shift] = args as unknown as tf.Tensor[];
    const save = args.at(-1) as unknown as tf.GradSaveFunc;
    const inverse = tf.rsqrt(tf.add(variance, VARIANCE_EPSILON)); // [C]
    const n = spent(tf.sub(x!, mean), (x) => tf.mul(x, inverse)); // [M, C]
    const scaled = spent(n, (n) => tf.mul(n, scale!));
    const shifted = spent(scaled, (x) => tf.add(x, shift!));
    const y = relu ? spent(shifted, tf.relu) : shifted;
    save([x!, mean, inverse, scale!, y]);
    return {
      value: y,
      gradFunc: (upstream, saved) => {
        const [x, mean, inverse, scale, y] = saved as tf.Tensor[];
        const dy = relu
          ? spent(tf.step(y!), (alive) => tf.mul(alive, upstream))
          : upstream;
        const n = spent(tf.sub(x!, mean!), (x) => tf.mul(x, inverse!));
        const dScale = spent(tf.mul(dy, n), (x) => tf.sum(x, 0));
        const dShift = tf.sum(dy, 0);
        const gain = tf.mul(scale!, inverse!);
        const straight = tf.mul(dy, gain);
        if (dy !== upstream) dy.dispose();
        if (fixed) return [straight, dScale, dShift];
        const share = tf.mul(gain, 1 / n.shape[0]!);
        const along = spent(n, (n) => tf.mul(n, tf.mul(share, dScale)));
        const across = spent(straight, (x) => tf.sub(x, along));
        along.dispose();
        const dx = spent(across, (x) => tf.sub(x, tf.mul(share, dShift)));
        return [dx, dScale, dShift];
      },
    };
  });
  return operation(x, scale, shift) as tf.Tensor2D;
}

/** Applies `use` to x and frees x: maps of whole batches would pile up. */
function spent<T extends tf.Tensor>(x: T, use: (x: T) => tf.Tensor): tf.Tensor {
  const result = use(x);
  x.dispose();
  return result;
}
