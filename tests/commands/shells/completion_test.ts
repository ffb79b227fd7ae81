/** Completion in real shells, by the scripts that the program prints. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { COMMANDS } from "../../../main.ts";
import { folderOfFile, ROOT, succeed } from "../process.ts";

const FILES = ["a b.csv", "data.csv"], FOLDERS = ["runs", "run two"];
const CAPTURE = fileURLToPath(new URL("./capture.zsh", import.meta.url));

/** Words after `zoomin`, the last at the cursor, and what is offered there. */
const CASES: [words: string[], offered: string[]][] = [
  [[""], Object.keys(COMMANDS)],
  [["tr"], ["train"]],
  [["train", "--ba"], ["--backend"]],
  [["train", "--data", "manifest.csv", "--res"], ["--resume"]],
  [["train", "--preset", "tr"], ["traffic-signs", "traffic-signs-paper"]],
  [["train", "--backend", "w"], ["webgpu", "wasm"]],
  [["train", "--backend=w"], ["webgpu", "wasm"]],
  [["train", "--backend="], ["auto", "webgpu", "wasm"]],
  [["train", "--seed", "x"], []],
  [["train", "--data", ""], [...FILES, ...FOLDERS]],
  [["train", "--out", ""], FOLDERS],
  [
    ["train", "--foreground", ""],
    ["none", "tissue", ...FILES, ...FOLDERS],
  ],
  [["study", ""], ["colon", "needle", "gtsdb", "work"]],
  [["study", "needle", "--qu"], ["--quick"]],
  [["dataset", "s"], ["slide"]],
  [["classify", "data.csv", "d"], ["data.csv"]],
  [["completion", "z"], ["zsh"]],
];

const folder = folderOfFile(async (folder) => {
  for (const shell of ["bash", "zsh", "fish"]) {
    const { stdout } = await succeed(folder, "completion", shell);
    await Deno.writeTextFile(join(folder, shell), stdout);
  }
  await Deno.mkdir(work);
  for (const name of FILES) await Deno.writeTextFile(join(work, name), "");
  for (const name of FOLDERS) await Deno.mkdir(join(work, name));
});

const work = join(folder, "work"); // what is completed there; the scripts lie above

/** Output of a shell, a line a match. */
async function linesOf(
  shell: string,
  args: readonly string[],
  cwd = work,
): Promise<string[]> {
  const { stdout, stderr, success } = await new Deno.Command(shell, {
    args: [...args],
    cwd,
    stdin: "null",
    signal: AbortSignal.timeout(60_000), // if a shell waits for something
  }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout).split(/\r*\n/).filter(Boolean);
}

/** `words` as bash hands them over: taken apart at "=". */
function bashWords(words: readonly string[]): string[] {
  return words.flatMap((word) =>
    word.includes("=") ? word.split(/(=)/).filter(Boolean) : [word]
  );
}

/** Matches of bash, whose completion `name` is called with `words`. */
async function fromBash(
  name: string,
  words: readonly string[],
  { cwd = work, before = "" } = {},
): Promise<string[]> {
  const code = `${before}
    source "$1"; shift
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
    ${name}
    printf '%s\\n' "\${COMPREPLY[@]}"`;
  const script = join(folder, "bash");
  return await linesOf("bash", ["-c", code, "bash", script, ...words], cwd);
}

/** Matches by shell, for words after `zoomin`. */
const SHELLS: Record<string, (words: readonly string[]) => Promise<string[]>> =
  {
    bash: (words) => fromBash("_zoomin", ["zoomin", ...bashWords(words)]),
    async zsh(words) {
      const line = ["zoomin", ...words].join(" ");
      const lines = await linesOf("zsh", ["-f", CAPTURE, "../zsh", line]);
      return lines.filter((line) => line.startsWith("MATCH "))
        .map((line) => line.slice("MATCH ".length).replaceAll("\\", ""));
    },
    async fish(words) {
      const line = ["zoomin", ...words].join(" ");
      const code = `source ../fish; complete -C '${line}'`;
      return (await linesOf("fish", ["--no-config", "-c", code]))
        .map((match) => match.split("\t")[0]!.replace(/^--\w+=|\/$/g, ""));
    },
  };

function isInstalled(shell: string): boolean {
  try {
    const { success } = new Deno.Command(shell, { args: ["--version"] })
      .outputSync();
    return success;
  } catch {
    return false;
  }
}

for (const [shell, offeredBy] of Object.entries(SHELLS)) {
  Deno.test({
    name: `${shell} completes commands, flags, their values and files`,
    ignore: !isInstalled(shell),
    async fn() {
      for (const [words, offered] of CASES) {
        const found = new Set(await offeredBy(words));
        assert.deepEqual(
          [...found].sort(),
          offered.toSorted(),
          words.join(" "),
        );
      }
    },
  });
}

Deno.test("bash completes deno task in a folder of zoomin", async () => {
  const complete = (words: string[], cwd: string) =>
    fromBash("_zoomin_deno", ["deno", ...words], {
      cwd,
      before: "_deno() { COMPREPLY=(theirs); }",
    });
  assert.deepEqual(await complete(["task", "train", "--ba"], ROOT), [
    "--backend",
  ]);
  assert.deepEqual(await complete(["task", "pyr"], ROOT), ["pyramid"]);
  assert.deepEqual(await complete(["run", "tr"], ROOT), ["theirs"]);
  assert.deepEqual(await complete(["task", "tr"], work), ["theirs"]);
});
