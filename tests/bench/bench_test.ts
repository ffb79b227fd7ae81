/** `deno task bench` as a user runs it, with what takes the least time. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { outcome, taskCommands } from "../commands/process.ts";

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

/** Checks the rows of a bench's JSON. */
function assertRows(text: string, ids: readonly string[]): void {
  const { machine, rows } = JSON.parse(text);
  assert.ok(machine.cores > 0 && machine.cpu && machine.wasm);
  for (const id of ids) {
    assert.ok(rows.some((row: { id: string }) => row.id === id), id);
  }
  for (const { engine, oursMs, stockMs, ratio, note } of rows) {
    assert.match(engine, /^(wasm|webgpu)$/);
    assert.ok(oursMs > 0);
    assert.ok(stockMs === null ? ratio === null : stockMs > 0 && ratio > 0);
    assert.equal(typeof note, "string");
  }
}

Deno.test("bench prints rows as JSON, and its progress apart", async () => {
  const { code, stdout, stderr } = await bench("--only", "gather", "--json");
  assert.equal(code, 0, stderr);
  assertRows(stdout, ["gather"]);
  assert.match(stderr, /^gather wasm: /m);
});

Deno.test("bench names what it cannot run", async () => {
  const { code, stdout, stderr } = await bench("--only", "gather,pigeon");
  assert.equal(code, 2);
  assert.equal(stdout, "");
  assert.match(stderr, /^Cannot run "pigeon" as a benchmark: there are att/);
});

Deno.test("the recorded results hold what bench prints", async () => {
  const folder = join(ROOT, "tests", "bench", "results");
  let found = 0;
  for await (const { name } of Deno.readDir(folder)) {
    assertRows(await Deno.readTextFile(join(folder, name)), ["step-colon"]);
    found++;
  }
  assert.ok(found > 0);
});
