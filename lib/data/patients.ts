/**
 * A table of images joined with a table of their patients, which has the labels:
 * STAMP's slide table and clini table.
 *
 * @module
 */
import { basename } from "node:path";
import {
  type LabelColumns,
  labelColumnsOf,
  labelledRows,
} from "./label_columns.ts";
import {
  type Columns,
  count,
  Faults,
  listed,
  readTable,
  type Table,
  type TableRow,
} from "./table.ts";

/** The rows of the images that have a label. */
interface Joined {
  rows: TableRow[];
  /** Columns that the table of patients adds. */
  columns: string[];
  /** What was left out, a sentence each. */
  notes: string[];
}

// A table of patients may divide them, too, and say where they come from.
const DIVISIONS = ["split", "fold", "site"];

/**
 * Adds to each image what the table at `path` says of its patient. Images of
 * patients whom it does not have, or who have no label, are left out.
 *
 * @throws {DataError} If the table of patients has faults, or none of the images.
 */
export async function joinPatients(
  table: Table,
  path: string,
  { columns: { names, advice, exact }, labels, faults }: {
    columns: Columns;
    labels: LabelColumns;
    faults: Faults;
  },
): Promise<Joined> {
  const own = new Faults(path);
  const label = labelColumnsOf(labels);
  const divisions = DIVISIONS.filter((name) => !table.columns.includes(name));
  const patients = await readTable(
    path,
    {
      required: ["group", ...label.required],
      optional: [...label.optional, ...divisions],
      ...(exact && { exact }),
      ...(names && { names }),
      ...(advice && { advice }),
    },
    own,
    { xlsx: true },
  );
  const rowsOfPatients = labelledRows(patients, labels, {
    faults: own,
    everyRow: false,
  });
  const byName = patientsByName({ ...patients, rows: rowsOfPatients }, own);
  own.throwIfAny();

  const rows: TableRow[] = [];
  const unknown = new Set<string>(), unlabelled = new Set<string>();
  let leftOut = 0, without = 0;
  for (const { line, fields } of table.rows) {
    const { group } = fields;
    if (group === undefined) {
      faults.add(line, "empty patient: fill it in, or remove the line");
      continue;
    }
    const patient = byName.get(group);
    if (patient?.label !== undefined) {
      rows.push({ line, fields: { ...fields, ...patient } });
    } else if (patient) {
      unlabelled.add(group);
      without++;
    } else {
      unknown.add(group);
      leftOut++;
    }
  }
  if (rows.length === 0) {
    faults.add(
      1,
      `no image has a patient with a label in ${path}: name the column of the patients alike, with the same names in both tables`,
    );
  }
  const name = basename(path);
  const used = new Set(rows.map(({ fields }) => fields.group));
  const idle = byName.size - used.size - unlabelled.size;
  return {
    rows,
    columns: ["label", ...patients.columns],
    notes: [
      ...(leftOut > 0
        ? [
          `left out: ${
            count(leftOut, "image")
          } of patients who are not in ${name} (${listed([...unknown])})`,
        ]
        : []),
      ...(without > 0
        ? [
          `left out: ${
            count(without, "image")
          } of patients who have no label in ${name} (${
            listed([...unlabelled])
          })`,
        ]
        : []),
      ...(idle > 0
        ? [`${count(idle, "patient")} of ${name} without an image`]
        : []),
    ],
  };
}

/** What the table says of each patient. */
function patientsByName(
  { rows }: Table,
  faults: Faults,
): Map<string, TableRow["fields"]> {
  const patients = new Map<string, TableRow["fields"]>();
  const lines = new Map<string, number>();
  for (const { line, fields } of rows) {
    const { group } = fields;
    if (group === undefined) continue; // a blank line of a sheet
    const earlier = lines.get(group);
    if (earlier !== undefined) {
      faults.add(
        line,
        `patient "${group}" is on line ${earlier} too: keep one`,
      );
    }
    lines.set(group, line);
    patients.set(group, fields);
  }
  return patients;
}
