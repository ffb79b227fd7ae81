import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import { BufferPool } from "../../lib/engine/buffer_pool.ts";
import { startEngine } from "../../lib/engine/select.ts";
import { DEFAULT_MEMORY_BYTES } from "../../lib/memory.ts";
import { ignoreGpu, testOnEngines } from "../engines.ts";

const USAGE = GPUBufferUsage.STORAGE;

Deno.test({
  name: "a freed buffer is used again, and the oldest kinds make room [webgpu]",
  ignore: ignoreGpu,
  async fn() {
    const { device } = await startEngine("webgpu");
    const pool = new BufferPool(device!, 100);
    const used = [32, 16, 16, 64].map((size) =>
      pool.acquireBuffer(size, USAGE)
    );
    assert.equal(pool.numBytesUsed, 128);
    for (const buffer of used.slice(0, 3)) pool.releaseBuffer(buffer);
    assert.equal(pool.acquireBuffer(32, USAGE), used[0]);
    pool.releaseBuffer(used[0]!);
    pool.releaseBuffer(used[3]!);
    // Both of 16 bytes went when that of 64 came: 32 was used since.
    assert.equal(pool.numBytesUsed, 0);
    assert.equal(pool.numBytesAllocated, 96);
    assert.equal(pool.getNumFreeBuffers(), 2);
    const again = pool.acquireBuffer(32, USAGE);
    assert.equal(again, used[0]);
    assert.notEqual(pool.acquireBuffer(64, GPUBufferUsage.UNIFORM), used[3]);
    assert.equal(pool.acquireBuffer(64, USAGE, true, false).mapState, "mapped");
    assert.equal(pool.getNumUsedBuffers(), 3);
    pool.releaseBuffer(again, false);
    assert.equal(pool.numBytesAllocated, 192);
    pool.dispose();
    assert.equal(pool.numBytesAllocated, 0);
  },
});

testOnEngines("tensors of many sizes do not fill the GPU", async () => {
  const memory = () => {
    const { numBytesAllocatedInGPU = 0 } = tf.memory() as {
      numBytesAllocatedInGPU?: number;
    };
    return numBytesAllocatedInGPU;
  };
  const before = memory();
  for (let i = 0; i < 24; i++) {
    const numbers = tf.fill([8e6 + 64 * i], i); // 32 MB
    const last = tf.slice(numbers, [numbers.size - 1], [1]);
    assert.deepEqual([...await last.data()], [i]);
    tf.dispose([numbers, last]);
  }
  assert.ok(memory() <= Math.max(before, DEFAULT_MEMORY_BYTES) + 1e6);
});
