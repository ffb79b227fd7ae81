/**
 * The Worker that trains with a GPU that is lost once: if the file that the
 * query names (`?file=PATH`) is there, after as many calls as it says. The file
 * is removed.
 *
 * @module
 */
import { loseAfter } from "../engine/lossy_device.ts";

const file = new URL(import.meta.url).searchParams.get("file")!;
try {
  loseAfter(Number(Deno.readTextFileSync(file)));
  Deno.removeSync(file);
} catch {
  // it was lost before
}

await import("../../lib/serve/jobs/train_worker.ts");
