/**
 * The Worker that trains, where neither scores nor a report can be written: in
 * the jobs of the folder that the query names (`?jobs=PATH`), a file has the
 * name of the folder of evaluations.
 *
 * @module
 */
import { join } from "node:path";
import type { Progress } from "../../lib/train/epoch_metrics.ts";
import { EVALUATIONS_FOLDER } from "../../lib/report/records.ts";

const jobs = new URL(import.meta.url).searchParams.get("jobs")!;
const scope = self as unknown as {
  postMessage(message: { event?: Progress }): void;
};
const post = scope.postMessage;

scope.postMessage = (message) => {
  post.call(scope, message);
  if (!message.event) return;
  for (const { name } of Deno.readDirSync(jobs)) {
    const run = join(jobs, name, "run");
    Deno.mkdirSync(run, { recursive: true }); // a job with a bad image has none
    Deno.writeTextFileSync(join(run, EVALUATIONS_FOLDER), "");
  }
};

await import("../../lib/serve/jobs/train_worker.ts");
