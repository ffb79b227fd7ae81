/**
 * Python packages for tests, in virtual environments of their own. They are
 * fetched, so such tests run in the gate (ZOOMIN_REQUIRE_CLIENTS=1) and are
 * ignored elsewhere.
 *
 * @module
 */
import assert from "node:assert/strict";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { exists } from "../lib/files.ts";

/** True where tests of Python packages must run. */
export const PYTHON_REQUIRED = Deno.env.get("ZOOMIN_REQUIRE_CLIENTS") === "1";

/** Folder of the programs of a virtual environment with packages; made once. */
export async function programsOf(...requirements: string[]): Promise<string> {
  const name = requirements.join(" ").replaceAll(/[^\w.]+/g, "-");
  const folder = join(tmpdir(), `zoomin-clients-${name}`);
  using lock = await Deno.open(`${folder}.lock`, { create: true, write: true });
  await lock.lock(true); // another run may be making it
  const programs = join(folder, "bin");
  const whole = join(folder, "whole");
  if (!await exists(whole)) {
    await output("python3", ["-m", "venv", "--clear", folder]);
    const pip = ["-m", "pip", "install", "--quiet", ...requirements];
    await output(join(programs, "python"), pip);
    await Deno.writeTextFile(whole, "");
  }
  return programs;
}

/** The output of a command, which must succeed. */
export async function output(
  command: string,
  args: string[],
  options: Pick<Deno.CommandOptions, "cwd" | "env"> = {},
): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, {
    args,
    ...options,
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  const said = text(stderr) + text(stdout);
  assert.ok(success, `${command} ${args.join(" ")}: ${said}`);
  return text(stdout);
}
