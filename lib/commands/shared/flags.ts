/**
 * Flags of the command line. Each is declared once: from its declaration come
 * the usage text, the parsed and checked value, and the hint for a misspelt name.
 * Every fault is a {@linkcode UsageError} of one line that names the flag.
 *
 * @module
 */
import { parseArgs, type ParseArgsOptionsConfig } from "node:util";
import { UsageError } from "../../errors.ts";
import { nearest } from "../../nearest.ts";
import { checkOutputFile } from "./outputs.ts";

/** The values that a shell completes. */
export interface Values {
  words?: readonly string[];
  paths?: "files" | "folders";
}

/** A flag: its description in the usage, and the parser of its text. */
export interface Flag<Value> extends Values {
  /** Placeholder of the value in the usage; a switch has none. */
  hint?: string;
  about: string;
  isRepeated?: boolean;
  /**
   * Reads the value of the flag `name`.
   *
   * @param texts as given; empty if the flag is absent.
   * @throws {UsageError} Naming the flag.
   */
  read(texts: readonly string[], name: string): Value;
}

/** Flags by name, without dashes. */
export type FlagSet = Readonly<Record<string, Flag<unknown>>>;

/** Result of `parseFlags`: the value of each flag. */
export type FlagValues<Flags extends FlagSet> = {
  readonly [Name in keyof Flags]: ReturnType<Flags[Name]["read"]>;
};

/** Parses `argv` into the values of flags and the positional arguments. */
export function parseFlags<Flags extends FlagSet>(
  argv: readonly string[],
  flags: Flags,
  { positionals: allowPositionals = false } = {},
): { values: FlagValues<Flags>; positionals: readonly string[] } {
  const options: ParseArgsOptionsConfig = {};
  for (const [name, { hint }] of Object.entries(flags)) {
    const type = hint === undefined ? "boolean" : "string";
    options[name] = { type, multiple: true };
  }
  const { values, positionals } = parsed(argv, options, allowPositionals);
  const read = Object.entries(flags).map(([name, flag]) => {
    const texts = (values[name] ?? []).map(String);
    if (texts.includes("")) {
      throw new UsageError(`--${name} is empty: give it a value`);
    }
    // The last of repeated flags counts, so that a script's flags can be
    // overridden.
    const given = flag.isRepeated ? texts : texts.slice(-1);
    return [name, flag.read(given, name)];
  });
  return { values: Object.fromEntries(read), positionals };
}

function parsed(
  argv: readonly string[],
  options: ParseArgsOptionsConfig,
  allowPositionals: boolean,
): {
  values: Record<string, readonly (string | boolean)[] | undefined>;
  positionals: readonly string[];
} {
  try {
    const { values, positionals } = parseArgs({
      args: [...argv],
      options,
      strict: true,
      allowPositionals,
    });
    return {
      values: values as Record<string, (string | boolean)[] | undefined>,
      positionals,
    };
  } catch (cause) {
    throw new UsageError(refusal(cause as Error, options), { cause });
  }
}

/** Node's refusal in one line, with the flag that was probably meant. */
function refusal(error: Error, options: ParseArgsOptionsConfig): string {
  const [line = ""] = error.message.split("\n");
  const dashed = /^Option '--([^' ]+).* argument is ambiguous/.exec(line)?.[1];
  if (dashed !== undefined) {
    return `Cannot take --${dashed} without a value, or with one that begins with a dash: write --${dashed}=VALUE`;
  }
  const unknown = /^Unknown option '--([^']+)'/.exec(line)?.[1];
  if (unknown === undefined) return line;
  const meant = nearest(unknown, Object.keys(options));
  return `There is no flag --${unknown}: ` +
    (meant === undefined
      ? "--help lists the flags"
      : `did you mean --${meant}?`);
}

/** A usage text; its flags may be in titled groups. */
export interface Usage {
  synopsis: readonly string[];
  /** A paragraph before the flags. */
  about?: string;
  /** Description of the positional arguments. */
  positionals?: Readonly<Record<string, string>>;
  groups: readonly { title?: string; flags: FlagSet }[];
  /** Values of the positional arguments; words of the first one. */
  operands?: Values;
  /** A paragraph after the flags. */
  notes?: string;
}

const WIDTH = 80; // of a usage text, characters
const INDENT = "  ";

/** The text of `--help`. */
export function usageText(
  { synopsis, about, positionals = {}, groups, notes }: Usage,
): string {
  const named = Object.entries(positionals);
  const rows = groups.map(({ flags }) =>
    Object.entries(flags).map(([name, { hint, about }]): [string, string] => [
      `--${name}${hint === undefined ? "" : ` ${hint}`}`,
      about,
    ])
  );
  const heads = [...named, ...rows.flat()].map(([head]) => head.length);
  const column = Math.max(...heads) + 2;
  const lines = (entries: readonly (readonly [string, string])[]) =>
    entries.map(([head, about]) =>
      INDENT + head.padEnd(column) +
      wrapped(about, WIDTH - INDENT.length - column)
        .join(`\n${INDENT}${" ".repeat(column)}`)
    );
  const sections = groups.map(({ title }, i) => [
    ...(title === undefined ? [] : wrapped(title, WIDTH)),
    ...(i === 0 ? lines(named) : []),
    ...lines(rows[i]!),
  ]);
  return [
    synopsis,
    ...(about === undefined ? [] : [wrapped(about, WIDTH)]),
    ...sections,
    ...(notes === undefined ? [] : [wrapped(notes, WIDTH)]),
  ].map((section) => section.join("\n")).join("\n\n");
}

/** `text` in lines of at most `width` characters. */
function wrapped(text: string, width: number): string[] {
  const lines = [""];
  for (const word of text.split(" ")) {
    const line = lines.at(-1)!;
    if (line !== "" && line.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = line === "" ? word : `${line} ${word}`;
  }
  return lines;
}

/** A switch. */
export function toggle(about: string): Flag<boolean> {
  return { about, read: (texts) => texts.length > 0 };
}

/** Any text, or undefined. */
export function text(
  hint: string,
  about: string,
  values: Values = {},
): Flag<string | undefined> {
  return { ...values, hint, about, read: ([text]) => text };
}

/** The texts of a flag that may be repeated. */
export function texts(
  hint: string,
  about: string,
  values: Values = {},
): Flag<readonly string[]> {
  return {
    ...values,
    hint,
    about: `${about}; may be repeated`,
    isRepeated: true,
    read: (texts) => texts,
  };
}

/** A flag that must be given. */
export function required<Value>(flag: Flag<Value>): Flag<NonNullable<Value>> {
  return {
    ...flag,
    read(texts, name) {
      const value = flag.read(texts, name);
      if (value !== undefined && value !== null) return value;
      throw new UsageError(`Missing flag: give --${name} ${flag.hint}`);
    },
  };
}

/** A flag with a default value, which `about` names. */
export function defaulting<Value>(
  flag: Flag<Value | undefined>,
  value: Value,
): Flag<Value> {
  return { ...flag, read: (texts, name) => flag.read(texts, name) ?? value };
}

/** A file to write, checked before the work rather than after it. */
export function outputFile(
  hint: string,
  about: string,
): Flag<string | undefined> {
  return {
    paths: "files",
    hint,
    about,
    read([path], name) {
      if (path !== undefined) checkOutputFile(path, `--${name} ${path}`);
      return path;
    },
  };
}

/** One of `words`, or undefined. */
export function oneOf<Word extends string>(
  words: readonly Word[],
  hint: string,
  about: string,
): Flag<Word | undefined> {
  const find = (text: string) => words.find((word) => word === text);
  return { ...parsing(hint, about, words.join(" or "), find), words };
}

/** An integer in [min, max], or undefined. */
export function integer(
  hint: string,
  about: string,
  { min = 0, max = Number.MAX_SAFE_INTEGER } = {},
): Flag<number | undefined> {
  return parsing(hint, about, `an integer in [${min}, ${max}]`, (text) => {
    const value = Number(text);
    const isIn = /^\d+$/.test(text) && value >= min && value <= max;
    return isIn ? value : undefined;
  });
}

/** A number in [min, max], or undefined. */
export function number(
  hint: string,
  about: string,
  { min, max }: { min: number; max: number },
): Flag<number | undefined> {
  return parsing(hint, about, `a number in [${min}, ${max}]`, (text) => {
    const value = Number(text);
    const isIn = text.trim() !== "" && value >= min && value <= max;
    return isIn ? value : undefined;
  });
}

/** A number in [0, 1), or undefined. */
export function fraction(
  hint: string,
  about: string,
): Flag<number | undefined> {
  return parsing(hint, about, "a number in [0, 1)", (text) => {
    const value = Number(text);
    return text.trim() !== "" && value >= 0 && value < 1 ? value : undefined;
  });
}

/**
 * A flag whose text is parsed.
 *
 * @param wanted completes "must be ...".
 * @param parse the value of a text; undefined if it is wrong.
 */
export function parsing<Value>(
  hint: string,
  about: string,
  wanted: string,
  parse: (text: string) => Value | undefined,
): Flag<Value | undefined> {
  return {
    hint,
    about,
    read([text], name) {
      if (text === undefined) return undefined;
      const value = parse(text);
      if (value !== undefined) return value;
      throw new UsageError(
        `--${name} must be ${wanted}, not "${text}"`,
      );
    },
  };
}
