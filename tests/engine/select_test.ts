import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs-core";
import { startEngine } from "../../lib/engine/select.ts";
import { describeAdapter, findAdapter } from "../../lib/engine/webgpu.ts";
import { ignoreGpu, testOnEngines } from "../engines.ts";

const adapter = await findAdapter();

/** Runs a module of this project in a separate process. */
async function runModule(
  code: string,
  env: Record<string, string> = {},
): Promise<{ stdout: string; stderr: string }> {
  const output = await new Deno.Command(Deno.execPath(), {
    args: ["eval", code],
    env,
    cwd: new URL("../..", import.meta.url).pathname,
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trim();
  return { stdout: text(output.stdout), stderr: text(output.stderr) };
}

const IMPORTS = `
import * as tf from "@tensorflow/tfjs-core";
const { startEngine } = await import("./lib/engine/select.ts");
`;

testOnEngines(
  "an engine that starts computes on its own backend",
  async (engine) => {
    assert.equal(tf.getBackend(), engine.backend);
    assert.ok(engine.reason.startsWith(`${engine.backend}: `));
    assert.doesNotMatch(engine.reason, /\n/);
    assert.equal(engine.adapter !== undefined, engine.backend === "webgpu");
    engine.assertAlive();
    const sum = tf.tidy(() => tf.add(tf.tensor1d([1, 2]), 1));
    assert.deepEqual([...await sum.data()], [2, 3]);
    sum.dispose();
  },
);

Deno.test("auto takes a hardware adapter, and wasm before a software one", async () => {
  const engine = await startEngine("auto");
  const hardware = adapter && !describeAdapter(adapter).software;
  assert.equal(engine.backend, hardware ? "webgpu" : "wasm");
  if (adapter && !hardware) {
    assert.match(engine.reason, /no hardware WebGPU adapter \(found only .+\)/);
  }
});

Deno.test("without an adapter auto is wasm, and webgpu names the package to install", async () => {
  const { stdout, stderr } = await runModule(
    `${IMPORTS}
     console.log((await startEngine("auto")).reason);
     try { await startEngine("webgpu"); }
     catch (error) { console.log(error.name, error.message); }`,
    { DENO_WEBGPU_BACKEND: "dx12" }, // there is none on Linux
  );
  assert.equal(stderr, "");
  const [auto, webgpu] = stdout.split("\n");
  assert.equal(auto, "wasm: no WebGPU adapter");
  assert.match(webgpu!, /^EngineError Cannot start .*mesa-vulkan-drivers/);
});

Deno.test({
  name: "an error that no scope catches fails the engine by name",
  ignore: ignoreGpu,
  async fn() {
    const { stdout } = await runModule(`${IMPORTS}
      const engine = await startEngine("webgpu");
      engine.assertAlive();
      engine.device.createShaderModule({ code: "not WGSL" });
      await tf.add(tf.zeros([1]), 1).data();
      try { engine.assertAlive(); }
      catch (error) { console.log(error.name, error.message.split("\\n")[0]); }`);
    assert.match(
      stdout,
      /^EngineError The webgpu engine failed on ".+": Shader .+/,
    );
  },
});

Deno.test({
  name: "a device that is lost fails the engine by name",
  ignore: ignoreGpu,
  async fn() {
    const { stdout } = await runModule(`${IMPORTS}
      const engine = await startEngine("webgpu");
      engine.device.destroy();
      await engine.device.lost;
      try { engine.assertAlive(); }
      catch (error) { console.log(error.name, error.message.split("\\n")[0]); }`);
    assert.match(stdout, /^EngineError The webgpu engine lost its device ".+"/);
  },
});

Deno.test({
  name: "starting webgpu prints nothing",
  ignore: ignoreGpu,
  async fn() {
    const { stdout, stderr } = await runModule(
      `${IMPORTS} await startEngine("webgpu"); await tf.add(tf.zeros([1]), 1).data();`,
      { XDG_RUNTIME_DIR: "" },
    );
    assert.deepEqual({ stdout, stderr }, { stdout: "", stderr: "" });
  },
});
