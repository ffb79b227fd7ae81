/**
 * The engine's Worker, in which the classification of an image named "endless"
 * never ends, nor lets a message in.
 *
 * @module
 */
import type { ClassifyTask } from "../../lib/serve/engine/protocol.ts";

type Call = MessageEvent<{ method?: string; input?: ClassifyTask }>;

await import("../../lib/serve/engine/worker.ts");

const scope = self as unknown as { onmessage: (event: Call) => void };
const take = scope.onmessage;
scope.onmessage = (event) => {
  const { method, input } = event.data;
  while (method === "classify" && input?.name === "endless");
  take(event);
};
