import assert from "node:assert/strict";
import { run } from "../../lib/commands/doctor.ts";
import { UsageError } from "../../lib/errors.ts";
import { findAdapter } from "../../lib/engine/webgpu.ts";
import { withZeros } from "../engines.ts";

const adapter = await findAdapter();

/** Runs the command and returns what it printed. */
async function doctor(...argv: string[]) {
  const lines: string[] = [];
  const { log } = console;
  console.log = (line: string) => lines.push(line);
  try {
    const code = await run(argv);
    return { code, output: lines.join("\n") };
  } finally {
    console.log = log;
  }
}

Deno.test("doctor reports versions, adapter, choice and each kernel", async () => {
  const { code, output } = await doctor();
  assert.equal(code, 0);
  for (
    const part of [
      /^deno +\d/m,
      /^tfjs +4\.22\.0$/m,
      /^libvips +\d/m,
      /^turbojpeg (not )?found: /m,
      /^auto +(wasm|webgpu): /m,
      /^wasm .*ok.* softmax/m,
      adapter
        ? /^webgpu .*ok.* softmax/m
        : /^adapter +none: .*apt-get install/m,
    ]
  ) assert.match(output, part);
});

Deno.test("doctor --json prints one document", async () => {
  const { code, output } = await doctor("--json");
  assert.equal(code, 0);
  const report = JSON.parse(output);
  assert.equal(report.versions.deno, Deno.version.deno);
  assert.equal(report.adapter !== null, adapter !== undefined);
  assert.deepEqual(
    report.engines.map(({ backend }: { backend: string }) => backend),
    adapter ? ["wasm", "webgpu"] : ["wasm"],
  );
  for (const { kernels } of report.engines) assert.ok(kernels.length >= 5);
});

Deno.test("doctor exits with 1 if a kernel fails", async () => {
  await withZeros("zoomin/Softmax", "wasm", async () => {
    const { code, output } = await doctor();
    assert.equal(code, 1);
    assert.match(output, /^wasm .*FAILED.* softmax/m);
  });
});

Deno.test("doctor refuses what it does not know", async () => {
  await assert.rejects(run(["--fast"]), UsageError);
  await assert.rejects(run(["now"]), UsageError);
});
