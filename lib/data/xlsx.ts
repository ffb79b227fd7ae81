/**
 * The first sheet of a workbook as records of text. The library is loaded when
 * the first workbook is read.
 *
 * @module
 */
import { DataError } from "../errors.ts";

/** A record of a table, and its row in the sheet, from 1. */
export interface SheetRecord {
  record: string[];
  line: number;
}

/**
 * The rows of the first sheet that are not blank, each as long as the first.
 *
 * @throws {DataError} If the file is no workbook.
 */
export async function xlsxRecords(
  path: string,
  file: Deno.FsFile,
): Promise<SheetRecord[]> {
  const { readSheet } = await import("read-excel-file/universal");
  const bytes = await new Response(file.readable).arrayBuffer();
  const rows = await readSheet<string>(bytes, {
    trim: false, // a space behind a label is told, not hidden
    parseNumber: (text) => String(Number(text)), // 1 and 1.0 are one number
  }).catch((cause) => {
    throw new DataError(
      `Cannot read "${path}" as a workbook: it is damaged, or of another format; save it as .xlsx or CSV`,
      { cause },
    );
  });
  const records = rows
    .map((row, i) => ({ record: row.map(cellText), line: i + 1 }))
    .filter(({ record }) => record.some((cell) => cell !== ""));
  const width = records[0]?.record.findLastIndex((cell) => cell !== "") ?? -1;
  return records.map(({ record, line }) => ({
    record: fitted(record, width + 1),
    line,
  }));
}

/** A cell as the export to CSV writes it. */
function cellText(cell: unknown): string {
  if (cell === null || cell === undefined) return "";
  if (cell instanceof Date) return cell.toISOString().slice(0, 10);
  return typeof cell === "boolean" ? `${cell}`.toUpperCase() : `${cell}`;
}

/** Blank cells at the end of a row may be missing in the file, or too many. */
function fitted(record: readonly string[], width: number): string[] {
  const end = record.findLastIndex((cell) => cell !== "") + 1;
  const cells = record.slice(0, Math.max(end, width));
  return [...cells, ...Array(Math.max(0, width - cells.length)).fill("")];
}
