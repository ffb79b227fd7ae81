import assert from "node:assert/strict";
import { CLI_PAGE, cliPage } from "./cli.ts";

Deno.test("docs/cli.md has the text of --help: deno task docs makes it", async () => {
  assert.equal(await Deno.readTextFile(CLI_PAGE), await cliPage());
});
