/**
 * The engine's Worker, which ends when it is to classify "crash.png", as a
 * decoder of native code may end it, and classifies nothing else while the file
 * that the query names (`?file=PATH`) is there.
 *
 * @module
 */
import { setTimeout as pause } from "node:timers/promises";
import { exists } from "../../lib/files.ts";
import type {
  ClassifyTask,
  EngineEvent,
} from "../../lib/serve/engine/protocol.ts";

type Call = MessageEvent<{ method?: string; input: ClassifyTask }>;

const file = new URL(import.meta.url).searchParams.get("file")!;

await import("../../lib/serve/engine/worker.ts");

const scope = self as unknown as {
  onmessage: (event: Call) => void;
  postMessage(message: { type: "event"; event: EngineEvent }): void;
};
const take = scope.onmessage;
scope.onmessage = async (event) => {
  const { method, input } = event.data;
  if (method === "classify" && input.path.endsWith("crash.png")) {
    const failure = "the decoder crashed";
    return scope.postMessage({ type: "event", event: { failure } });
  }
  while (method === "classify" && await exists(file)) await pause(20);
  take(event);
};
