/**
 * Affine maps of features in main memory, and as parameters of a model.
 *
 * @module
 */
import type { Parameters, ParameterSpec } from "../parameters.ts";

/** x W + b of one row of features. */
export type AffineMap = (row: ArrayLike<number>) => Float64Array;

/** The values of an {@linkcode AffineMap}. */
export interface AffineValues {
  /** `[inputs, outputs]`. */
  weight: Float32Array;
  /** `[outputs]`. */
  bias: Float32Array;
}

/** Parameters of an affine map that training fits at once, not step by step. */
export function affineSpecs(
  name: string,
  inputs: number,
  outputs: number,
): ParameterSpec[] {
  const rest = { kind: "fixed", fanIn: inputs } as const;
  return [
    { ...rest, name: `${name}/weight`, shape: [inputs, outputs] },
    { ...rest, name: `${name}/bias`, shape: [outputs] },
  ];
}

/** The map that the parameters `name/weight` and `name/bias` hold. */
export async function affineMap(
  parameters: Parameters,
  name: string,
): Promise<AffineMap> {
  const values = async (part: string) => {
    const found = parameters.get(`${name}/${part}`);
    if (!found) {
      throw new RangeError(`Cannot find the parameter "${name}/${part}"`);
    }
    return await found.data() as Float32Array;
  };
  return mapOf({ weight: await values("weight"), bias: await values("bias") });
}

/** The map of `values`. */
export function mapOf({ weight, bias }: AffineValues): AffineMap {
  const outputs = bias.length;
  return (row) => {
    const found = Float64Array.from(bias);
    for (let i = 0; i < row.length; i++) {
      const x = row[i]!;
      for (let output = 0; output < outputs; output++) {
        found[output]! += x * weight[i * outputs + output]!;
      }
    }
    return found;
  };
}
