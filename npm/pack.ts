/**
 * Packs the npm package: the code, and a program that runs it in the Deno that
 * the package pins. The repository itself has no package.json, because Deno would
 * read dependencies from it.
 *
 *     deno task pack DIR    writes zoomin-VERSION.tgz into DIR
 *
 * @module
 */
import { execFile } from "node:child_process";
import { cp } from "node:fs/promises";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import project from "../deno.json" with { type: "json" };
import template from "./package.json" with { type: "json" };

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const FILES = [
  ...["main.ts", "deno.json", "deno.lock", "encoders.lock"],
  ...[
    "kernels",
    "lib",
    "routes",
    "viewer",
    "npm/zoomin.mjs",
    "README.md",
    "LICENSE",
  ],
];

const [out] = Deno.args;
if (out === undefined) {
  console.error("Missing folder to write to: deno task pack DIR");
  Deno.exit(2);
}
const folder = await Deno.makeTempDir();
try {
  for (const name of FILES) {
    await cp(join(ROOT, name), join(folder, name), { recursive: true });
  }
  const { version, license } = project;
  const description = { ...template, version, license };
  await Deno.writeTextFile(
    join(folder, "package.json"),
    `${JSON.stringify(description, null, 2)}\n`,
  );
  const { stdout } = await promisify(execFile)(
    "npm",
    ["pack", "--silent", "--pack-destination", resolve(out)],
    { cwd: folder },
  );
  console.log(join(out, stdout.trim()));
} finally {
  await Deno.remove(folder, { recursive: true });
}
