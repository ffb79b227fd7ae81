/**
 * The npm package, as its users meet it: packed, installed in an empty folder,
 * and run by `npx`.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import {
  drawAndTrain,
  folderOfFile,
  type Outcome,
  ROOT,
} from "./commands/process.ts";
import { withFolder } from "./data/folder.ts";

const folder = folderOfFile(drawAndTrain);

async function program(
  command: string,
  args: string[],
  cwd: string,
): Promise<Outcome> {
  const { code, stdout, stderr } = await new Deno.Command(command, {
    args,
    cwd,
    stdin: "null",
    env: { NO_COLOR: "1" },
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

async function succeed(...call: Parameters<typeof program>): Promise<string> {
  const { code, stdout, stderr } = await program(...call);
  assert.equal(code, 0, stderr);
  return stdout;
}

Deno.test("npx zoomin works from the tarball in an empty folder", async () => {
  await withFolder(async (empty) => {
    const packed = await succeed(
      Deno.execPath(),
      ["task", "-q", "pack", empty],
      ROOT,
    );
    await Deno.writeTextFile(join(empty, "package.json"), "{}");
    await succeed(
      "npm",
      ["install", "--no-audit", "--no-fund", packed.trim()],
      empty,
    );
    const npx = (...args: string[]) =>
      program("npx", ["zoomin", ...args], empty);
    const checkpoint = ["--checkpoint", join(folder, "run")];
    const { stdout, stderr } = await npx(
      ...["classify", ...checkpoint, "--backend", "wasm"],
      join(folder, "set/images/test_00000.png"),
    );
    assert.match(stdout, /test_00000\.png: (negative|positive) \(/, stderr);

    assert.match((await npx("--help")).stdout, /^ {2}classify /m);
    const { stdout: script } = await npx("completion", "bash");
    assert.match(script, /^complete .* zoomin$/m);
    const wrong = await npx(
      "classify",
      ...checkpoint,
      "--smaples",
      "3",
      "x.png",
    );
    assert.equal(wrong.code, 2);
    assert.match(wrong.stderr, /did you mean --samples\?$/m);
  });
});
