/**
 * The colour map of heat maps, in pictures and in the viewer.
 *
 * @module
 */

/**
 * "viridis" of matplotlib 3.11 at 16 even steps:
 * `matplotlib.colormaps["viridis"](range(0, 256, 17), bytes=True)[:, :3]`
 */
export const VIRIDIS: readonly (readonly [number, number, number])[] = [
  [68, 1, 84],
  [72, 25, 107],
  [70, 47, 124],
  [64, 67, 135],
  [56, 86, 139],
  [48, 103, 141],
  [41, 120, 142],
  [35, 136, 141],
  [30, 152, 138],
  [34, 167, 132],
  [53, 183, 120],
  [83, 197, 103],
  [121, 209, 81],
  [165, 218, 53],
  [210, 225, 27],
  [253, 231, 36],
];
