/** `deno task attack`; what it does takes minutes, and is not done here. */
import assert from "node:assert/strict";
import { outcome, ROOT, taskCommands } from "../commands/process.ts";

Deno.test("attack names what it cannot do", async () => {
  const faults: [string[], RegExp][] = [
    [
      ["pigeon"],
      /^There is no attack "pigeon": there are kills, memory, bodies, costly$/m,
    ],
    [
      ["kills", "--times", "many"],
      /^--times is "many": write a whole number$/m,
    ],
  ];
  for (const [argv, message] of faults) {
    const [, ...flags] = taskCommands.attack!.split(" ");
    const { code, stdout, stderr } = await outcome(
      new Deno.Command(Deno.execPath(), {
        args: [...flags, ...argv],
        cwd: ROOT,
        stdout: "piped",
        stderr: "piped",
      }).spawn(),
    );
    assert.deepEqual({ code, stdout }, { code: 2, stdout: "" });
    assert.match(stderr, message);
  }
});
