/**
 * The engine's Worker with a GPU that can be lost. The query names a file
 * (`?file=PATH`): if it is there when a classification arrives, it says after
 * how many calls to the GPU the device is lost, and is removed. While PATH.hold
 * is there no engine starts, as where a driver is slow to come back.
 *
 * @module
 */
import { setTimeout as pause } from "node:timers/promises";
import { exists } from "../../lib/files.ts";
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

const request = GPUAdapter.prototype.requestDevice;
GPUAdapter.prototype.requestDevice = async function (descriptor) {
  while (await exists(`${file}.hold`)) await pause(20);
  return await request.call(this, descriptor);
};

await import("../../lib/serve/engine/worker.ts");
