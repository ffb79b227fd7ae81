/**
 * The report at the end of a command: a page in the folder of what it did.
 *
 * @module
 */
import { writeReportOf } from "../../report/report.ts";

/**
 * Writes the report and says where it is, on stderr. The work is done by then:
 * if the report cannot be written, the command says so and succeeds.
 */
export async function reportAtEnd(
  folder: string,
  signal: AbortSignal,
): Promise<void> {
  try {
    console.error(`report: ${await writeReportOf(folder, { signal })}`);
  } catch (error) {
    signal.throwIfAborted();
    const { message } = error instanceof Error ? error : new Error(`${error}`);
    console.error(`no report: ${message}`);
  }
}
