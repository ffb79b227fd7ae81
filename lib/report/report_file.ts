/**
 * The file of a report.
 *
 * @module
 */

/** Name of the report in the folder that it is of. */
export const REPORT_FILE = "report.html";
