/**
 * The columns of a table that make the label of an image: one, or time and event of
 * the target `survival`.
 *
 * @module
 */
import { shortened } from "../errors.ts";
import type { TargetName } from "../target.ts";
import {
  EVENT_ADVICE,
  labelFault,
  labelReader,
  survivalLabel,
} from "./goals.ts";
import type { Columns, Faults, Table, TableRow } from "./table.ts";

/** How a table names what makes the label. */
export interface LabelColumns {
  target: TargetName;
  /** Names that the user has given to columns. */
  names: Readonly<Partial<Record<"label" | "time" | "event", string>>>;
}

/** The known columns of the label; a table may lack those of `optional`. */
export function labelColumnsOf(
  { target, names }: LabelColumns,
): Required<Pick<Columns, "required" | "optional" | "names">> {
  const isTimed = target === "survival" && names.label === undefined;
  const named = {
    label: [names.label ?? "label"],
    time: [names.time ?? "time"],
    event: [names.event ?? "event"],
  };
  return isTimed
    ? { required: [], optional: ["label", "time", "event"], names: named }
    : { required: ["label"], optional: [], names: { label: named.label } };
}

/** Where faults go, and whether each row must have a label. */
export interface LabelCheck {
  faults: Faults;
  /** A row without one is a fault; else it keeps none. */
  everyRow: boolean;
}

/** The rows with their label in its field; faults are added. */
export function labelledRows(
  { rows, columns }: Table,
  how: LabelColumns,
  check: LabelCheck,
): TableRow[] {
  const { required, names } = labelColumnsOf(how);
  const isTimed = required.length === 0 &&
    (["time", "event"].some((column) => columns.includes(column)) ||
      !columns.includes("label"));
  if (!isTimed) return labelled(rows, names.label![0]!, how, check);
  const column = { time: names.time![0]!, event: names.event![0]! };
  const missing = (["time", "event"] as const)
    .filter((name) => !columns.includes(name));
  for (const name of missing) {
    check.faults.add(
      1,
      `missing column "${
        column[name]
      }": name it in the header, or give --${name}-column NAME`,
    );
  }
  if (missing.length > 0) return [];
  const timed = rows.map(({ line, fields: { label: _, ...fields } }) => ({
    line,
    fields: { ...fields, ...timedLabel({ line, fields }, column, check) },
  }));
  return labelled(timed, column.time, how, { ...check, everyRow: false });
}

/** The label of a row's time and event. */
function timedLabel(
  { line, fields }: TableRow,
  names: { time: string; event: string },
  { faults, everyRow }: LabelCheck,
): { label?: string } {
  const { time, event } = fields;
  if (time === undefined || event === undefined) {
    const isPartial = time !== undefined || event !== undefined;
    const missing = time === undefined ? names.time : names.event;
    if (everyRow || isPartial) faults.add(line, emptyText(missing));
    return {};
  }
  const label = survivalLabel(time, event);
  if (label !== undefined) return { label };
  faults.add(
    line,
    `${names.event} is "${shortened(event)}": ${EVENT_ADVICE}`,
  );
  return {};
}

/** Rows whose labels are those of one column. */
function labelled(
  rows: readonly TableRow[],
  column: string,
  { target }: LabelColumns,
  { faults, everyRow }: LabelCheck,
): TableRow[] {
  const { mayBeEmpty } = labelReader(target);
  return rows.map((row) => {
    const { line, fields } = row;
    const { label } = fields;
    if (label === undefined) {
      if (mayBeEmpty) return { line, fields: { ...fields, label: "" } };
      if (everyRow) faults.add(line, emptyText(column));
      return row;
    }
    const fault = labelFault(target, label, column);
    if (fault !== undefined) faults.add(line, fault);
    return row;
  });
}

function emptyText(column: string): string {
  return `empty ${column}: fill it in, or remove the line`;
}
