import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import { startEngine } from "../../lib/engine/select.ts";
import { attentionSoftmax } from "../../kernels/softmax/softmax.ts";
import { ignoreGpu, testOnWebGpu } from "../engines.ts";
import { gpuTimes, hasTimestamps } from "./gpu_times.ts";
import { profileBenchmarks } from "./profile.ts";

Deno.test({
  name: "every dispatch has a time of its own, and the results stay",
  ignore: ignoreGpu || !hasTimestamps((await startEngine("webgpu")).device!),
  async fn() {
    const { device } = await startEngine("webgpu");
    const times = (length: number) =>
      gpuTimes(device!, () => `${length}`, async () => {
        const values = tf.tensor2d(
          Float32Array.from({ length }, (_, i) => i % 3),
          [1, length],
        );
        const result = attentionSoftmax(values);
        const sum = tf.sum(result);
        assert.ok(Math.abs((await sum.data())[0]! - 1) < 1e-4);
        tf.dispose([values, result, sum]);
      });
    await times(8); // compiles
    for (const length of [8, 2 ** 18]) {
      const [[name, { ms, calls }], ...others] = [...await times(length)] as [
        [string, { ms: number; calls: number }],
      ];
      assert.deepEqual([name, others], [`${length}`, []]);
      assert.ok(calls >= 3, `${calls} dispatches`);
      assert.ok(ms > 0 && ms < 60_000, `${ms} ms`);
    }
  },
});

testOnWebGpu(
  "a step is profiled kernel by kernel only with timestamps",
  async (engine) => {
    const none = { features: new Set() } as unknown as GPUDevice;
    const { subjects } = await profileBenchmarks["profile-step"]!({
      ...engine,
      device: none,
    });
    assert.deepEqual(subjects, []);
  },
);
