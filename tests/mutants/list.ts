/**
 * The faults, by the part of the code that they are put into.
 *
 * @module
 */
import { DATA } from "./list/data.ts";
import { EVAL } from "./list/eval.ts";
import { IMAGE } from "./list/image.ts";
import { KERNELS } from "./list/kernels.ts";
import { MODEL } from "./list/model.ts";
import { SAMPLING } from "./list/sampling.ts";
import { SERVE } from "./list/serve.ts";
import { TRAIN } from "./list/train.ts";
import { type Mutant, mutantsOf } from "./mutant.ts";

export const MUTANTS: readonly Mutant[] = mutantsOf([
  ...KERNELS,
  ...SAMPLING,
  ...MODEL,
  ...IMAGE,
  ...TRAIN,
  ...EVAL,
  ...DATA,
  ...SERVE,
]);
