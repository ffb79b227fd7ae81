/** What a server gives back once it has nothing to do. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { outcome, taskFlags } from "../commands/process.ts";
import { within } from "../waiting.ts";
import { idleCollector } from "../../lib/serve/idle_collector.ts";

const GARBAGE = fileURLToPath(new URL("idle_garbage.ts", import.meta.url));

Deno.test("what is no longer used is collected once work has ended", async () => {
  const process = new Deno.Command(Deno.execPath(), {
    args: [...taskFlags("serve"), GARBAGE],
    env: { DENO_V8_FLAGS: "--trace-gc" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  try {
    const { code, stdout } = await within("it is collected", outcome(process));
    assert.equal(code, 0);
    // V8 tells who asked: it would collect by itself, but much later.
    assert.match(stdout, /Mark-Compact \(reduce\).* testing/);
    assert.match(stdout, /collected/);
  } catch (error) {
    process.kill();
    throw error;
  }
});

Deno.test("without V8's flag nothing is collected, and no timer is left", () => {
  idleCollector()();
});
