/** `deno task bench` as a user runs it, with what takes the least time. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { findAdapter } from "../../lib/engine/webgpu.ts";
import { outcome, taskCommands } from "../commands/process.ts";
import type { Row } from "./measure.ts";
import { cells } from "./table.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

function bench(...argv: string[]) {
  const [, ...flags] = taskCommands.bench!.split(" "); // without "deno"
  const process = new Deno.Command(Deno.execPath(), {
    args: [...flags, ...argv],
    cwd: ROOT,
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  return outcome(process);
}

/** Checks a bench's JSON and returns the ids of its rows. */
function assertRows(text: string): Set<string> {
  const { machine, rows } = JSON.parse(text);
  assert.ok(machine.cores > 0 && machine.cpu && machine.wasm);
  for (const { engine, oursMs, stockMs, ratio, note } of rows) {
    assert.match(engine, /^(wasm|webgpu)$/);
    assert.ok(oursMs > 0);
    assert.ok(stockMs === null ? ratio === null : stockMs > 0 && ratio > 0);
    assert.equal(typeof note, "string");
  }
  return new Set(rows.map(({ id }: { id: string }) => id));
}

Deno.test("bench prints rows as JSON, and its progress apart", async () => {
  const { code, stdout, stderr } = await bench("--only", "gather", "--json");
  assert.equal(code, 0, stderr);
  assert.deepEqual([...assertRows(stdout)], ["gather"]);
  assert.match(stderr, /^gather wasm: /m);
});

Deno.test({
  name:
    "bench --gpu-report tests the kernels of both engines and compares networks",
  ignore: await findAdapter() === null,
  async fn() {
    const { code, stdout, stderr } = await bench(
      "--gpu-report",
      ...["--only", "gather"],
    );
    assert.equal(code, 0, stderr);
    assert.deepEqual([...assertRows(stdout)], ["gather"]);
    const { kernels, differences } = JSON.parse(stdout);
    for (const engine of ["wasm", "webgpu"]) {
      assert.ok(kernels[engine].length > 10);
      assert.ok(
        kernels[engine].every(({ passed }: { passed: boolean }) => passed),
      );
    }
    assert.deepEqual(Object.keys(differences), ["colon", "needle"]);
    for (const difference of Object.values(differences)) {
      assert.ok((difference as number) < 1e-4, stdout);
    }
  },
});

Deno.test("bench names what it cannot run", async () => {
  const { code, stdout, stderr } = await bench("--only", "gather,pigeon");
  assert.equal(code, 2);
  assert.equal(stdout, "");
  assert.match(stderr, /^Cannot run "pigeon" as a benchmark: there are att/);
});

/** The recorded results, as bench prints them with --json. */
async function records(): Promise<string[]> {
  const folder = join(ROOT, "tests", "bench", "results");
  const files = await Array.fromAsync(Deno.readDir(folder));
  assert.ok(files.length > 0);
  return await Promise.all(
    files.map(({ name }) => Deno.readTextFile(join(folder, name))),
  );
}

Deno.test("every benchmark was recorded, as bench prints it", async () => {
  const { stdout } = await bench("--help");
  const [, names] = /some of: ([\s\S]+?)\n {2}--engine/.exec(stdout)!;
  const listed = names!.split(/,\s+/);
  const recorded = new Set<string>();
  for (const text of await records()) {
    for (const id of assertRows(text)) recorded.add(id);
  }
  assert.deepEqual([...recorded].sort(), listed.sort());
});

Deno.test("the figures of docs/benchmarks.md are those that were recorded", async () => {
  const recorded = new Set<string>();
  for (const text of await records()) {
    const { rows } = JSON.parse(text) as { rows: Row[] };
    for (const row of rows) recorded.add(cells(row).join(" | "));
  }
  const page = await Deno.readTextFile(join(ROOT, "docs/benchmarks.md"));
  const lines = page.match(/^\| \S+ +\| (wasm|webgpu) .*\|$/gm) ?? [];
  const shown = lines.map((line) =>
    line.slice(1, -1).split("|").map((cell) => cell.trim()).join(" | ")
  );
  assert.ok(shown.length > 20);
  for (const row of shown) assert.ok(recorded.has(row), row);
});
