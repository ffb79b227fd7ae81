/**
 * The engine's Worker, which answers no classification while the file that the
 * query names (`?file=PATH`) is there.
 *
 * @module
 */
import { setTimeout as pause } from "node:timers/promises";
import { exists } from "../../lib/files.ts";

const file = new URL(import.meta.url).searchParams.get("file")!;

await import("../../lib/serve/engine/worker.ts");

const scope = self as unknown as {
  onmessage: (event: MessageEvent<{ method?: string }>) => void;
};
const take = scope.onmessage;
scope.onmessage = async (event) => {
  if (event.data.method === "classify") {
    while (await exists(file)) await pause(20);
  }
  take(event);
};
