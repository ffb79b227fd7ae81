/**
 * Runs tests on a copy of the tree with one fault in it.
 *
 * @module
 */
import { join } from "node:path";
import type { Mutant } from "./mutant.ts";

/** The outcome of a mutant; `broken` is one that no longer compiles. */
export type Outcome = "caught" | "survived" | "broken";

// Files and folders of the program and its tests.
const PARTS = [
  ...["kernels", "lib", "routes", "viewer", "tests", "fixtures"],
  ...["main.ts", "deno.json", "deno.lock", "encoders.lock"],
];

const NO_GPU = Deno.build.os === "windows" ? "metal" : "dx12";

// Of tests without a fault, on a busy machine.
const LONGEST_MS = 600_000;

/** A copy of the tree in which files may be changed. */
export class Scratch {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** Copies the tree at `root`; shared data beside it is seen, not copied. */
  static async of(root: string): Promise<Scratch> {
    const folder = await Deno.makeTempDir({ prefix: "zoomin-mutants-" });
    await Deno.mkdir(join(folder, "tree"));
    for (const part of PARTS) {
      await copy(join(root, part), join(folder, "tree", part));
    }
    const shared = join(root, "../shared");
    const isThere = await Deno.stat(shared).catch(() => undefined);
    if (isThere) await Deno.symlink(shared, join(folder, "shared"));
    return new Scratch(folder);
  }

  async remove(): Promise<void> {
    await Deno.remove(this.#folder, { recursive: true });
  }

  /**
   * Runs a mutant's tests with its fault in place, and takes it out again.
   *
   * @param mostMs after which they count as failed: a fault may make them wait
   *   for what never comes.
   */
  async outcomeOf(mutant: Mutant, mostMs: number): Promise<Outcome> {
    const { file, find, replacement } = mutant;
    const path = join(this.#folder, "tree", file);
    const source = await Deno.readTextFile(path);
    await Deno.writeTextFile(path, source.replace(find, () => replacement));
    try {
      return await this.test(mutant, mostMs);
    } finally {
      await Deno.writeTextFile(path, source);
    }
  }

  /** Runs tests on the unchanged tree: `survived` if all pass. */
  async test(
    { tests, gpu = false }: Pick<Mutant, "tests" | "gpu">,
    mostMs = LONGEST_MS,
  ): Promise<Outcome> {
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        ...["test", "--no-prompt", "--no-check", "--fail-fast", "--quiet"],
        ...["read", "write", "env", "sys", "ffi", "run", "net"]
          .map((kind) => `--allow-${kind}`),
        ...gpu ? ["--filter", "[webgpu]"] : [],
        ...tests,
      ],
      cwd: join(this.#folder, "tree"),
      // Deno finds no GPU by an API that this system lacks: half the time.
      env: gpu ? {} : { DENO_WEBGPU_BACKEND: NO_GPU },
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const timer = setTimeout(() => child.kill("SIGKILL"), mostMs);
    const { success, stdout, stderr } = await child.output();
    clearTimeout(timer);
    if (success) return "survived";
    const said = [stdout, stderr].map((part) => new TextDecoder().decode(part))
      .join("");
    return /could not be parsed|SyntaxError: .*(export|import)/.test(said)
      ? "broken"
      : "caught";
  }
}

async function copy(from: string, to: string): Promise<void> {
  const { isDirectory } = await Deno.stat(from);
  if (!isDirectory) return await Deno.copyFile(from, to);
  await Deno.mkdir(to);
  for await (const { name } of Deno.readDir(from)) {
    await copy(join(from, name), join(to, name));
  }
}
