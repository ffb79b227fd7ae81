/**
 * Every command in README and docs: run as it stands, in a folder that holds what
 * it names, or listed here with the reason why it is not.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import {
  drawSet,
  folderOfFile,
  outcome,
  ROOT,
  SMALL,
  succeed,
  zoomin,
} from "../commands/process.ts";
import { serve } from "../serve/served.ts";

/** Commands that are not run here, and why. */
const ELSEWHERE: [RegExp, string][] = [
  [/^npx -y deno@\S+ task \w/, "the gate, and what it runs"],
  [/^deno task (bench|bench:gigapixel|study)\b/, "hours; tests of their own"],
  [/^(time )?deno run -A tests\/bench\//, "measurements"],
  [/^deno task attack\b/, "minutes"],
  [/^time deno task train\b/, "a measurement"],
  [/^deno task dataset megapixel-mnist\b/, "needs MNIST; its own test"],
  [/--clini /, "tests/commands/tables_test.ts"],
  [/^deno task encoder\b/, "needs a network; its own test"],
  [/^deno task serve\b/, "the server of the test below"],
  [/slides\.example\.org/, "a host that does not exist"],
  [/^(openapi-python-client|pip) /, "tests/routes/generated_client_test.ts"],
  [/^(token=|printf )/, "makes a token; tests/serve/auth_test.ts runs it"],
];
// For hosts of which this is not one: where root installs a service, or many.
const NOT_HERE = ["deploy.md", "scale.md", "cli.md"];
// To make a command of minutes one of seconds: of two flags the last counts.
const SMALLER: Record<string, string[]> = {
  train: [
    ...SMALL.slice(2), // after the preset
    ...["--set", "training.contrastiveFrom=null", "--epochs", "1"],
  ],
  dataset: ["--images", "4", "--test", "2"],
};
// Frozen features have views of their own.
const SMALLER_FROZEN = [
  ...["view.samples=4", "evaluation.samples=4", "training.dense.copies=0"]
    .flatMap((setting) => ["--set", setting]),
  ...["--epochs", "1", "--backend", "wasm"],
];
const LABELS = ["negative", "positive"];
const SERVER = "http://127.0.0.1:8000";

const folder = folderOfFile(async (folder) => {
  await drawSet(folder);
  await Deno.mkdir(join(folder, "demo"));
  await Deno.rename(join(folder, "set"), join(folder, "demo/data"));
  const manifest = join(folder, "demo/data/manifest.csv");
  await succeed(
    folder,
    ...["train", "--data", manifest, "--out", "demo/run"],
    ...[...SMALL, "--epochs", "1"],
  );
  const images = await Array.fromAsync(
    Deno.readDir(join(folder, "demo/data/images")),
  );
  const rows = images.map(({ name }, i) =>
    `demo/data/images/${name},${LABELS[i % 2]},${i % 5},${Math.floor(i / 4)}`
  );
  await Deno.writeTextFile(
    join(folder, "manifest.csv"),
    ["image,label,fold,site", ...rows].join("\n"),
  );
  await Deno.copyFile(
    join(folder, "demo/data/images/test_00000.png"),
    join(folder, "picture.png"),
  );
});

function smaller(name: string, args: readonly string[]): string[] {
  return args.includes("--features") ? SMALLER_FROZEN : SMALLER[name] ?? [];
}

/** The lines of the fenced shell blocks of a page; a long one is one command. */
function commandsOf(markdown: string): string[] {
  const blocks = [...markdown.matchAll(/^```sh\n([\s\S]*?)^```$/gm)];
  return blocks.flatMap(([, block]) =>
    block!.replaceAll(/\s*\\\n\s*/g, " ").split("\n")
      .map((line) => line.replace(/\s+#.*$/, "").trim())
      .filter((line) => line !== "")
  );
}

async function pages(): Promise<[name: string, text: string][]> {
  const names = ["README.md"];
  for await (const { name } of Deno.readDir(join(ROOT, "docs"))) {
    if (name.endsWith(".md") && !NOT_HERE.includes(name)) {
      names.push(`docs/${name}`);
    }
  }
  return await Promise.all(
    names.sort().map(async (name): Promise<[string, string]> => [
      name,
      await Deno.readTextFile(join(ROOT, name)),
    ]),
  );
}

const commands = (await pages()).flatMap(([page, text]) =>
  commandsOf(text).map((command) => ({ page, command }))
).filter(({ command }, i, all) =>
  !ELSEWHERE.some(([pattern]) => pattern.test(command)) &&
  all.findIndex((other) => other.command === command) === i
);

Deno.test("the commands of the pages are found", () => {
  assert.ok(commands.length >= 15, `${commands.length}`);
  const heads = new Set(commands.map(({ command }) => command.split(" ")[0]));
  assert.deepEqual([...heads].sort(), ["curl", "deno", "mkdir"]);
});

for (const { page, command } of commands) {
  if (command.startsWith("curl ")) continue;
  Deno.test(`${page}: ${command}`, async () => {
    const [, , name = "", ...args] = command.split(" ");
    if (!command.startsWith("deno task ")) {
      await shell(command);
      return;
    }
    // A second page may train into the same folder.
    if (name === "train") await remove(args[args.indexOf("--out") + 1]!);
    const { code, stderr } = await zoomin(
      folder,
      name,
      ...[...args, ...smaller(name, args)],
    );
    assert.equal(code, 0, stderr);
  });
}

Deno.test("the server answers the requests of the docs", async (t) => {
  await shell(
    "mkdir -p models && rm -rf models/demo && cp -r demo/run models/demo",
  );
  await using server = await serve(
    folder,
    ...["--models", "models", "--data-root", "demo/data"],
  );
  let job = "";
  for (const { page, command } of commands) {
    if (!command.startsWith("curl ")) continue;
    await t.step(`${page}: ${command}`, async () => {
      const asked = command
        .replace("curl ", "curl --silent --show-error --fail-with-body ")
        .replace(SERVER, server.url)
        .replace('"epochs": 30', '"epochs": 1')
        .replace("/ID", `/${job}`);
      const isDone = job !== "" && !command.includes("/result");
      if (command.includes("/result")) await ended(server.url, job);
      const { stdout } = await shell(asked, { fails: isDone });
      if (/\/v1\/batch/.test(command)) job = JSON.parse(stdout).id;
    });
  }
});

/** Waits for the end of a job: its events end with it. */
async function ended(url: string, job: string): Promise<void> {
  const events = await fetch(`${url}/v1/jobs/${job}/events`);
  await events.text();
}

async function remove(path: string): Promise<void> {
  await Deno.remove(join(folder, path), { recursive: true }).catch(() => {});
}

/** Runs a line in `sh`. @param options.fails whether it may. */
async function shell(line: string, { fails = false } = {}) {
  const process = new Deno.Command("sh", {
    args: ["-c", line],
    cwd: folder,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  });
  const result = await outcome(process.spawn());
  if (!fails) assert.equal(result.code, 0, result.stderr + result.stdout);
  return result;
}
