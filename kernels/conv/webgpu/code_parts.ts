/**
 * Pieces of WGSL shared by the convolutions and their gradients.
 *
 * @module
 */

/** Integers from 0 up to `count`. */
export function range(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}

const COMPONENTS = ["x", "y", "z", "w"] as const;

/** Element type of a channel-last buffer: `vec4f` if 4 divides the channels. */
export function elementOf(channels: number): { type: string; lanes: number } {
  return channels % 4 ? { type: "f32", lanes: 1 } : { type: "vec4f", lanes: 4 };
}

/** The value of channel `i` of a block that was read into `${name}_${chunk}`. */
export function channel(name: string, i: number, lanes: number): string {
  const chunk = `${name}_${Math.floor(i / lanes)}`;
  return lanes === 1 ? chunk : `${chunk}.${COMPONENTS[i % 4]}`;
}

/** Element `e` of a block of outputs whose sums are vectors of four. */
export function sumElement(name: string, e: number, lanes: number): string {
  return lanes === 4
    ? `${name}_${e}`
    : `${name}_${Math.floor(e / 4)}.${COMPONENTS[e % 4]}`;
}
