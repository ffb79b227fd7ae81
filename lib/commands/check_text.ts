/**
 * The report of `check`, and its text for people.
 *
 * @module
 */
import { count, listed } from "../data/table.ts";
import { duration, megabytes } from "../words.ts";
import type { Trial } from "../train/trial.ts";
import type { UnreadableImage } from "./checked_images.ts";
import type { ImagesSummary, Spread } from "./images_summary.ts";
import { heading } from "./shared/terminal.ts";
import type { ObjectLook } from "./suggested_preset.ts";

/** What is told of a table. */
export interface CheckReport {
  data: string;
  images: number;
  groups: number;
  /** Images by label. */
  labels: Record<string, number>;
  /** Of the images that can be read; null if none can. */
  summary: ImagesSummary | null;
  /** Images that are the same, byte for byte. */
  duplicates: string[][];
  preset: string | null;
  /** How an object looks with the preset; null if no size was given. */
  object: ObjectLook | null;
  /** What a training with the preset would take here; null if it is unknown. */
  estimate: Trial | null;
  /** What must be mended: labels, and sides of the split. */
  faults: string[];
  unreadable: UnreadableImage[];
}

const SHOWN = 20; // of a list, lines

/** The report as a table, what must be mended last. */
export function checkText(report: CheckReport): string {
  const { data, images, groups, labels, summary, unreadable } = report;
  return [
    heading(`${data}: ${count(images, "image")}, ${count(groups, "group")}`),
    row(
      "labels",
      listed(Object.entries(labels).map(([label, n]) => `${label} ${n}`)),
    ),
    ...(summary ? summaryRows(summary) : []),
    row("duplicates", duplicatesText(report)),
    ...presetRows(report),
    ...faultLines(report.faults, "fault"),
    ...faultLines(
      unreadable.map(({ line, error }) => `line ${line}: ${error}`),
      "unreadable image",
    ),
  ].join("\n");
}

function summaryRows(
  {
    formats,
    longSide,
    shortSide,
    levels,
    mpp,
    withoutMpp,
    foreground,
    warnings,
  }: ImagesSummary,
): string[] {
  const kinds = Object.entries(formats).map(([name, n]) => `${name} ${n}`);
  const percent = foreground &&
    spreadText(foreground, (v) => `${Math.round(100 * v)} %`);
  const px = (value: number) => String(value);
  return [
    row("format", kinds.join(", ")),
    row("longer side", `${spreadText(longSide, px)} px`),
    row("shorter side", `${spreadText(shortSide, px)} px`),
    row("levels", spreadText(levels, px)),
    row(
      "um per px",
      mpp === null ? "not stated" : spreadText(mpp, (v) => v.toFixed(3)) +
        (withoutMpp > 0 ? `; ${withoutMpp} do not state it` : ""),
    ),
    ...(percent ? [row("tissue", percent)] : []),
    ...Object.entries(warnings).slice(0, SHOWN)
      .map(([warning, n]) => row("warning", `${warning} (${n})`)),
  ];
}

function spreadText(
  { min, median, max }: Spread,
  text: (value: number) => string,
): string {
  return min === max
    ? text(min)
    : `${text(min)} to ${text(max)}, median ${text(median)}`;
}

function duplicatesText({ duplicates }: CheckReport): string {
  return duplicates.length === 0
    ? "none"
    : listed(duplicates.map((same) => same.join(" = ")));
}

function presetRows({ preset, object, estimate }: CheckReport): string[] {
  return [
    row("preset", preset ?? "none holds such an object: give a configuration"),
    ...(object
      ? [
        row(
          "object",
          `${number(object.px)} px; ${number(object.viewPx)} px in the view, ${
            number(object.tilePx)
          } px in a tile, in sub-tiles of ${object.subTilePx} px${
            object.fits ? "" : ": it does not fit"
          }`,
        ),
      ]
      : []),
    ...(estimate
      ? [
        row(
          "training",
          `about ${duration(estimate.seconds)} here with one worker, and ${
            megabytes(estimate.peakBytes)
          }`,
        ),
      ]
      : []),
  ];
}

function number(value: number): string {
  return String(Number(value.toPrecision(2)));
}

function faultLines(lines: readonly string[], noun: string): string[] {
  if (lines.length === 0) return [];
  const more = lines.length - SHOWN;
  return [
    "",
    `${count(lines.length, noun)}:`,
    ...lines.slice(0, SHOWN),
    ...(more > 0 ? [`and ${more} more (--json has all)`] : []),
  ];
}

function row(name: string, text: string): string {
  return `  ${name.padEnd(14)}${text}`;
}
