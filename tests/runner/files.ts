/**
 * The test files: the long ones, and those that need only this process.
 *
 * @module
 */

// Seconds of one core that the longest took when it was last measured.
const SECONDS: Record<string, number> = {
  "tests/commands/demo_test.ts": 100,
  "tests/kernels/conv/conv_test.ts": 83,
  "tests/train/dense/train_dense_test.ts": 57,
  "tests/commands/train_test.ts": 45,
  "tests/viewer/viewer_test.ts": 45,
  "tests/serve/restart_test.ts": 40,
  "tests/commands/merge_test.ts": 25,
  "tests/serve/jobs/nats/store_test.ts": 40, // most of it in wait for leases
  "tests/serve/jobs/nats/cluster_test.ts": 40,
  "tests/serve/jobs/nats/hosts_test.ts": 40,
  "tests/serve/engine/pool_test.ts": 35,
  "tests/routes/not_ready_test.ts": 25,
  "tests/viewer/jobs_test.ts": 20,
  "tests/viewer/draw_test.ts": 35,
  "tests/routes/annotations_test.ts": 15,
  "tests/commands/classify_test.ts": 20,
  "tests/commands/exports_test.ts": 25,
  "tests/commands/report_test.ts": 25,
  "tests/train/trainer_test.ts": 20,
  "tests/commands/boxes_test.ts": 20,
  "tests/kernels/conv/webgpu/kernels_test.ts": 19,
  "tests/commands/study_test.ts": 30,
  "tests/train/step/micro_batch_test.ts": 18,
  "tests/train/step/block_gradients_test.ts": 18,
  "tests/docs/commands_test.ts": 18,
  "tests/examples_test.ts": 17,
  "tests/routes/generated_client_test.ts": 17,
  "tests/commands/eval_test.ts": 16,
  "tests/main_test.ts": 16,
  "tests/model/look/evidence_blocks_test.ts": 16,
  "tests/eval/corners_test.ts": 15,
  "tests/model/zoom_in_test.ts": 13,
  "tests/model/look/support/support_test.ts": 13,
  "tests/train/evidence_learning_test.ts": 12,
  "tests/model/networks_test.ts": 11,
  "tests/train/dense/student_test.ts": 11,
  "tests/encoder/dictionary_test.ts": 11,
  "tests/kernels/pool/max_pool_test.ts": 10,
  "tests/eval/bootstrap_test.ts": 10,
  "tests/kernels/softmax/softmax_test.ts": 10,
  "tests/model/look/blocks_test.ts": 9,
  "tests/model/look/evidence_draws_test.ts": 8,
  "tests/encoder/scattering_test.ts": 7,
  "tests/data/synthetic/slide_test.ts": 6,
  "tests/data/synthetic/needle_test.ts": 6,
  "tests/kernels/sample/sample_test.ts": 6,
};
const OTHERS_SECONDS = 3;
const FAST_SECONDS = 5;

/** The files, the longest first: the last to end are then short. */
export function longestFirst(files: readonly string[]): string[] {
  return files.toSorted((a, b) => secondsOf(b) - secondsOf(a));
}

function secondsOf(file: string): number {
  const known = Object.keys(SECONDS).find((name) => file.endsWith(name));
  return known === undefined ? OTHERS_SECONDS : SECONDS[known]!;
}

// Imports of code that starts processes, servers and Workers.
const STARTS =
  /Deno\.Command|new Worker|Deno\.serve|["/](process|served|[a-z]+_server)\.ts"/;

/** True for a file that is short, and starts no process, server or Worker. */
export function isFast(file: string): boolean {
  return secondsOf(file) < FAST_SECONDS &&
    !STARTS.test(Deno.readTextFileSync(file));
}
