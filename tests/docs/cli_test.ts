import assert from "node:assert/strict";
import { CLI_PAGE, cliPage } from "./cli.ts";

Deno.test("docs/cli.md is what --help prints: deno task docs makes it", async () => {
  assert.equal(await Deno.readTextFile(CLI_PAGE), await cliPage());
});
