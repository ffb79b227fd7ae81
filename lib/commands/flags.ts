/**
 * Reading the command line: every fault is a {@linkcode UsageError} of one
 * line that names the flag.
 *
 * @module
 */
import { parseArgs, type ParseArgsOptionsConfig } from "node:util";
import { type BackendChoice, BACKENDS } from "../engine/select.ts";
import { UsageError } from "../errors.ts";
import { fileForeground, type ForegroundChoice } from "../image/tissue.ts";
import { DEFAULT_MEMORY_BYTES, LEAST_MEMORY_BYTES, Memory } from "../memory.ts";
import { MAX_SAMPLES } from "../model/config.ts";
import { nearest } from "../nearest.ts";
import { checkOutputFile } from "./outputs.ts";

type Values = Record<string, string | boolean | string[] | undefined>;

const MAX_WORKERS = 64;

const UNITS: Record<string, number> = {
  MB: 1e6,
  GB: 1e9,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
};

/** Flags of how images are looked at: `memory()` and `foreground()`. */
export const LOOK_FLAGS = {
  memory: { type: "string" },
  foreground: { type: "string" },
} as const;

/** Their part of a usage text. */
export const LOOK_USAGE =
  `  --foreground WHAT  where to look: none (everywhere), tissue, or a file: a mask
                     image, white where to look, or GeoJSON polygons
                     (view.foreground of the configuration)
  --memory SIZE      bound on tensors and caches of all workers, beside some
                     200 MB of the program itself (${
    DEFAULT_MEMORY_BYTES / 1e6
  }MB a worker)`;

/** Flags as node:util parsed them, read by kind. */
export class Flags {
  readonly #values: Values;
  /** Arguments that are no flags. */
  readonly positionals: readonly string[];

  /** @throws {UsageError} If a flag is unknown or lacks its value. */
  constructor(
    args: string[],
    options: ParseArgsOptionsConfig,
    { positionals = false }: { positionals?: boolean } = {},
  ) {
    try {
      const parsed = parseArgs({
        args,
        options,
        strict: true,
        allowPositionals: positionals,
      });
      this.#values = parsed.values as Values;
      this.positionals = parsed.positionals;
    } catch (cause) {
      throw new UsageError(refusal(cause as Error, options), { cause });
    }
  }

  /** Whether a switch was given. */
  has(name: string): boolean {
    return this.#values[name] !== undefined && this.#values[name] !== false;
  }

  /** The text of a flag, or undefined; never empty. */
  text(name: string): string | undefined {
    const value = this.#values[name];
    if (typeof value !== "string") return undefined;
    if (value === "") throw new UsageError(`Cannot take --${name} as empty`);
    return value;
  }

  /** A file to write: refused now rather than when the work is done. */
  outputFile(name: string): string | undefined {
    const path = this.text(name);
    if (path === undefined) return undefined;
    checkOutputFile(path, `--${name} ${path}`);
    return path;
  }

  /** The texts of a flag that may be repeated. */
  texts(name: string): string[] {
    const value = this.#values[name];
    return Array.isArray(value) ? value : [];
  }

  /** The text of a flag that must be there. */
  required(name: string, what: string): string {
    const value = this.text(name);
    if (value === undefined) {
      throw new UsageError(`Cannot go on without --${name} ${what}`);
    }
    return value;
  }

  /** An integer in [least, most], or undefined where the flag is absent. */
  integer(
    name: string,
    { least = 0, most = Number.MAX_SAFE_INTEGER } = {},
  ): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < least || value > most) {
      throw new UsageError(
        `Cannot take --${name} as it must be an integer in [${least}, ${most}]: current value is "${text}"`,
      );
    }
    return value;
  }

  /** A number in [least, most], or undefined where the flag is absent. */
  number(
    name: string,
    { least, most }: { least: number; most: number },
  ): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const value = Number(text);
    if (text.trim() === "" || !(value >= least && value <= most)) {
      throw new UsageError(
        `Cannot take --${name} as it must be a number in [${least}, ${most}]: current value is "${text}"`,
      );
    }
    return value;
  }

  /** A number in [0, 1), or undefined where the flag is absent. */
  fraction(name: string): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const value = Number(text);
    if (text.trim() === "" || !(value >= 0 && value < 1)) {
      throw new UsageError(
        `Cannot take --${name} as it must be a number in [0, 1): current value is "${text}"`,
      );
    }
    return value;
  }

  /** One of `words`, or undefined where the flag is absent. */
  oneOf<Word extends string>(
    name: string,
    words: readonly Word[],
  ): Word | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const word = words.find((word) => word === text);
    if (word === undefined) {
      throw new UsageError(
        `Cannot take --${name} as it must be ${
          words.join(" or ")
        }: current value is "${text}"`,
      );
    }
    return word;
  }

  /** `--samples`: how many sub-tiles to read. */
  samples(): number | undefined {
    return this.integer("samples", { least: 1, most: MAX_SAMPLES });
  }

  /** `--workers`: how many tasks run side by side. */
  workers(): number | undefined {
    return this.integer("workers", { least: 1, most: MAX_WORKERS });
  }

  /** `--memory`: the bound on tensors and caches, or undefined. */
  memory(): Memory | undefined {
    const text = this.text("memory");
    if (text === undefined) return undefined;
    const [, number, unit] = /^(\d+(?:\.\d+)?) ?([MG]i?B)$/.exec(text) ?? [];
    const bytes = unit === undefined ? NaN : Number(number) * UNITS[unit]!;
    if (!(bytes >= LEAST_MEMORY_BYTES)) {
      throw new UsageError(
        `Cannot take --memory as it must be ${
          LEAST_MEMORY_BYTES / 1e6
        }MB or more, such as 512MB or 2GB: current value is "${text}"`,
      );
    }
    return new Memory(bytes);
  }

  /** `--foreground`: where to look, or undefined. */
  async foreground(): Promise<ForegroundChoice | undefined> {
    const text = this.text("foreground");
    switch (text) {
      case undefined:
        return undefined;
      case "none":
      case "tissue":
        return { kind: text };
      default:
        return await fileForeground(text);
    }
  }

  /** `--backend`; auto where it is absent. */
  backend(): BackendChoice {
    return this.oneOf("backend", BACKENDS) ?? "auto";
  }
}

/** What node:util says in a line, and the flag that was probably meant. */
function refusal(error: Error, options: ParseArgsOptionsConfig): string {
  const [line = ""] = error.message.split("\n");
  const unknown = /^Unknown option '--([^']+)'/.exec(line)?.[1];
  if (unknown === undefined) return line;
  const meant = nearest(unknown, Object.keys(options));
  return `Cannot take --${unknown}: ` +
    (meant === undefined
      ? "there is no such flag; --help lists them"
      : `did you mean --${meant}?`);
}
