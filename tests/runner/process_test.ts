/** The runner of the tests: passed, failed, crashed and ignored ones. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { withFolder } from "../data/folder.ts";
import { judge, runTests } from "./process.ts";

const FILES = {
  passes: 'Deno.test("one", () => {}); Deno.test("two", () => {});',
  fails: 'Deno.test("bad", () => { throw new Error("so it is"); });',
  ignores:
    'Deno.test("good", () => {}); Deno.test({ name: "later", ignore: true, fn() {} });',
  crashes:
    'Deno.test("good", () => {}); Deno.test("hit", () => { Deno.kill(Deno.pid, "SIGKILL"); for (;;); });',
  breaks: 'throw new Error("at once");',
};

async function writeTests(folder: string): Promise<void> {
  for (const [name, text] of Object.entries(FILES)) {
    await Deno.writeTextFile(join(folder, `${name}_test.ts`), text);
  }
}

Deno.test("files are judged by Deno's output", async () => {
  await withFolder(async (folder) => {
    await writeTests(folder);
    const run = async (name: string) => {
      const options = { flags: ["--no-check"], env: {}, onLine() {} };
      const { failures, ...counts } = await runTests(
        [join(folder, `${name}_test.ts`)],
        options,
      );
      return { ...counts, tells: failures !== "" };
    };
    const none = { failed: 0, ignored: [], tells: false };
    assert.deepEqual(await run("passes"), { ...none, passed: 2 });
    assert.deepEqual(await run("ignores"), {
      ...none,
      passed: 1,
      ignored: ["later"],
    });
    const one = { passed: 0, failed: 1, ignored: [], tells: true };
    for (const name of ["fails", "crashes", "breaks"]) {
      assert.deepEqual(await run(name), one, name);
    }
  });
});

const CLOSING = "ok | 12 passed (3 steps) | 0 failed | 1 ignored (9s)";

Deno.test("a crash after all have passed is no failure, one before it is", () => {
  const crash = { code: 139, signal: "SIGSEGV" };
  const { note, ...rest } = judge(["later ... ignored (0ms)", CLOSING], crash);
  assert.deepEqual(rest, {
    passed: 12,
    failed: 0,
    ignored: ["later"],
    failures: "",
  });
  assert.match(note!, /all passed; then the process was ended by SIGSEGV/);
  for (
    const [lines, ending] of [
      [["one ... ok (1ms)"], crash],
      [["one ... ok (1ms)"], { code: 0, signal: null }],
      [[CLOSING], { code: 1, signal: null }],
      [[CLOSING.replace("ok", "FAILED").replace("0 f", "2 f")], crash],
    ] as const
  ) {
    assert.ok(judge(lines, ending).failed > 0, lines[0]);
  }
});

Deno.test("the task closes as Deno does, with every failure told", async () => {
  await withFolder(async (folder) => {
    await writeTests(folder);
    const main = fileURLToPath(new URL("./main.ts", import.meta.url));
    const run = async (...argv: string[]) => {
      const { code, stdout } = await new Deno.Command(Deno.execPath(), {
        args: ["run", "--allow-read", "--allow-run", main, ...argv],
        env: { NO_COLOR: "1" },
      }).output();
      return { code, text: new TextDecoder().decode(stdout).trimEnd() };
    };
    const all = await run(folder, "--no-check");
    assert.equal(all.code, 1);
    assert.match(all.text, /so it is/);
    assert.match(all.text, /ended by SIGKILL before its tests did/);
    assert.match(all.text, /\nIgnored:\n {2}later\n/);
    const closing = /\nFAILED \| 3 passed \| 3 failed \| 1 ignored \(\d+s\)$/;
    assert.match(all.text, closing);
    const filtered = await run(
      join(folder, "passes_test.ts"),
      ...["--filter=one", "--no-check"],
    );
    assert.equal(filtered.code, 0);
    assert.match(filtered.text, /\nok \| 1 passed \| 0 failed \(\d+s\)$/);
    assert.equal((await run(join(folder, "none"))).code, 2);
  });
});
