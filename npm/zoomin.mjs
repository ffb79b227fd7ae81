#!/usr/bin/env node
// `npx zoomin COMMAND`: runs the command in the Deno that the package pins,
// with
// the permissions of its task in deno.json.
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const config = fileURLToPath(new URL("../deno.json", import.meta.url));
const main = fileURLToPath(new URL("../main.ts", import.meta.url));
const deno = createRequire(import.meta.url).resolve("deno/bin.cjs");

const { tasks } = JSON.parse(readFileSync(config, "utf8"));
const [name = "--help", ...rest] = process.argv.slice(2);
const isCommand = tasks[name]?.command.endsWith(` main.ts ${name}`);
// Permissions from "deno run FLAGS main.ts NAME"; --help only reads.
const { command } = tasks[isCommand ? name : "classify"];
// The lock is beside deno.json, not in the current folder.
const root = fileURLToPath(new URL("..", import.meta.url));
const flags = command.split(" ").slice(2, -2)
  .map((flag) => flag.replace(/^--lock=/, (name) => name + root));

const child = spawn(
  process.execPath,
  [deno, "run", "--config", config, ...flags, main, name, ...rest],
  { stdio: "inherit" },
);
// A terminal sends Ctrl-C to both: the command ends first, and we after it.
process.on("SIGINT", () => {});
process.on("SIGTERM", () => child.kill("SIGTERM"));
child.on("exit", (code) => process.exit(code ?? 1));
