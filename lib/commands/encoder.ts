/**
 * `deno task encoder`: what an ONNX file offers as an encoder.
 *
 * @module
 */
import { isDeepStrictEqual } from "node:util";
import { type EncoderReport, inspectEncoder } from "../encoder/inspect.ts";
import type { Dimension } from "../encoder/onnx/runtime.ts";
import { BACKENDS, startEngine } from "../engine/select.ts";
import { isRecord } from "../model/config.ts";
import { withFrozenFeatures } from "../model/frozen_settings.ts";
import { preset } from "../model/presets.ts";
import { UsageError } from "../errors.ts";
import {
  defaulting,
  integer,
  oneOf,
  parseFlags,
  toggle,
  type Usage,
} from "./shared/flags.ts";
import { interruptSignal, ProgressLine } from "./shared/terminal.ts";

export const summary = "Inspect a pretrained network and print its settings";

const FLAGS = {
  backend: defaulting(
    oneOf(BACKENDS, "NAME", "auto, webgpu or wasm, which is the CPU (wasm)"),
    "wasm",
  ),
  threads: integer("N", "threads on the CPU (as many as cores)", {
    min: 1,
    max: 1024,
  }),
  json: toggle("print one JSON document"),
};

export const usage: Usage = {
  synopsis: ["deno task encoder FILE.onnx"],
  about:
    "Prints the inputs, outputs, metadata and time of a network in an ONNX file, and a configuration for train --config to begin with. docs/encoders.md says how to export one.",
  groups: [{ flags: FLAGS }],
  notes:
    "The first use fetches onnxruntime from npm: some 300 MB on disk for the CPU, 145 MB for a GPU.",
};

/**
 * Inspects the file that `argv` names.
 *
 * @throws {UsageError} If an argument is wrong.
 * @throws {EncoderError} If the file is of no use.
 */
export async function run(argv: string[]): Promise<number> {
  const { values: { backend, threads, json }, positionals } = parseFlags(
    argv,
    FLAGS,
    { positionals: true },
  );
  const [path, extra] = positionals;
  if (path === undefined || extra !== undefined) {
    throw new UsageError("One argument is needed: FILE.onnx");
  }
  const engine = backend === "wasm"
    ? "wasm"
    : (await startEngine(backend)).backend;
  const signal = interruptSignal();
  const line = new ProgressLine();
  line.show(`reading and timing ${path}`);
  const report = await inspectEncoder(path, { engine, threads, signal })
    .finally(() => line.clear());
  const { settings: _, ...facts } = report;
  const configuration = configurationOf(report);
  console.log(
    json
      ? JSON.stringify({ ...facts, configuration }, null, 2)
      : render(report),
  );
  return 0;
}

/** What `--config` takes: the preset, and all that differs from it. */
function configurationOf({ settings }: EncoderReport) {
  const base = preset("colon");
  const changed = differences(
    base,
    withFrozenFeatures(base, "encoder", settings),
  );
  return { preset: base.preset, ...changed };
}

/** The values of `changed` that differ from those of `base`. */
function differences(base: object, changed: object): Record<string, unknown> {
  const found: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(changed)) {
    const before = (base as Record<string, unknown>)[key];
    if (isDeepStrictEqual(before, value)) continue;
    found[key] = isRecord(before) && isRecord(value)
      ? differences(before, value)
      : value;
  }
  return found;
}

function render(report: EncoderReport): string {
  const { producer, opset, metadata, input, outputs } = report;
  const by = producer === "" ? "" : `, by ${producer}`;
  const width = Math.max(...outputs.map(({ name }) => name.length));
  return [
    row("file", `${report.path}: ${report.bytes} bytes${by}`),
    row("SHA-256", report.sha256),
    row("opset", opset === null ? "unknown" : `${opset}`),
    ...Object.entries(metadata).map(([key, value], i) =>
      row(i === 0 ? "metadata" : "", `${key} = ${value}`)
    ),
    row(
      "input",
      `${input.name} ${input.type} ${shapeText(input.shape)}: ${
        sizeText(input.shape)
      }`,
    ),
    ...outputs.map((output, i) =>
      row(
        i === 0 ? "outputs" : "",
        `${output.name.padEnd(width)}  ${useText(output)}  ${
          shapeText(output.shape)
        }`,
      )
    ),
    row(
      "time",
      `${
        report.milliseconds.toFixed(1)
      } ms for one input of ${report.timedSize} x ${report.timedSize} px`,
    ),
    row("features", `K = ${report.settings.channels}`),
    "",
    "To begin with, for train --config FILE.json:",
    JSON.stringify(configurationOf(report), null, 2),
  ].join("\n");
}

function shapeText(shape: readonly Dimension[]): string {
  return `[${shape.join(", ")}]`;
}

function sizeText([batch, , height, width]: readonly Dimension[]): string {
  const isFixed = typeof height === "number" && typeof width === "number";
  return [
    isFixed ? `fixed, ${width} x ${height} px` : "any size",
    typeof batch === "number" ? `${batch} at a time` : "any number at a time",
  ].join(", ");
}

function useText(
  { kind, channels, stride, type }: EncoderReport["outputs"][number],
): string {
  if (kind === null) return `of no use (${type ?? "no tensor"})`;
  const extent = kind === "maps" ? `, stride ${stride}` : "";
  const what = kind === "tokens" ? "tokens, of which the first" : kind;
  return `${what}, C = ${channels}${extent}`;
}

function row(name: string, value: string): string {
  return `${name.padEnd(9)} ${value}`.trimEnd();
}
