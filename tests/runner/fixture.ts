/**
 * Draws a set and trains on it, into the folder named: what many test files
 * begin with, made once for all of them.
 *
 * @module
 */
import { drawAndTrain } from "../commands/process.ts";

await drawAndTrain(Deno.args[0]!);
