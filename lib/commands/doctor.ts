/**
 * `deno task doctor`: the machine's capabilities, and a self-test of each
 * engine.
 *
 * @module
 */
import { styleText } from "node:util";
import { version_core } from "@tensorflow/tfjs-core";
import { selfTest, type SelfTestResult } from "../engine/self_test.ts";
import { startEngine } from "../engine/select.ts";
import {
  type AdapterDescription,
  describeAdapter,
  findAdapter,
  INSTALL_HINT,
} from "../engine/webgpu.ts";
import { JPEG_WARNING } from "../image/formats/jpeg_decoder.ts";
import { findJpegTurbo } from "../image/formats/jpeg_turbo.ts";
import { findLibvips } from "../image/formats/libvips.ts";
import {
  openSlideHint,
  openSlidePath,
  openSlideVersion,
} from "../image/formats/openslide.ts";
import { parseFlags, toggle, type Usage } from "./shared/flags.ts";

export const summary = "Show what this machine offers and test each engine";

const FLAGS = { json: toggle("print one JSON document") };

export const usage: Usage = {
  synopsis: ["deno task doctor [--json]"],
  groups: [{ flags: FLAGS }],
  notes: "Exit code 1 if an engine fails its self-test.",
};

/** Result of one engine's self-test. */
interface EngineReport {
  backend: "webgpu" | "wasm";
  kernels: SelfTestResult[];
  /** Reason why the engine did not start, or an error it reported at work. */
  error?: string;
}

/** The whole report. */
interface Report {
  versions: Record<string, string>;
  adapter: AdapterDescription | null;
  /** The engine that `--backend auto` chooses, with the reason. */
  auto: string;
  engines: EngineReport[];
}

/**
 * Prints the report.
 *
 * @throws {UsageError} If a flag is wrong.
 */
export async function run(argv: string[]): Promise<number> {
  const { values: { json } } = parseFlags(argv, FLAGS);
  const report = await examine();
  console.log(
    json ? JSON.stringify(report, null, 2) : render(report),
  );
  return report.engines.every(isHealthy) ? 0 : 1;
}

async function examine(): Promise<Report> {
  const adapter = await findAdapter();
  const engines: EngineReport[] = [await testEngine("wasm")];
  if (adapter) engines.push(await testEngine("webgpu"));
  return {
    versions: await versions(),
    adapter: adapter ? describeAdapter(adapter) : null,
    auto: (await startEngine("auto")).reason,
    engines,
  };
}

async function versions(): Promise<Record<string, string>> {
  const { deno, v8 } = Deno.version;
  return {
    deno,
    v8,
    tfjs: version_core,
    ...await imageVersions(),
    turbojpeg: findJpegTurbo()
      ? "found: decodes tiles of JPEG"
      : "not found: slides are read at half the speed (Debian: apt-get install libturbojpeg0)",
    openslide: openSlide(),
  };
}

/** Version of OpenSlide and its path if it is of a wheel, or how to get it. */
function openSlide(): string {
  const version = openSlideVersion();
  const path = openSlidePath();
  return version === undefined
    ? `not found: for NDPI, MRXS, SCN, VMS and BIF slides ${openSlideHint()}`
    : path === undefined
    ? version
    : `${version} (${path})`;
}

/**
 * State of sharp, a native module that needs permissions and a build for the
 * platform.
 */
async function imageVersions(): Promise<Record<string, string>> {
  const { libvips, reason } = await findLibvips();
  return libvips
    ? { sharp: libvips.versions.sharp, libvips: libvips.versions.vips }
    : {
      sharp: `does not load: ${reason}`,
      pictures:
        `in JavaScript: PNG, BMP and TIFF to the same pixels; ${JPEG_WARNING}; no WebP, no pictures are written`,
    };
}

async function testEngine(backend: "webgpu" | "wasm"): Promise<EngineReport> {
  const kernels: SelfTestResult[] = [];
  try {
    const engine = await startEngine(backend);
    await engine.whileAlive(async () => {
      kernels.push(...await selfTest());
    });
    return { backend, kernels };
  } catch (error) {
    return { backend, kernels, error: firstLine(error) };
  }
}

function isHealthy({ kernels, error }: EngineReport): boolean {
  return error === undefined && kernels.every(({ passed }) => passed);
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error))
    .split("\n", 1)[0]!;
}

function render({ versions, adapter, auto, engines }: Report): string {
  const lines = Object.entries(versions).map(([name, version]) =>
    row(name, version)
  );
  if (adapter) {
    const kind = adapter.software ? "software" : "hardware";
    lines.push(row("adapter", `${adapter.name} (${kind})`));
    for (const [limit, value] of Object.entries(adapter.limits)) {
      lines.push(row("", `${limit} ${value}`));
    }
  } else {
    lines.push(row("adapter", `none: for webgpu, ${INSTALL_HINT}`));
  }
  lines.push(row("auto", auto), ...engines.flatMap(renderEngine));
  return lines.join("\n");
}

function renderEngine({ backend, kernels, error }: EngineReport): string[] {
  const width = Math.max(...kernels.map(({ kernel }) => kernel.length));
  const lines = kernels.map(({ kernel, passed, maxError }) => {
    const verdict = passed
      ? styleText("green", "ok    ")
      : styleText("red", "FAILED");
    const size = maxError.toExponential(1);
    return `${verdict} ${kernel.padEnd(width)} max error ${size}`;
  });
  if (error) lines.push(`${styleText("red", "FAILED")} ${error}`);
  return lines.map((line, i) => row(i === 0 ? backend : "", line));
}

function row(name: string, value: string): string {
  return `${name.padEnd(9)} ${value}`;
}
