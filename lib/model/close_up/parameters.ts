/**
 * The parameters of a close-up: three affine maps of the features of a square.
 *
 * @module
 */
import type { CloseUpConfig } from "../config.ts";
import type { ParameterSpec } from "../parameters.ts";
import { affineSpecs } from "./affine.ts";
import { cropChannels } from "./crops.ts";
import { PLACEMENT } from "./squares.ts";

/** Names of the maps. */
export const CLOSE_UP = {
  find: "closeUp/find",
  place: "closeUp/place",
  read: "closeUp/read",
} as const;

/** The parameters for `classes` classes; none without a close-up. */
export function closeUpSpecs(
  closeUp: CloseUpConfig | null,
  classes: number,
): ParameterSpec[] {
  if (!closeUp) return [];
  const inputs = cropChannels(closeUp);
  return [
    ...affineSpecs(CLOSE_UP.find, inputs, PLACEMENT),
    ...affineSpecs(CLOSE_UP.place, inputs, PLACEMENT),
    ...affineSpecs(CLOSE_UP.read, inputs, classes),
  ];
}
