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

Deno.test("bench names what it cannot run", async () => {
  const { code, stdout, stderr } = await bench("--only", "gather,pigeon");
  assert.equal(code, 2);
  assert.equal(stdout, "");
  assert.match(stderr, /^Cannot run "pigeon" as a benchmark: there are att/);
});

Deno.test("what was recorded is what bench prints", async () => {
  const { stdout } = await bench("--help");
  const listed = /some of: (.+)/.exec(stdout)![1]!.split(", ");
  const folder = join(ROOT, "tests", "bench", "results");
  const recorded = new Set<string>();
  for await (const { name } of Deno.readDir(folder)) {
    const ids = assertRows(await Deno.readTextFile(join(folder, name)));
    for (const id of ids) recorded.add(id);
  }
  assert.ok(recorded.size > 0);
  for (const id of recorded) assert.ok(listed.includes(id), id);
});
