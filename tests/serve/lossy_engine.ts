/**
 * The engine's Worker with a GPU that is lost: its device is destroyed when the
 * file in ZOOMIN_TEST_LOSS appears, as a driver that resets does it.
 *
 * @module
 */
const file = Deno.env.get("ZOOMIN_TEST_LOSS")!;
const request = GPUAdapter.prototype.requestDevice;

GPUAdapter.prototype.requestDevice = async function (descriptor) {
  const device = await request.call(this, descriptor);
  const timer = setInterval(() => {
    try {
      Deno.removeSync(file);
    } catch {
      return; // not yet
    }
    clearInterval(timer);
    device.destroy();
  }, 10);
  return device;
};

await import("../../lib/serve/engine_worker.ts");

export {};
