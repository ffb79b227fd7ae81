/** The examples, run as their headers say. */
import assert from "node:assert/strict";
import { join } from "node:path";
import {
  drawAndTrain,
  folderOfFile,
  outcome,
  ROOT,
} from "./commands/process.ts";
import { serveFile } from "./image/file_server.ts";
import { withServer } from "./serve/served.ts";

const IMAGE = "set/images/test_00000.png";
const folder = folderOfFile(async (folder) => {
  await drawAndTrain(folder);
  await Deno.mkdir(join(folder, "models"));
  await Deno.rename(join(folder, "run"), join(folder, "models/first"));
});

/** Runs an example and returns its output. */
async function run(name: string, ...argv: string[]): Promise<string> {
  const example = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", join(ROOT, "examples", name), ...argv],
    cwd: folder,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    env: { NO_COLOR: "1" },
  });
  const { code, stdout, stderr } = await outcome(example.spawn());
  assert.equal(code, 0, stderr);
  return stdout;
}

Deno.test("example: classify one image", async () => {
  const printed = await run("classify_one.ts", "models/first", IMAGE);
  assert.match(printed, /^(wasm|webgpu): (negative|positive) \{/);
  const heat = await Deno.readFile(join(folder, "heat.png"));
  assert.deepEqual(
    [...heat.subarray(1, 4)],
    [..."PNG"].map((c) => c.charCodeAt(0)),
  );
});

Deno.test("example: a remote slide", async () => {
  const slide = await Deno.readFile(join(ROOT, "fixtures/tiff/pages_jpeg.tif"));
  await using server = await serveFile(slide);
  const printed = await run("remote_slide.ts", server.url);
  assert.match(printed, /^67 x 45 px/);
  assert.match(printed, /\d+ bytes in \d+ requests/);
});

Deno.test("example: train in process", async () => {
  const printed = await run(
    "train_in_process.ts",
    "set/manifest.csv",
    "example",
  );
  assert.match(
    printed,
    /^best epoch: 1\naccuracy: \{\s+value: [\d.]+,\s+interval: \{/,
  );
});

Deno.test("example: the HTTP client", async () => {
  await withServer(folder, {}, async (url) => {
    const printed = await run("client.ts", url, "images/test_00000.png");
    assert.match(printed, /^first [0-9a-f]{12}: (negative|positive) \{/);
  });
});

/** Runs a subcommand of Deno on files of the library. */
async function deno(...args: string[]): Promise<void> {
  const process = new Deno.Command(Deno.execPath(), {
    args,
    cwd: ROOT,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    env: { NO_COLOR: "1" },
  });
  const { code, stderr } = await outcome(process.spawn());
  assert.equal(code, 0, stderr);
}

Deno.test("the examples in doc comments type-check", async () => {
  await deno("check", "--doc-only", "lib/mod.ts", "lib/client.ts");
});

Deno.test("all that the library and the client export is documented", async () => {
  await deno("doc", "--lint", "lib/mod.ts", "lib/client.ts");
});
