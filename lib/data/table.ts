/**
 * Reads and writes the CSV tables of a data set, and collects all faults of a
 * table, so that a user can fix a file in one go.
 *
 * @module
 */
import { CsvError, parse } from "csv-parse/sync";
import { stringify } from "csv-stringify/sync";
import { DataError } from "../errors.ts";
import { spelled } from "../files.ts";
import { nearest } from "../nearest.ts";

/** One record of a table: its non-blank fields by column. */
export interface TableRow {
  line: number; // of the file, counted from 1
  fields: Partial<Record<string, string>>;
}

/** A table with its columns, in the order of the file. */
export interface Table {
  path: string;
  columns: string[];
  rows: TableRow[];
}

/** Columns that a table may have: `required` and optional ones. */
export interface Columns {
  required: readonly string[];
  optional: readonly string[];
}

// Room for millions of lines; bounded because a request may name any file of
// the server.
const MAX_BYTES = 2 ** 28;

// Maximum faults listed by one error: more would scroll the first one off the
// screen.
const FAULTS_SHOWN = 20;

/** Faults of a file, line by line. */
export class Faults {
  readonly #found: { line: number; text: string }[] = [];

  constructor(readonly path: string) {}

  /** Notes a fault at `line`. */
  add(line: number, text: string): void {
    this.#found.push({ line, text });
  }

  /** Number of faults. */
  get count(): number {
    return this.#found.length;
  }

  /** @throws {DataError} With every fault, by line, if there is one. */
  throwIfAny(): void {
    if (this.count === 0) return;
    const lines = this.#found
      .toSorted((a, b) => a.line - b.line)
      .slice(0, FAULTS_SHOWN)
      .map(({ line, text }) => `${this.path}:${line}: ${text}`);
    const more = this.count - lines.length;
    if (more > 0) lines.push(`and ${more} more`);
    throw new DataError(lines.join("\n"));
  }
}

/** Parses a CSV file; faults of its header and shape are added to `faults`. */
export async function readTable(
  path: string,
  known: Columns,
  faults: Faults,
): Promise<Table> {
  const [header, ...records] = parseRecords(path, await readText(path));
  if (header === undefined) {
    throw new DataError(
      `${path}:1: Cannot read a table without a header: write the columns ` +
        `"${known.required.join(",")}" on the first line`,
    );
  }
  const columns = header.record;
  checkColumns(columns, known, { line: header.line, faults });
  const rows: TableRow[] = [];
  for (const { record, line } of records) {
    if (record.length === columns.length) {
      const cells = columns.map((column, i) => [column, record[i]] as const);
      const fields = Object.fromEntries(cells.filter(([, cell]) => cell));
      rows.push({ line, fields });
    } else {
      faults.add(
        line,
        `${count(record.length, "field")} where the header names ` +
          `${columns.length}: quote a field that holds a comma`,
      );
    }
  }
  return { path, columns, rows };
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

async function readText(path: string): Promise<string> {
  const bytes = await readBytes(path).catch((cause) => {
    const why = cause instanceof Deno.errors.NotFound
      ? "there is no such file"
      : cause instanceof Deno.errors.IsADirectory
      ? "it is a folder"
      : cause.message;
    throw new DataError(`Cannot read "${path}" as a table: ${why}`, { cause });
  });
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new DataError(
      `Cannot read "${path}" as a table: it is not UTF-8; save it as "CSV UTF-8"`,
      { cause },
    );
  }
}

async function readBytes(path: string): Promise<Uint8Array> {
  const file = await spelled(path);
  const { size } = await Deno.stat(file);
  if (size > MAX_BYTES) {
    throw new Error(`it has ${size} bytes; at most ${MAX_BYTES} are read`);
  }
  return await Deno.readFile(file);
}

function parseRecords(
  path: string,
  text: string,
): { record: string[]; line: number }[] {
  const records: { record: string[]; line: number }[] = [];
  try {
    parse(text, {
      trim: true,
      skip_empty_lines: true,
      relax_column_count: true, // counted by readTable, for every row at once
      on_record: (record: string[], { lines }) => {
        records.push({ record, line: lines });
        return null;
      },
    });
    return records;
  } catch (cause) {
    if (!(cause instanceof CsvError)) throw cause;
    const advice = cause.code === "CSV_QUOTE_NOT_CLOSED"
      ? "a quote is opened and never closed: close it, or double it inside a field"
      : `${cause.message}: quote the whole field and double quotes inside it`;
    const line = (records.at(-1)?.line ?? 0) + 1; // start of the bad record
    throw new DataError(`${path}:${line}: ${advice}`, { cause });
  }
}

function checkColumns(
  columns: string[],
  { required, optional }: Columns,
  { line, faults }: { line: number; faults: Faults },
): void {
  const known = [...required, ...optional];
  for (const [i, column] of columns.entries()) {
    if (!known.includes(column)) {
      faults.add(line, `unknown column "${column}": ${suggest(column, known)}`);
    } else if (columns.indexOf(column) < i) {
      faults.add(line, `column "${column}" appears twice: keep one`);
    }
  }
  for (const column of required) {
    if (!columns.includes(column)) {
      faults.add(line, `missing column "${column}": name it in the header`);
    }
  }
}

function suggest(word: string, known: readonly string[]): string {
  const meant = nearest(word, known);
  if (meant !== undefined) return `did you mean "${meant}"?`;
  return /[;\t|]/.test(word)
    ? "put commas between the columns"
    : `remove it, or use one of ${known.join(", ")}`;
}
