/**
 * The Worker that trains with a step that has no end: the first of the second
 * epoch.
 *
 * @module
 */
import type { Progress } from "../../lib/train/epoch_metrics.ts";

const scope = self as unknown as {
  postMessage(message: { event?: Progress }): void;
};
const post = scope.postMessage;

scope.postMessage = (message) => {
  post.call(scope, message);
  while (message.event?.epoch === 2);
};

await import("../../lib/serve/jobs/train_worker.ts");

export {};
