/**
 * A GPU that can be lost at any moment: its device is destroyed before the n-th
 * call to it. If ZOOMIN_TEST_LOSS is n, calls are counted from the start.
 *
 * @module
 */
let device: GPUDevice;
let left = Number(Deno.env.get("ZOOMIN_TEST_LOSS") ?? Infinity);

/** Destroys the device after `calls` more calls. */
export function loseAfter(calls: number): void {
  left = calls;
}

function count<Name extends string>(
  owner: Record<Name, (...args: never[]) => unknown>,
  ...names: Name[]
): void {
  for (const name of names) {
    const method = owner[name];
    owner[name] = function (this: unknown, ...args: never[]) {
      if (left-- === 0) device.destroy();
      return method.apply(this, args);
    };
  }
}

count(GPUQueue.prototype, "submit", "writeBuffer");
count(GPUBuffer.prototype, "mapAsync", "getMappedRange");
count(GPUDevice.prototype, "createBuffer", "createBindGroup");

const request = GPUAdapter.prototype.requestDevice;
GPUAdapter.prototype.requestDevice = async function (descriptor) {
  return device = await request.call(this, descriptor);
};
