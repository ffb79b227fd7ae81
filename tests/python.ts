/**
 * Programs of others in Python. Their packages are fetched into virtual
 * environments, so tests of them run in the gate (ZOOMIN_REQUIRE_CLIENTS=1) and
 * are ignored elsewhere.
 *
 * @module
 */
import assert from "node:assert/strict";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { exists } from "../lib/files.ts";

/** The tests of programs in Python must run. */
export const PYTHON_REQUIRED: boolean =
  Deno.env.get("ZOOMIN_REQUIRE_CLIENTS") === "1";

/** Python of a virtual environment that has the packages; made once. */
export async function pythonWith(...packages: string[]): Promise<string> {
  const requirement = packages.join(" ");
  const name = `zoomin-clients-${requirement.replaceAll(/[^\w.]+/g, "-")}`;
  const folder = join(tmpdir(), name);
  using lock = await Deno.open(`${folder}.lock`, { create: true, write: true });
  await lock.lock(true); // another run may be making it
  const python = join(folder, "bin", "python");
  const whole = join(folder, "whole");
  if (!await exists(whole)) {
    await output("python3", "-m", "venv", "--clear", folder);
    await output(python, "-m", "pip", "install", "--quiet", ...packages);
    await Deno.writeTextFile(whole, "");
  }
  return python;
}

/** The output of a command, which must succeed. */
export async function output(
  command: string,
  ...args: string[]
): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, { args })
    .output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  assert.ok(success, `${command} ${args.join(" ")}: ${text(stderr)}`);
  return text(stdout);
}
