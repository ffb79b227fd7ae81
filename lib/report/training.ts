/**
 * The sections of a training: its images, settings, curves, cost and machine.
 *
 * @module
 */
import type { ManifestEntry, Split } from "../data/manifest.ts";
import { count } from "../data/table.ts";
import { ConfigError } from "../errors.ts";
import { configChanges } from "../model/config_changes.ts";
import type { Config } from "../model/config.ts";
import { preset } from "../model/presets.ts";
import { lineChart, type Series } from "../study/chart.ts";
import { learningCurve } from "../train/learning_curve.ts";
import type { LogLine } from "../train/run_log.ts";
import type { Elapsed } from "../train/clock.ts";
import type { SkippedImage } from "../train/epoch_metrics.ts";
import { duration, megabytes } from "../words.ts";
import { type Content, type Html, html } from "./html.ts";
import { charts, facts, table } from "./parts.ts";

const SIDES: readonly Split[] = ["train", "validation", "test"];

/** Images by class and side, or by class and fold. */
export function dataSection(
  entries: readonly ManifestEntry[],
  { data, by, skipped = [] }: {
    data: string | undefined;
    by: "split" | "fold";
    /** Images that could not be read. */
    skipped?: readonly SkippedImage[] | undefined;
  },
): Content {
  if (entries.length === 0) {
    return html`<p>No table of images was recorded.</p>`;
  }
  const groups = by === "split"
    ? SIDES.filter((side) => entries.some(({ split }) => split === side))
    : [...new Set(entries.map(({ fold }) => fold ?? 0))].sort((a, b) => a - b);
  // Of many values, the parts that they were dealt out by.
  const strata = ({ label, strata = [label] }: ManifestEntry) => strata;
  const classes = [...new Set(entries.flatMap(strata))];
  const found = (label: string, group?: string | number) =>
    entries.filter((entry) =>
      strata(entry).includes(label) &&
      (group === undefined || entry[by] === group)
    ).length;
  const titles = groups.map((group) =>
    by === "fold" ? `fold ${group}` : `${group}`
  );
  const rows = classes.map((label) => [
    label || "none",
    ...groups.map((group) => found(label, group)),
    found(label),
  ]);
  const sums = groups.map((group) =>
    entries.filter((entry) => entry[by] === group).length
  );
  return html`${
    facts([
      ["Table", data === undefined ? null : path(data)],
      ["Images", entries.length],
      [
        "Images set aside, because they cannot be read",
        skipped.length === 0
          ? null
          : skipped.map(({ image }) => image).join(", "),
      ],
      ["Patients, or other groups", groupsOf(entries)],
      ["Micrometres per px", mppsOf(entries)],
      [
        "Images with annotated objects",
        entries.filter(({ rois }) => rois !== undefined).length || null,
      ],
    ])
  }${
    table(
      [
        "Class",
        ...[...titles, "all"].map((title) => ({ title, number: true })),
      ],
      [...rows, [html`<b>all</b>`, ...sums, entries.length]],
    )
  }`;
}

/** A path, which may break anywhere. */
export function path(text: string): Html {
  return html`<span class="path">${text}</span>`;
}

function groupsOf(entries: readonly ManifestEntry[]): string | null {
  const groups = entries.flatMap(({ group }) => group ?? []);
  if (groups.length === 0) return null;
  return `${new Set(groups).size}; those of one are never on two sides`;
}

function mppsOf(entries: readonly ManifestEntry[]): string | null {
  const values = entries.flatMap(({ mpp }) => mpp ?? []);
  if (values.length === 0) return null;
  const low = Math.min(...values), high = Math.max(...values);
  return low === high ? `${low}` : `${low} to ${high}`;
}

/** Settings that differ from the preset, and all of them behind a click. */
export function settingsSection(config: Config, seed: number | null): Html {
  return html`
    ${facts([["Preset", config.preset], ["Seed", seed]])}${changedSettings(
      config,
    )}<details>
      <summary>The whole configuration</summary>
      <pre>${JSON.stringify(config, null, 2)}</pre>
    </details>
  `;
}

function changedSettings(config: Config): Html {
  const base = presetOf(config);
  if (!base) {
    return html`<p>There is no preset “${config.preset}” to compare with.</p>`;
  }
  const changed = [...configChanges(base, config)];
  if (changed.length === 0) return html`<p>All settings are the preset's.</p>`;
  return table(
    ["Setting", { title: "Preset", wide: true }, { title: "Here", wide: true }],
    changed.map(({ key, before, after }) => [
      html`<code>${key}</code>`,
      JSON.stringify(before),
      JSON.stringify(after),
    ]),
  );
}

function presetOf({ preset: name }: Config): Config | undefined {
  try {
    return preset(name);
  } catch (error) {
    if (error instanceof ConfigError) return undefined; // such as the demo's
    throw error;
  }
}

// Logged figures by chart; "test" is there if the epoch was chosen on the test.
const CURVES: readonly {
  title: string;
  share: boolean;
  lines: readonly (readonly [figure: string, name: string])[];
}[] = [
  {
    title: "Loss",
    share: false,
    lines: [
      ["loss", "training"],
      ["validationLoss", "validation"],
      ["testLoss", "test"],
      ["teacherValidationLoss", "teacher, validation"],
    ],
  },
  {
    title: "Accuracy",
    share: true,
    lines: [
      ["accuracy", "training"],
      ["validationAccuracy", "validation"],
      ["testAccuracy", "test"],
      ["teacherValidationAccuracy", "teacher, validation"],
    ],
  },
  {
    title: "AUC",
    share: true,
    lines: [
      ["validationAuc", "validation"],
      ["testAuc", "test"],
      ["teacherValidationAuc", "teacher, validation"],
    ],
  },
];

/** Curves of logged figures, the mean over logs; a line at the chosen epoch. */
export function learningCharts(
  logs: readonly (readonly LogLine[])[],
  chosen: number | null,
): Content {
  const svgs = CURVES.flatMap(({ title, share, lines }) => {
    const series = lines.map(([figure, name]): Series => ({
      name,
      points: learningCurve(logs, figure),
    })).filter(({ points }) => points.length > 0);
    if (series.length === 0) return [];
    return [learningChart(title, series, { share, chosen })];
  });
  if (svgs.length === 0) return html`<p>No epoch is done.</p>`;
  return html`${charts(svgs)}${
    chosen === null
      ? null
      : html`<p class="note">The grey line is the epoch that was chosen, ${chosen}.</p>`
  }`;
}

function learningChart(
  title: string,
  series: readonly Series[],
  { share, chosen }: { share: boolean; chosen: number | null },
): string {
  const points = series.flatMap(({ points }) => points);
  const most = share ? 1 : Math.max(0.1, ...points.map(([, y]) => y)) * 1.05;
  const mark: Series = {
    name: "chosen",
    points: [[chosen ?? 0, 0], [chosen ?? 0, most]],
    reference: true,
  };
  return lineChart(title, {
    x: {
      label: "epoch",
      low: 0,
      high: Math.max(1, ...points.map(([epoch]) => epoch)),
    },
    y: { label: title, low: 0, high: most },
    series: [...chosen === null ? [] : [mark], ...series],
    legend: share ? "bottom right" : "top right",
    hover: true,
  });
}

/** Time and memory of a training, of its log. */
export function costFacts(log: readonly LogLine[]): Html {
  const epochs = log.filter(({ type }) => type === "epoch").length;
  const { seconds, cpuSeconds, peakBytes } = costOf(log);
  const starts = log.filter(({ type }) => type === "run").length;
  return facts([
    ["Epochs", epochs],
    ["Time", duration(seconds)],
    ["Time an epoch", epochs > 0 ? duration(seconds / epochs) : null],
    ["CPU time", duration(cpuSeconds)],
    ["Peak memory", peakBytes > 0 ? megabytes(peakBytes) : null],
    ["Continued", starts > 1 ? count(starts - 1, "time") : null],
  ]);
}

/** The sums of a log. */
export function costOf(log: readonly LogLine[]): Elapsed {
  const numbers = (name: string) =>
    log.map((line) => line[name]).filter((value) => typeof value === "number");
  const sum = (name: string) => numbers(name).reduce((a, b) => a + b, 0);
  return {
    seconds: sum("seconds"),
    cpuSeconds: sum("cpuSeconds"),
    peakBytes: Math.max(0, ...numbers("peakBytes")),
  };
}

const MACHINE: readonly (readonly [key: string, name: string])[] = [
  ["backend", "Engine"],
  ["engine", "Reason"],
  ["cpu", "Processor"],
  ["cores", "Cores"],
  ["memoryBytes", "Memory"],
  ["os", "System"],
  ["deno", "Deno"],
  ["v8", "V8"],
  ["tfjs", "TensorFlow.js"],
];

/** Machine, engine and versions. */
export function environmentSection(
  environment: Readonly<Record<string, unknown>> | undefined,
): Content {
  if (!environment) return html`<p>No environment was recorded.</p>`;
  return facts(MACHINE.map(([key, name]) => {
    const value = environment[key];
    if (value === undefined) return [name, null];
    return [
      name,
      key === "memoryBytes" ? megabytes(Number(value)) : `${value}`,
    ];
  }));
}
