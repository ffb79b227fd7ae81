/**
 * The program of a study's run that is a job: `train` with the same flags, but
 * that its folder continues on other hosts, and that it ends with the process
 * that started it, because another host then does it.
 *
 * @module
 */
import { oneLine } from "../errors.ts";
import { underParent } from "./shared/parent.ts";
import { train } from "./train.ts";

if (import.meta.main) {
  const { features } = await underParent();
  const hosted = { absolutePaths: true, featuresShared: features ?? undefined };
  try {
    Deno.exit(await train(Deno.args, hosted));
  } catch (error) {
    console.error(oneLine((error as Error).message));
    Deno.exit(1);
  }
}
