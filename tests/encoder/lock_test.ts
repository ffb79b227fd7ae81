/**
 * The two locks: `deno task` fetches all that deno.lock names, so encoders.lock
 * has onnxruntime besides.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { PACKAGES } from "../../lib/encoder/onnx/runtime.ts";
import { ROOT } from "../commands/process.ts";

interface Lock {
  specifiers: Record<string, string>;
  npm: Record<string, { integrity: string }>;
}

async function lockOf(name: string): Promise<Lock> {
  return JSON.parse(await Deno.readTextFile(join(ROOT, name)));
}

const HINT =
  "run `deno task encoder fixtures/onnx/taps.onnx`, with --backend webgpu too";

Deno.test("encoders.lock is deno.lock with onnxruntime", async () => {
  const plain = await lockOf("deno.lock");
  const whole = await lockOf("encoders.lock");
  assert.doesNotMatch(JSON.stringify(plain), /onnx/);
  const onnx = Object.values(PACKAGES).map(({ npm }) => `npm:${npm}`);
  assert.deepEqual(
    Object.keys(whole.specifiers).filter((name) => name.includes("onnx")),
    onnx.sort(),
    HINT,
  );
  for (const [specifier, version] of Object.entries(plain.specifiers)) {
    assert.equal(whole.specifiers[specifier], version, HINT);
  }
  for (const [name, { integrity }] of Object.entries(plain.npm)) {
    assert.equal(whole.npm[name]?.integrity, integrity, `${name}: ${HINT}`);
  }
});
