/**
 * The folds of a cross-validation under its protocols: their places and logs.
 *
 * @module
 */
import { join } from "node:path";
import type { ManifestEntry } from "../../data/manifest.ts";
import { type AnyReport, isTargetReport } from "../../eval/targets/report.ts";
import { exists } from "../../files.ts";
import { LOG_FILE, type LogLine, readLog } from "../run_log.ts";

/** The protocols, in the order in which they are run. */
export const PROTOCOLS = ["best-epoch", "held-out"] as const;

/** Name of a protocol. */
export type Protocol = (typeof PROTOCOLS)[number];

/** What may be asked for: a protocol, or both. */
export const PROTOCOL_CHOICES = [...PROTOCOLS, "both"] as const;

export type ProtocolChoice = (typeof PROTOCOL_CHOICES)[number];

/** The protocols of a choice; both if there is none. */
export function protocolsOf(
  choice: ProtocolChoice | undefined,
): readonly Protocol[] {
  return choice === undefined || choice === "both" ? PROTOCOLS : [choice];
}

/** The result of a fold, in its folder. */
export const RESULT_FILE = "result.json";

/** One cell of a cross-validation. */
export interface FoldTask {
  protocol: Protocol;
  fold: number;
}

/** The cells of a cross-validation, protocol by protocol. */
export function foldTasks(
  entries: readonly ManifestEntry[],
  { protocols, folds }: {
    protocols: readonly Protocol[];
    /** Only these folds. */
    folds?: readonly number[] | undefined;
  },
): FoldTask[] {
  const known = [...new Set(entries.map(({ fold }) => fold))]
    .filter((fold) => fold !== undefined)
    .sort((a, b) => a - b);
  // In the order of PROTOCOLS: a held-out task may use best-epoch's training.
  return PROTOCOLS.filter((protocol) => protocols.includes(protocol))
    .flatMap((protocol) =>
      (folds ?? known).map((fold) => ({ protocol, fold }))
    );
}

/** Folder of the run of one fold, under the folder of the whole. */
export function foldFolder(
  folder: string,
  { protocol, fold }: FoldTask,
): string {
  return join(folder, protocol, `fold-${String(fold).padStart(2, "0")}`);
}

/**
 * The logs of the folds that were begun, each line with its fold; one of type
 * `fold` at the end of those that are done.
 *
 * @throws {DataError} If a line is damaged.
 */
export async function* readFoldLogs(folder: string): AsyncGenerator<LogLine> {
  for (const task of await foldsIn(folder)) {
    const own = foldFolder(folder, task);
    const log = join(own, LOG_FILE);
    if (!await exists(log)) continue;
    for (const line of await readLog(log)) yield { ...line, ...task };
    const result = join(own, RESULT_FILE);
    if (await exists(result)) {
      yield lineOf(JSON.parse(await Deno.readTextFile(result)));
    }
  }
}

// Of classes; of other targets all metrics are told.
const LOGGED = ["accuracy", "auc"];

function isLogged(name: string, report: AnyReport): boolean {
  return isTargetReport(report) || LOGGED.includes(name);
}

function lineOf(
  { protocol, fold, bestEpoch, seconds, report }: FoldTask & {
    bestEpoch: number;
    seconds: number;
    report: AnyReport;
  },
): LogLine {
  const { images, metrics } = report;
  return {
    type: "fold",
    protocol,
    fold,
    bestEpoch,
    images,
    seconds,
    ...Object.fromEntries(
      Object.entries(metrics).filter(([name]) => isLogged(name, report))
        .map(([name, { value }]) => [name, value]),
    ),
  };
}

/** The folds that have a folder, protocol by protocol. */
export async function foldsIn(folder: string): Promise<FoldTask[]> {
  const tasks: FoldTask[] = [];
  for (const protocol of PROTOCOLS) {
    const place = join(folder, protocol);
    if (!await exists(place)) continue;
    const entries = await Array.fromAsync(Deno.readDir(place));
    const folds = entries.flatMap(({ name }) =>
      /^fold-(\d+)$/.exec(name)?.[1] ?? []
    ).map(Number).sort((a, b) => a - b);
    tasks.push(...folds.map((fold) => ({ protocol, fold })));
  }
  return tasks;
}
