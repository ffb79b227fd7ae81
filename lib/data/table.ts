/**
 * Reads and writes the tables of a data set, and collects all faults of a table,
 * so that a user can fix a file in one go. Tables are CSV; those that end in
 * `.tsv` are tab-separated, and a user's own may be workbooks, `.xlsx`.
 *
 * @module
 */
import { extname } from "node:path";
import { CsvError, parse, type Parser } from "csv-parse";
import { stringify } from "csv-stringify/sync";
import { DataError, shortened } from "../errors.ts";
import { spelled } from "../files.ts";
import { nearest } from "../nearest.ts";
import { xlsxRecords } from "./xlsx.ts";

/** One record of a table: its non-blank fields by known column. */
export interface TableRow {
  line: number; // of the file, counted from 1
  fields: Partial<Record<string, string>>;
}

/** A table with its columns, in the order of the file. */
export interface Table {
  path: string;
  /** Known columns that it has. */
  columns: string[];
  /** Columns of other names, which are not read. */
  ignored: string[];
  rows: TableRow[];
}

/** Columns that are known: `required` and optional ones. */
export interface Columns {
  required: readonly string[];
  optional: readonly string[];
  /** Optional ones whose near-misses are not taken for them. */
  exact?: readonly string[];
  /** Names of a column in the table, of which it has the first; its own if omitted. */
  names?: Readonly<Partial<Record<string, readonly string[]>>>;
  /** Advice to users whose table has no such required column. */
  advice?: Readonly<Partial<Record<string, string>>>;
}

/** Options of {@linkcode readTable}. */
export interface TableOptions {
  /** Reads workbooks too: only a user's own, because a stranger's may take all memory. */
  xlsx?: boolean;
}

// Bounded because a request may name any file of the server: a gigabyte of
// rows as objects.
const MAX_BYTES = 2 ** 28;
const MAX_ROWS = 2 ** 20;
// An unclosed quote would make a record of all that follows.
const MAX_RECORD_CHARACTERS = 2 ** 20;

// Maximum faults listed by one error: more would scroll the first one off the
// screen.
const FAULTS_SHOWN = 20;
// Faults that are held until the first ones by line are known.
const FAULTS_HELD = 1000;

/** Faults of a file, line by line. */
export class Faults {
  #first: { line: number; text: string }[] = [];
  #count = 0;

  constructor(readonly path: string) {}

  /** Notes a fault at `line`. */
  add(line: number, text: string): void {
    this.#count++;
    this.#first.push({ line, text });
    if (this.#first.length > FAULTS_HELD) this.#first = this.#shown();
  }

  /** Number of faults. */
  get count(): number {
    return this.#count;
  }

  /** @throws {DataError} With every fault, by line, if there is one. */
  throwIfAny(): void {
    if (this.count === 0) return;
    const lines = this.#shown()
      .map(({ line, text }) => `${this.path}:${line}: ${text}`);
    const more = this.count - lines.length;
    if (more > 0) lines.push(`and ${more} more`);
    throw new DataError(lines.join("\n"));
  }

  #shown() {
    return this.#first.toSorted((a, b) => a.line - b.line)
      .slice(0, FAULTS_SHOWN);
  }
}

/**
 * Parses a table; faults of its header and shape are added to `faults`.
 *
 * A file without the required columns is no table: its error shows none of it,
 * because a request may name any file of the server.
 *
 * @throws {DataError} If it is no table, or too large.
 */
export async function readTable(
  path: string,
  known: Columns,
  faults: Faults,
  options: TableOptions = {},
): Promise<Table> {
  let header: Header | undefined;
  const rows: TableRow[] = [];
  await parseRecords(path, options, (record, line) => {
    if (header === undefined) {
      header = readHeader(record, known, { line, faults });
      return;
    }
    if (rows.length === MAX_ROWS) {
      throw new DataError(
        `Cannot read "${path}" as a table: it has more than ${MAX_ROWS} rows; split it`,
      );
    }
    const row = rowOf(record, { header, line, faults });
    if (row) rows.push(row);
  });
  if (header !== undefined) {
    const { columns, ignored } = header;
    return { path, columns: [...columns.keys()], ignored, rows };
  }
  throw new DataError(
    `${path}:1: Cannot read a table without a header: write the columns ` +
      `"${known.required.join(",")}" on the first line`,
  );
}

/** The header of a table. */
interface Header {
  width: number;
  /** Place of each known column, in the order of the file. */
  columns: ReadonlyMap<string, number>;
  ignored: string[];
}

/** The fields of a record; undefined, and a fault, if it has too many or few. */
function rowOf(
  record: readonly string[],
  { header: { width, columns }, line, faults }: {
    header: Header;
    line: number;
    faults: Faults;
  },
): TableRow | undefined {
  if (record.length !== width) {
    faults.add(
      line,
      `${count(record.length, "field")} where the header names ` +
        `${width}: quote a field that holds a comma`,
    );
    return undefined;
  }
  const fields: TableRow["fields"] = {};
  for (const [column, at] of columns) {
    const cell = record[at];
    if (cell) fields[column] = cell;
  }
  return { line, fields };
}

/** The text of a CSV file with a header of `columns`. */
export function formatTable(
  columns: readonly string[],
  rows: Iterable<readonly (string | number | undefined)[]>,
): string {
  // Readers trim fields, ours included.
  return stringify([columns, ...rows], { quoted_match: /^\s|\s$/ });
}

/** `1 image`, `2 images`. */
export function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? "" : "s"}`;
}

// Names of a list that are shown.
const NAMES_SHOWN = 8;

/** `a, b and 3 more`; each name is shortened. */
export function listed(names: readonly string[]): string {
  const shown = names.slice(0, NAMES_SHOWN).map(shortened).join(", ");
  const more = names.length - NAMES_SHOWN;
  return more > 0 ? `${shown} and ${more} more` : shown;
}

/** Opens a file of bounded size. */
async function openTable(path: string): Promise<Deno.FsFile> {
  try {
    const file = await Deno.open(await spelled(path));
    const { size, isDirectory } = await file.stat();
    if (!isDirectory && size <= MAX_BYTES) return file;
    file.close();
    throw new Error(
      isDirectory
        ? "it is a folder"
        : `it has ${size} bytes; at most ${MAX_BYTES} are read`,
    );
  } catch (cause) {
    const why = cause instanceof Deno.errors.NotFound
      ? "there is no such file"
      : cause instanceof Deno.errors.IsADirectory
      ? "it is a folder"
      : (cause as Error).message;
    throw new DataError(`Cannot read "${path}" as a table: ${why}`, { cause });
  }
}

/**
 * Parses a file as it is read.
 *
 * @param onRecord gets each record, and its line; what it throws ends the
 *   parsing.
 */
async function parseRecords(
  path: string,
  { xlsx = false }: TableOptions,
  onRecord: (record: string[], line: number) => void,
): Promise<void> {
  const extension = extname(path).toLowerCase();
  if (xlsx && extension === ".xlsx") {
    using file = await openTable(path);
    for (const { record, line } of await xlsxRecords(path, file)) {
      onRecord(record, line);
    }
    return;
  }
  using file = await openTable(path);
  let last = 0;
  const parser = parse({
    delimiter: extension === ".tsv" ? "\t" : ",",
    trim: true,
    skip_empty_lines: true,
    relax_column_count: true, // counted by readTable, for every row at once
    max_record_size: MAX_RECORD_CHARACTERS,
    on_record(record: string[], { lines }) {
      onRecord(record, last = lines);
      return null;
    },
  });
  parser.on("error", () => {}); // those who write get it
  try {
    for await (const text of textOf(file)) await write(parser, text);
    await end(parser);
  } catch (cause) {
    if (cause instanceof TypeError) { // of the decoder
      throw new DataError(
        `Cannot read "${path}" as a table: it is not UTF-8; save it as "CSV UTF-8"`,
        { cause },
      );
    }
    if (!(cause instanceof CsvError)) throw cause;
    const advice = ADVICE[cause.code] ??
      "it cannot be parsed: quote the whole field and double quotes inside it";
    // The bad record begins behind the last good one.
    throw new DataError(`${path}:${last + 1}: ${advice}`, { cause });
  }
}

const CHUNK_BYTES = 2 ** 16;

/** @throws {TypeError} If the file is not UTF-8. */
async function* textOf(file: Deno.FsFile): AsyncGenerator<string> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const buffer = new Uint8Array(CHUNK_BYTES);
  for (;;) {
    const count = await file.read(buffer);
    if (count === null) break;
    yield decoder.decode(buffer.subarray(0, count), { stream: true });
  }
  yield decoder.decode();
}

async function write(parser: Parser, text: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  parser.write(text, (error) => error ? reject(error) : resolve());
  await promise;
}

async function end(parser: Parser): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  parser.once("error", reject);
  parser.once("end", resolve);
  parser.resume(); // or it does not end
  parser.end();
  await promise;
}

// The parser's own messages quote the file.
const ADVICE: Readonly<Record<string, string>> = {
  CSV_QUOTE_NOT_CLOSED:
    "a quote is opened and never closed: close it, or double it inside a field",
  CSV_MAX_RECORD_SIZE:
    `a record has more than ${MAX_RECORD_CHARACTERS} characters: a quote is opened and not closed`,
  CSV_INVALID_CLOSING_QUOTE:
    "a field goes on behind its closing quote: quote the whole field and double quotes inside it",
  CSV_NON_TRIMABLE_CHAR_AFTER_CLOSING_QUOTE:
    "a field goes on behind its closing quote: quote the whole field and double quotes inside it",
  INVALID_OPENING_QUOTE:
    "a quote is opened inside a field: quote the whole field and double quotes inside it",
};

// A column that is further from a known name is one of the user's own: "AGE" is
// no "image", nor "MSI" an "mpp".
const MOST_SLIPS = 1;

/** Finds the known columns; what is nearly one of those that are missing is a fault. */
function readHeader(
  header: readonly string[],
  { required, optional, exact = [], names = {}, advice = {} }: Columns,
  { line, faults }: { line: number; faults: Faults },
): Header {
  const known = [...required, ...optional];
  const found = new Map<number, string[]>();
  for (const column of known) {
    const name = (names[column] ?? [column])
      .find((name) => header.includes(name));
    if (name === undefined) continue;
    const at = header.indexOf(name);
    found.set(at, [...found.get(at) ?? [], column]);
    if (header.lastIndexOf(name) !== at) {
      faults.add(line, `column "${name}" appears twice: keep one`);
    }
  }
  const columns = new Map<string, number>();
  for (const at of [...found.keys()].sort((a, b) => a - b)) {
    for (const column of found.get(at)!) columns.set(column, at);
  }
  const ignored = header.filter((name, at) => name !== "" && !found.has(at));
  const missing = known.filter((column) =>
    !columns.has(column) && !exact.includes(column)
  );
  for (const name of ignored) {
    if (known.includes(name)) continue; // another column is read in its place
    const meant = nearest(name, missing, MOST_SLIPS);
    if (meant === undefined) continue;
    faults.add(line, `unknown column "${name}": did you mean "${meant}"?`);
  }
  for (const column of required) {
    if (columns.has(column)) continue;
    const [wanted = column] = names[column] ?? [];
    faults.add(
      line,
      `missing column "${wanted}": ${
        advice[column] ?? "name it in the header"
      }`,
    );
  }
  if (!required.every((column) => columns.has(column))) {
    if (header.some((name) => /[;\t|]/.test(name))) {
      faults.add(line, "put commas between the columns");
    }
    faults.throwIfAny();
  }
  return { width: header.length, columns, ignored };
}
