/**
 * A Python client, made from the OpenAPI document as docs/server.md tells,
 * against our server.
 */
import assert from "node:assert/strict";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { folderOfFile, ROOT } from "../commands/process.ts";
import { drawModels, post, serve } from "../serve/served.ts";
import { output, programsOf, PYTHON_REQUIRED } from "../python.ts";

const SCRIPT = fileURLToPath(
  new URL("./generated_client.py", import.meta.url),
);
const TOKEN = "0123456789abcdef0123456789abcdef";
const IMAGE = "images/test_00000.png";
const SERVER = "http://127.0.0.1:8000"; // in the docs

interface Printed {
  models: string[];
  probabilities: Record<string, Record<string, number>>;
  rows: number;
  folds: number[];
  heatmap: string;
  jobs: string[];
  removed: number;
  refusals: Record<string, { status: number; error: string; field?: string }>;
}

if (PYTHON_REQUIRED) {
  // What the docs name: demo/data is their set of images.
  const folder = folderOfFile(async (folder) => {
    await drawModels(folder);
    await Deno.writeTextFile(join(folder, "token"), TOKEN);
    await Deno.mkdir(join(folder, "demo"));
    await Deno.symlink("../set", join(folder, "demo/data"));
    await Deno.symlink(join(ROOT, "docs"), join(folder, "docs"));
  });
  const flags = ["--models", "models", "--data-root", "set", "--workers", "1"];

  Deno.test("a Python client is made, without a warning, and works", async (t) => {
    const page = await Deno.readTextFile(join(ROOT, "docs/server.md"));
    const [, version] = /openapi-python-client\/\) ([\d.]+)/.exec(page)!;
    const [, commands, code] =
      /```sh\n(openapi-python-client .*?)```\n\n```python\n(.*?)```/s
        .exec(page)!;
    const programs = await programsOf(`openapi-python-client==${version}`);
    const python = join(programs, "python");
    const packages = join(folder, "packages");
    const environment = {
      cwd: folder,
      env: {
        PATH: `${programs}${delimiter}${Deno.env.get("PATH")}`,
        PYTHONPATH: packages,
      },
    };

    await t.step("as the docs tell", async () => {
      await using server = await serve(folder, ...flags);
      const here = (text: string) => text.replaceAll(SERVER, server.url);
      const making = here(commands!)
        .replace("generate", "$& --fail-on-warning")
        .replace("pip install", `$& --target ${packages}`);
      await output("sh", ["-ec", making], environment);
      const printed = await output(python, ["-c", here(code!)], environment);
      assert.match(
        printed,
        /^(negative|positive)\nsucceeded ClassificationProbabilities\(.*negative/,
      );
    });

    await t.step("with a token, on every kind of answer", async () => {
      await using server = await serve(
        folder,
        ...[...flags, "--token-file", "token"],
      );
      const image = join(folder, "set", IMAGE);
      const printed: Printed = JSON.parse(
        await output(python, [SCRIPT, server.url, TOKEN, image], environment),
      );
      const direct = await (await post(
        `${server.url}/v1/classify`,
        { path: IMAGE, seed: 3 },
        { authorization: `Bearer ${TOKEN}` },
      )).json();
      assertPrinted(printed, direct.probabilities);
    });
  });
} else {
  Deno.test({
    name: "a Python client is made of the OpenAPI document",
    ignore: true, // needs ZOOMIN_REQUIRE_CLIENTS=1
    fn() {},
  });
}

function assertPrinted(
  { probabilities, refusals, ...printed }: Printed,
  expected: Record<string, number>,
): void {
  assert.deepEqual(printed, {
    models: ["first"],
    rows: 20,
    folds: [1, 2],
    heatmap: "\x89PNG",
    jobs: ["train", "batch", "classify"],
    removed: 204,
  });
  assert.equal(Object.keys(probabilities).length, 5);
  for (const [name, found] of Object.entries(probabilities)) {
    assert.deepEqual(found, expected, name);
  }
  const told = Object.entries(refusals).map((
    [name, { status, field, error }],
  ) => [name, status, field, error.split(" ")[0]]);
  assert.deepEqual(told, [
    ["token", 401, undefined, "Missing"],
    ["field", 400, "samples", "Cannot"],
    ["image", 415, undefined, "Cannot"],
    ["gone", 404, undefined, "No"],
  ]);
}
