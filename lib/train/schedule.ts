/**
 * The learning rate over the epochs, as a factor of the first one.
 *
 * @module
 */
import type { Config } from "../model/config.ts";

/** Factor of the learning rate in `epoch` (from 1) of `epochs`. */
export function rateFactor(
  schedule: Config["training"]["schedule"],
  epoch: number,
  epochs: number,
): number {
  switch (schedule.kind) {
    case "step":
      return schedule.factor ** Math.floor((epoch - 1) / schedule.every);
    // Loshchilov & Hutter, ICLR 2017, without restarts.
    case "cosine": {
      const done = epochs === 1 ? 0 : (epoch - 1) / (epochs - 1);
      const share = (1 + Math.cos(Math.PI * done)) / 2;
      return schedule.final + (1 - schedule.final) * share;
    }
    default:
      throw new TypeError(`Unknown schedule ${schedule satisfies never}`);
  }
}
