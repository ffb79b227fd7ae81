/**
 * The engine's Worker with a GPU that can be lost. The query names a file
 * (`?file=PATH`): if it is there when a classification arrives, it says after
 * how many calls to the GPU the device is lost, and is removed.
 *
 * @module
 */
import { loseAfter } from "../engine/lossy_device.ts";

const file = new URL(import.meta.url).searchParams.get("file")!;

self.addEventListener("message", (event) => {
  const { data } = event as MessageEvent<{ method?: string }>;
  if (data.method !== "classify") return;
  try {
    loseAfter(Number(Deno.readTextFileSync(file)));
    Deno.removeSync(file);
  } catch {
    // not yet
  }
});

await import("../../lib/serve/engine_worker.ts");
